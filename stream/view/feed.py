"""One camera in the live view: the newest result, and what is made of it for those who watch.

A run only leaves its result here. Encoding waits until a viewer has taken the last picture and wants another; all who
want it then get the same bytes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from av.video.reformatter import VideoReformatter

from ..camera.status import CameraStatus
from ..frames import SegmentedFrame
from ..spec import PixelClass
from .pictures import Shown, message, overlay_jpeg, shown

_HISTORY_S = 300  # of shares, one sample a second


@dataclass(frozen=True, slots=True)
class Sample:
    """How much of the picture each class covered."""

    time: float  # seconds since the epoch
    shares: tuple[float, ...]  # in the order of the classes; they add up to 1


class Encoding:
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


class CameraFeed:
    """A `Sink` whose `write` only remembers the result; what is left to do, the view's own thread does.

    Args:
        status: of the camera; its name is the feed's.
        classes: of the masks.
        max_width: of the pictures sent, in pixels.
        wake: called where a result has come that somebody wants.
    """

    def __init__(
        self, status: CameraStatus, classes: Sequence[PixelClass], *, max_width: int, wake: Callable[[], None]
    ) -> None:
        self.name = status.name
        self.status = status
        self.newest: SegmentedFrame | None = None
        self.written_at: float | None = None  # on `time.monotonic`'s clock
        self.pictures = Encoding(self._message)
        self.overlays = Encoding(lambda result: overlay_jpeg(self._shown(result), classes))
        self._class_count = len(classes)
        self._max_width = max_width
        self._wake = wake
        self._reformatter = VideoReformatter()
        self._last: tuple[SegmentedFrame, Shown] | None = None
        self._sampled: SegmentedFrame | None = None
        self._history: deque[Sample] = deque(maxlen=_HISTORY_S)

    def write(self, result: SegmentedFrame) -> None:
        self.newest, self.written_at = result, time.monotonic()
        if self.pictures.wanted or self.overlays.wanted:
            self._wake()

    def want(self, encoding: Encoding) -> None:
        """Somebody would take a newer one of `encoding`."""
        if not encoding.wanted:
            encoding.wanted = True
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
            self._last = (result, shown(result, self._reformatter, max_width=self._max_width))
        return self._last[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """The last picture stays to be seen."""


def _rounded(result: SegmentedFrame, class_count: int) -> tuple[float, ...]:
    return tuple(round(float(share), 4) for share in result.shares(class_count))
