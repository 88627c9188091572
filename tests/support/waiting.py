"""Waiting for what is to happen, with a limit that no busy machine comes near."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from time import monotonic
from typing import TypeVar

T = TypeVar("T")
LONG_S = 30.0


def eventually(value: Callable[[], T], timeout_s: float = LONG_S, *, what: str = "what the test waits for") -> T:
    """What it gives, as soon as that is true.

    Raises:
        AssertionError: it took too long.
    """
    started = monotonic()
    while not (found := value()):
        assert monotonic() - started < timeout_s, f"{what}: not within {timeout_s:g} s"
        Event().wait(0.01)
    return found


def until(happens: Callable[[], object], timeout_s: float = LONG_S, *, what: str = "what the test waits for") -> float:
    """Wait until it is true; returns the seconds that took.

    Raises:
        AssertionError: it took too long.
    """
    started = monotonic()
    eventually(happens, timeout_s, what=what)
    return monotonic() - started
