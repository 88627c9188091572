"""The wish to end a run, and who uttered it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType

_HANG_UP: signal.Signals | None = getattr(signal, "SIGHUP", None)  # Windows has none
STOPPING = (signal.SIGINT, signal.SIGTERM, *([_HANG_UP] if _HANG_UP else []))


class Stop(Event):
    """Set to end a run in order. `by` is the signal that did, where one did."""

    def __init__(self) -> None:
        super().__init__()
        self.by: signal.Signals | None = None


@contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Ctrl-C, SIGTERM and a terminal that is closed set it, so that files are finished; a second one ends at once.

    A shell says once more that its terminal is closed: that ends nothing. Under nohup, which has SIGHUP ignored, a run
    outlives its terminal.
    """
    stop = Stop()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if stop.by is not None:
            if number == _HANG_UP:
                return
            raise KeyboardInterrupt
        stop.by = signal.Signals(number)
        stop.set()

    numbers = [number for number in STOPPING if number != _HANG_UP or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
