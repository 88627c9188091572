"""Which frames look like one whose mask is known: they take that mask, and the network rests.

A camera that stands still shows the same picture again and again, but for noise and compression. What counts is not how
much of the picture changes, as a pedestrian is a thousandth of it, but whether any place does. So places are compared
one by one, as means, in which noise cancels and a thing does not; at two sizes, as small things are clear and large
ones may be faint. Always with the frame that was worked out, never with the one before: slow changes add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from .frames import Frame

# Levels by which a place may differ in any channel: squares of 4 and of 8 pixels of the network's input. Frozen frames
# with sensor noise of 3 to 8 levels differed, encoded by x264 at CRF 23 to 30, by 5 to 13 and by 3 to 7. A pedestrian
# at night was noticed at once by these, and not in every frame from 20 and 10 on.
_MAX_CHANGE, _MAX_WIDE_CHANGE = 12, 7
_MAX_AGE_S = 1  # of a mask, however still it is: then what is too faint for the above comes in after all
# The gap in time that the smoother is told of after reuse, at most. Any longer and it starts anew, as after a gap in
# which anything may have happened: on the frozen frames 1 to 17 % of the labels then jumped each second, a third to a
# half less with this.
_MAX_GAP_S = Fraction(1, 4)


def marked(frames: Iterable[Frame]) -> Iterator[Frame]:
    """The frames of a video, in order; `unchanged` is set on those that may take the mask of the frame before them."""
    known: _Look | None = None
    known_at = Fraction(0)
    for frame in frames:
        look = _Look(frame.input)
        if known and 0 <= frame.time - known_at < _MAX_AGE_S and look.is_like(known):
            yield replace(frame, unchanged=True)
        else:
            known, known_at = look, frame.time
            yield frame


class StillClock:
    """The times of a video's frames, for the smoother: a stretch of unchanged ones takes a quarter of a second at most.

    To be asked for each frame, in order.
    """

    def __init__(self) -> None:
        self._before: Frame | None = None
        self._left_out = self._still_since = Fraction(0)

    def time(self, frame: Frame) -> Fraction:
        before, self._before = self._before, frame
        if before is not None and before.unchanged and not frame.unchanged:
            # The gap to the frame before is a real one, however long.
            allowed = max(_MAX_GAP_S, frame.time - before.time)
            self._left_out += max(frame.time - self._still_since - allowed, Fraction(0))
        if not frame.unchanged:
            self._still_since = frame.time
        return frame.time - self._left_out


class _Look:
    """The means of a picture's places."""

    def __init__(self, picture: NDArray[np.uint8]) -> None:
        self._places = _halved(_halved(picture))
        self._wide_places = _halved(self._places)

    def is_like(self, other: _Look) -> bool:
        return (
            self._places.shape == other._places.shape
            and cv2.norm(self._places, other._places, cv2.NORM_INF) <= _MAX_CHANGE
            and cv2.norm(self._wide_places, other._wide_places, cv2.NORM_INF) <= _MAX_WIDE_CHANGE
        )


def _halved(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Halving again and again takes a quarter of the time of going to the last size at once."""
    height, width = picture.shape[:2]
    size = (max(width // 2, 1), max(height // 2, 1))  # OpenCV's order
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
