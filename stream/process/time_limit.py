"""Calls that may never return, as into a model from anywhere: they are given up in time."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Thread
from typing import NoReturn, TypeVar, cast

T = TypeVar("T")

_GRACE_S = 3.0  # for a call to notice that it is over
_left: list[Future[object]] = []  # calls that were given up


def within(limit_s: float, call: Callable[[], T], *, cancel: Callable[[], None], late: Exception) -> T:
    """What `call` returns or raises, if it does so in `limit_s` seconds.

    Otherwise `cancel` asks it to end, and `late` is raised, whether or not it does: it has a thread of its own, which
    keeps no process alive.
    """
    future: Future[object] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as exc:  # noqa: BLE001 - carried to the thread that waits
            future.set_exception(exc)

    Thread(target=work, name="limited", daemon=True).start()
    wait([future], limit_s)
    if future.done():
        return cast("T", future.result())
    cancel()
    wait([future], _GRACE_S)
    _left.append(future)
    # C++ that comes back while Python is being taken down aborts the process: better before that, or never.
    atexit.register(wait, [future], _GRACE_S)
    raise late


def leave(code: int) -> NoReturn:
    """End the process as `sys.exit` does; where a call goes on that was given up, without taking Python down first."""
    if wait(_left, _GRACE_S).not_done:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
