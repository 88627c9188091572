"""Which frames of a video to give: from when, until when, every how many, how many at most."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a video a run goes on."""

    position: int  # of the first frame to give, among those wanted
    index: int  # of that frame, among all of the source
    pts: int
    seen: tuple[tuple[int, int, int], ...] = ()  # index, pts and `look_of` of some frames from there on, in order


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

        Those before `start` are taken and thrown away. To seek would be quicker, but a container does not say how many
        frames it skips, and a frame's index must not depend on where a run began.
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
