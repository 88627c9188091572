"""Which frames the network need not see: what it said of the last one it saw is moved to where things are in them.

The way from a frame back to that one is made of the optical flow from frame to frame, and so are no errors of moving
it again and again. It is told with each frame, also with those that the network sees: smoothing goes by it.

What a frame shows must have been there in the last one that was seen, or nothing can be moved to it. So what comes in
new, or cannot be followed, is added up from frame to frame; where it is too much, as after a cut or in a turn, the
network sees the frame, however soon.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError
from ..frames import Frame, Position, warms_up
from .deciding_state import Known
from .flow import Flow, explained, four_channels, halved, matched, moved, stepped

MOST_S = Fraction(3, 10)  # between two frames that the network sees: what it said of the first still steadies the next
# As in smoothing: levels up to which a point of the frame before explains one of this; share below which it is a cut.
_ALIKE, _MIN_EXPLAINED = 16.0, 0.4
_MOST_LOST = 0.25  # shares of the picture that the frames before did not explain, added up
# Motion is found in pictures of a quarter of the network's size, then made finer by what those of half show, twice as
# fine as in smoothing: its errors were half of the mIoU that carrying costs. Patches are nearer to each other, too.
_STRIDE = 4

_TIME = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)(ms|s)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Every:
    """How often the network sees a frame, unless it has to sooner: every n-th, or at the frames nearest to a time."""

    frames: int = 0  # 0 where it is a time
    seconds: Fraction = Fraction(0)

    def __str__(self) -> str:
        return str(self.frames) if self.frames else f"{float(self.seconds * 1000):g}ms"


# What loses half a point of mIoU on a street at 15 Hz, by every third frame there; of 30 a second it is every sixth.
FAST = Every(seconds=Fraction(1, 5))


def parse_every(text: str | int) -> Every | None:
    """3 or "3" for every third frame, "66ms" or "0.1s" for a time; None for "1", which is every frame.

    Raises:
        ValueError: it is neither, or a longer time than can be carried over.
    """
    word = str(text).strip()
    if re.fullmatch(r"0*[1-9]\d{0,3}", word, re.ASCII):
        return Every(int(word)) if int(word) > 1 else None
    found = _TIME.fullmatch(word)
    if not found:
        raise ValueError(f"{word!r:.40} is neither a number of frames (3) nor a time (66ms)")
    seconds = Fraction(found[1]) / (1000 if found[2] == "ms" else 1)
    if not 0 < seconds <= MOST_S:
        raise ValueError(f"{word!r:.40} is not above 0 and up to {float(MOST_S * 1000):g}ms: no mask is carried longer")
    return Every(seconds=seconds)


def every_given(value: int | str | None) -> Every | None:
    """What a Python call has as `every`. Raises `ArgumentError`."""
    try:
        return None if value is None else parse_every(value)
    except ValueError as exc:
        raise ArgumentError(f"every: {exc}") from None


def mark_carried(
    frames: Iterable[Frame], every: Every, *, first: Position = 0, known: Known | None = None
) -> Iterator[Frame]:
    """The frames of a video, in order; `carried` is set on those that the network need not see, `motion` on most.

    Args:
        frames: of a run, from the one at position `first` on; unchanged ones stay as they are.
        every: how often the network is to see one.
        first: see `frames`. The warm-up of a piece begins with one that it sees.
        known: of the frame before the first, where the network has seen that.
    """
    follower = Follower(every, first=first, known=known)
    for frame in frames:
        yield follower.marked(frame)


class Follower:
    """Marks one frame after the other, as `mark_carried` does."""

    def __init__(self, every: Every, *, first: Position = 0, known: Known | None = None) -> None:
        self._every = every
        self._flow = Flow(stride=_STRIDE, steps=1)
        self._trail = _Trail(self._flow, known.input, known.time, first - 1) if known else None
        self._position = first

    def marked(self, frame: Frame) -> Frame:
        position, trail = self._position, self._trail
        self._position += 1
        if frame.unchanged:
            if trail:
                trail.time = frame.time
            return frame
        step = trail.follow(frame, position) if trail else None
        if step and step.lost <= _MOST_LOST and not (step.is_due(self._every) or warms_up(position)):
            return replace(frame, carried=True, motion=step.motion)
        self._trail = _Trail(self._flow, frame.input, frame.time, position)
        return replace(frame, motion=step.motion) if step else frame


class _Step(NamedTuple):
    """From a frame back to the last one that the network has seen."""

    motion: NDArray[np.float32]
    lost: float  # see `_MOST_LOST`
    frames: int
    seconds: Fraction
    gap: Fraction  # to the frame before

    def is_due(self, every: Every) -> bool:
        """Whether the network is to see the frame."""
        if self.seconds + self.gap > MOST_S:  # at the next it would be too late
            return True
        return self.frames >= every.frames if every.frames else self.seconds + self.gap / 2 >= every.seconds


class _Trail:
    """Follows what a frame that the network sees has shown, from frame to frame."""

    def __init__(self, flow: Flow, picture: NDArray[np.uint8], time: Fraction, position: Position) -> None:
        self.time = time  # of the frame before
        self._flow = flow
        self._shape, self._key_time, self._key_position = picture.shape, time, position
        self._look = _Look.at(picture)  # of the frame before
        self._motion: NDArray[np.float32] | None = None
        self._lost = 0.0

    def follow(self, frame: Frame, position: Position) -> _Step | None:
        """`None` where it does not follow."""
        gap, self.time = frame.time - self.time, frame.time
        if frame.input.shape != self._shape or not 0 <= gap <= MOST_S:
            return None
        before, self._look = self._look, _Look.at(frame.input)
        motion = stepped(self._flow.motion(self._look.gray, before.gray), self._look.fine, before.fine)
        match = matched(self._look.color, before.color, motion, limit=_ALIKE)
        share = explained(match.difference, match.origins, limit=_ALIKE)
        if share < _MIN_EXPLAINED:
            return None
        if self._motion is not None:
            motion = np.asarray(cv2.add(motion, moved(self._motion, match.origins)), np.float32)
        self._motion, self._lost = motion, self._lost + 1 - share
        return _Step(motion, self._lost, position - self._key_position, frame.time - self._key_time, gap)


class _Look(NamedTuple):
    """A picture of the network's size, smaller."""

    fine: NDArray[np.uint8]  # gray, half as high and wide
    gray: NDArray[np.uint8]  # a quarter
    color: NDArray[np.uint8]  # likewise, as of `four_channels`

    @classmethod
    def at(cls, picture: NDArray[np.uint8]) -> Self:
        half = halved(picture)
        quarter = halved(half)
        fine, gray = (np.asarray(cv2.cvtColor(item, cv2.COLOR_RGB2GRAY), np.uint8) for item in (half, quarter))
        return cls(fine, gray, four_channels(quarter))
