"""The cameras of the live view: the newest result of each, and the thread that makes of it what viewers want.

A run only leaves its result here. Encoding waits until a viewer has taken the last picture and wants another; all who
want it then get the same bytes. Pictures are nice to have where every core is busy with the run, so the thread pauses
after each in proportion to what it cost to make, and the last one to send: a small machine, or one with many viewers,
shows fewer frames a second instead of processing fewer.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import av
import cv2
from av.video.reformatter import VideoReformatter

from ..camera.status import CameraStatus
from ..encode.overlay import Style
from ..errors import first_line
from ..frames import SegmentedFrame, Sink
from ..spec import PixelClass
from ..system.machine import usable_cores
from .pictures import Shown, message, overlay_jpeg, shown

log = logging.getLogger(__name__)

_HISTORY_S = 300  # of shares, one sample a second
_WIDTH = 960  # at most, of the pictures sent to the page; snapshots have their full size
_SHARE = 1 / 16  # of the machine, that making and sending pictures may take
_STOCK_S = 1.0
_JOIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Sample:
    """How much of the picture each class covered."""

    time: float  # seconds since the epoch
    shares: tuple[float, ...]  # in the order of the classes; they add up to 1


class Rendition:
    """The newest result in one form, made when somebody wants a newer one, once for all who do."""

    def __init__(self, encode: Callable[[SegmentedFrame], bytes]) -> None:
        self.wanted = False
        self.made: tuple[int, bytes] = (0, b"")  # its number, from 1, and itself; one attribute, so never half of two
        self._encode = encode
        self._of: SegmentedFrame | None = None

    def make(self, newest: SegmentedFrame | None) -> bool:
        """Whether one was made: it was wanted, and there is a result newer than the last one's."""
        if not self.wanted or newest is None or newest is self._of:
            return False
        self.wanted, self._of = False, newest
        self.made = (self.made[0] + 1, self._encode(newest))
        return True


class CameraFeed(Sink):
    """A `Sink` whose `write` only remembers the result; what is left to do, the view's own thread does.

    Args:
        status: of the camera; its name is the feed's.
        classes: of the masks.
        style: of the overlays for players.
        wake: called where a result has come that somebody wants.
    """

    def __init__(
        self,
        status: CameraStatus,
        classes: Sequence[PixelClass],
        *,
        style: Style,
        wake: Callable[[], None],
    ) -> None:
        self.name = status.name
        self.status = status
        self.newest: SegmentedFrame | None = None
        self.pictures = Rendition(self._message)
        self.overlays = Rendition(lambda result: overlay_jpeg(self._shown(result), classes, style))
        self._class_count = len(classes)
        self._wake = wake
        self._reformatter = VideoReformatter()
        self._last: tuple[SegmentedFrame, Shown] | None = None
        self._sampled: SegmentedFrame | None = None
        self._history: deque[Sample] = deque(maxlen=_HISTORY_S)

    def write(self, result: SegmentedFrame) -> None:
        self.newest = result
        if self.pictures.wanted or self.overlays.wanted:
            self._wake()

    def want(self, rendition: Rendition) -> None:
        """Somebody would take a newer one of `rendition`."""
        if not rendition.wanted:
            rendition.wanted = True
            self._wake()

    def encode(self) -> bool:
        """Make what is wanted; whether anything was."""
        newest = self.newest
        return any([self.pictures.make(newest), self.overlays.make(newest)])

    def sample(self) -> Sample | None:
        """The shares of the newest result, unless they have been taken already; kept for `history`."""
        newest = self.newest
        if newest is None or newest is self._sampled:
            return None
        self._sampled = newest
        sample = Sample(time.time(), _rounded(newest, self._class_count))
        self._history.append(sample)
        return sample

    def history(self) -> tuple[Sample, ...]:
        """The samples of the last minutes, oldest first."""
        return tuple(self._history.copy())  # a copy is one step to other threads; iterating is not

    def _message(self, result: SegmentedFrame) -> bytes:
        picture, full = self._shown(result), result.frame.picture
        header = {
            "camera": self.name,
            "index": result.frame.index,
            "time": round(float(result.frame.time), 3),
            "shares": _rounded(replace(result, mask=picture.mask), self._class_count),
            "full_size": [full.width, full.height],
        }
        return message(picture, header)

    def _shown(self, result: SegmentedFrame) -> Shown:
        """Made once where several forms of a result are wanted."""
        if self._last is None or self._last[0] is not result:
            self._last = (result, shown(result, self._reformatter, max_width=_WIDTH))
        return self._last[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """The last picture stays to be seen."""


def _rounded(result: SegmentedFrame, class_count: int) -> tuple[float, ...]:
    return tuple(round(float(share), 4) for share in result.shares(class_count))


RunFacts = Callable[[], Mapping[str, Any]]  # how a run of files is now, in JSON's types


@dataclass(frozen=True, slots=True, eq=False)
class OnView:
    """What a live view is of."""

    classes: tuple[PixelClass, ...]  # of all masks, in the colours to draw them in
    style: Style  # in which they are drawn until a viewer wants it otherwise
    run: RunFacts | None  # where files are run: the feeds are then the places of those at work
    feeds: list[CameraFeed] = field(default_factory=list)  # more may be added at any time


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
                log.warning("%s: the live view cannot show its pictures (%s)", feed.name, first_line(exc))
            self._failed.add(feed.name)
            return False


class Bell:
    """Rung by the threads that make news; heard by all who wait at that moment, on the loop.

    Who looks for news and then waits, without an `await` between, misses nothing. Where no loop runs yet, or any more,
    ringing does nothing.
    """

    def __init__(self) -> None:
        self.spent_s = 0.0  # of a processor, by the loop's thread up to the last ring
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rung = asyncio.Event()

    def hang(self) -> None:
        """On the loop that will wait."""
        with self._lock:
            self._loop = asyncio.get_running_loop()

    def unhang(self) -> None:
        with self._lock:
            self._loop = None

    def ring(self) -> None:
        with self._lock:  # so that the loop is not closed meanwhile
            if self._loop:
                self._loop.call_soon_threadsafe(self._wake)

    async def wait(self, seconds: float) -> bool:
        """Until the next ring; whether it came within `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        except TimeoutError:
            return False
        return True

    def _wake(self) -> None:
        self.spent_s = time.thread_time()
        self._rung.set()
        self._rung = asyncio.Event()
