"""The wish to end a run, and who uttered it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType


class Stop(Event):
    """Set to end a run in order. `by` is the signal that did, where one did."""

    def __init__(self) -> None:
        super().__init__()
        self.by: signal.Signals | None = None


@contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Ctrl-C and SIGTERM set it, so that files are finished; a second one ends at once."""
    stop = Stop()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if stop.by is not None:
            raise KeyboardInterrupt
        stop.by = signal.Signals(number)
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
