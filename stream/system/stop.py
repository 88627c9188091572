"""The wish to end, and who uttered it; and calls that may never end, which are given up in time."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from threading import Event, Thread
from threading import enumerate as enumerate_threads
from types import FrameType
from typing import NoReturn, TypeVar, cast

from ..errors import Stopped

_HANG_UP: signal.Signals | None = getattr(signal, "SIGHUP", None)  # Windows has none
STOPPING = (signal.SIGINT, signal.SIGTERM, *([_HANG_UP] if _HANG_UP else []))

T = TypeVar("T")

GRACE_S = 3.0  # for a call to notice that it is over
_left: list[Future[object]] = []  # calls that were given up


class Stop(Event):
    """Set to end a run in order. `by` is the signal that did, where one did."""

    def __init__(self) -> None:
        super().__init__()
        self.by: signal.Signals | None = None


def end_if_set(stop: Event | None) -> None:
    """Raises `Stopped`, which tells sinks to finish early, but well."""
    if stop is not None and stop.is_set():
        raise Stopped


@contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Ctrl-C, SIGTERM and a terminal that is closed set it, so that files are finished; a second one ends at once, by
    `Stopped`.

    A shell says once more that its terminal is closed: that ends nothing. Under nohup, which has SIGHUP ignored, a run
    outlives its terminal.
    """
    stop = Stop()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if stop.by is not None:
            if number == _HANG_UP:
                return
            raise Stopped
        stop.by = signal.Signals(number)
        stop.set()

    numbers = [number for number in STOPPING if number != _HANG_UP or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
    wait([future], GRACE_S)
    _left.append(future)
    raise late


@atexit.register
def _wait_for_left() -> None:
    """C++ that comes back while Python is being taken down aborts the process: better before that, or never."""
    wait(_left, GRACE_S)


def leave(code: int) -> NoReturn:
    """End the process as `sys.exit` does; where threads go on, without taking Python down.

    Calls that were given up do, and all that a second Ctrl-C has left in the middle. C++ that comes back to Python
    while that is taken down ends the process by abort: "terminate called without an active exception".
    """
    _wait_for_left()
    _left.clear()
    if any(thread.daemon for thread in enumerate_threads()):
        atexit._run_exitfuncs()  # noqa: SLF001 - as `multiprocessing` does before it ends so
        for stream in (sys.stdout, sys.stderr):
            if stream:  # `None` where it was closed when Python began
                stream.flush()
        os._exit(code)
    sys.exit(code)
