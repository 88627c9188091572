"""The live view's own thread: it encodes what viewers want, and takes stock once a second.

Pictures are nice to have where every core is busy with the run, so the thread pauses after each in proportion to what
it cost to make, and the last one to send: a small machine, or one with many viewers, shows fewer frames a second
instead of processing fewer.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

import av
import cv2

from ..system.machine import usable_cores
from .bell import Bell
from .feed import CameraFeed

log = logging.getLogger(__name__)

_SHARE = 1 / 16  # of the machine, that making and sending pictures may take
_STOCK_S = 1.0
_JOIN_S = 1.0


class Studio:
    """Encodes for all feeds, fairly, on one thread.

    Args:
        feeds: the cameras; more may be added to the list at any time.
        bell: rung when pictures were made.
        on_second: called once a second.
    """

    def __init__(self, feeds: Sequence[CameraFeed], *, bell: Bell, on_second: Callable[[], None]) -> None:
        self._feeds = feeds
        self._bell = bell
        self._on_second = on_second
        self._pause_per_s = 1 / min(_SHARE * usable_cores(), 1) - 1
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._failed: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="live view: pictures", daemon=True)

    def wake(self) -> None:
        """There may be something to encode."""
        self._wake.set()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._wake.set()
        self._thread.join(_JOIN_S)

    def _run(self) -> None:
        next_stock = time.monotonic()
        spent_before_s = 0.0
        while not self._stop.is_set():
            if time.monotonic() >= next_stock:
                self._on_second()
                next_stock = max(next_stock + _STOCK_S, time.monotonic())
            self._wake.wait(max(next_stock - time.monotonic(), 0))
            self._wake.clear()
            made = [self._encoded(feed) for feed in tuple(self._feeds)]
            if any(made):
                self._bell.ring()
                spent_s = time.thread_time() + self._bell.spent_s
                self._stop.wait(min((spent_s - spent_before_s) * self._pause_per_s, _STOCK_S))
                spent_before_s = spent_s
                self._wake.set()  # what came meanwhile has been heard, but not looked at

    def _encoded(self, feed: CameraFeed) -> bool:
        try:
            return feed.encode()
        except (av.FFmpegError, cv2.error, ValueError) as exc:  # an unheard-of picture ends no run
            if feed.name not in self._failed:
                log.warning("%s: the live view cannot show its pictures (%s)", feed.name, str(exc).splitlines()[0])
            self._failed.add(feed.name)
            return False
