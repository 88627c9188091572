"""A frame's place in its video: whether it is wanted, its time, and whether it is the one seen there in another run."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

import av
import numpy as np

from ..frames import Place
from .pixels import planes_of

T = TypeVar("T")

RESET_S = 1  # a step back of more than this is a clock that started again, not jitter
_EVERY_ROW = 8


@dataclass(frozen=True, slots=True)
class Selection:
    """The frames wanted. Times are seconds from the video's first frame."""

    start: Fraction = Fraction(0)
    end: Fraction | None = None  # the frames from it on are left out
    stride: int = 1  # of the frames between, each `stride`-th, beginning with the first
    max_frames: int | None = None

    def of(
        self,
        timed: Iterable[tuple[int, T]],
        time_base: Fraction,
        *,
        place: Place | None = None,
        first_pts: int | None = None,
    ) -> Iterator[tuple[int, int, T]]:
        """Index, pts and item of the ones wanted, of all items with their pts in order.

        With a `place` the items are those from there on rather than all, and `first_pts` is that of the video's first.

        Those before `start` are taken and thrown away: a frame's index does not depend on where a run begins.
        """
        chosen = place.position * self.stride if place else 0
        for index, (pts, item) in enumerate(timed, place.index if place else 0):
            first_pts = pts if first_pts is None else first_pts
            time = (pts - first_pts) * time_base
            if self.end is not None and time >= self.end:
                return
            if time < self.start:
                continue
            if chosen % self.stride == 0:
                yield index, pts, item
                if self.max_frames is not None and chosen // self.stride + 1 >= self.max_frames:
                    return
            chosen += 1


class FrameClock:
    """The pts of decoded frames, strictly rising, in units of `time_base`.

    Args:
        time_base: unit of the pts, seconds.
        rate: frames per second where known; the step where a frame does not say its own duration.
    """

    def __init__(self, time_base: Fraction, rate: Fraction | None) -> None:
        self._step = max(round(1 / (rate or Fraction(25)) / time_base), 1)
        self._reset = RESET_S / time_base
        self._offset = 0  # what has been added since a clock that started again
        self._last: int | None = None
        self._next = 0  # when the next frame is due, if it does not say

    def pts(self, picture: av.VideoFrame) -> int:
        """The time of the next frame in presentation order."""
        pts = self._next if picture.pts is None else picture.pts + self._offset
        if self._last is not None and pts <= self._last:
            if self._last - pts > self._reset:
                self._offset += self._next - pts
                pts = self._next
            else:
                pts = self._last + 1  # no more: a whole step could overtake the frame that follows
        self._last = pts
        self._next = pts + (picture.duration or self._step)
        return pts


def look_of(picture: av.VideoFrame) -> int:
    """A checksum of some of its brightness: the same picture again has the same, and hardly another."""
    rows = planes_of(picture)[0][::_EVERY_ROW]
    return zlib.crc32(np.ascontiguousarray(rows).data)
