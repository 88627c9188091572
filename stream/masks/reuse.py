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
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from ..frames import Frame, begins_piece, warms_up
from .deciding_state import Known, StillState
from .flow import halved
from .ignore import Ignored

# Levels by which a place may differ in any channel: squares of 4 and of 8 pixels of the network's input. Frozen frames
# with sensor noise of 3 to 8 levels differed, encoded by x264 at CRF 23 to 30, by 5 to 13 and by 3 to 7. A pedestrian
# at night was noticed at once by these, and not in every frame from 20 and 10 on.
_MAX_CHANGE, _MAX_WIDE_CHANGE = 12, 7
_MAX_AGE_S = 1  # of a mask, however still it is: then what is too faint for the above comes in after all
# The gap in time that the smoother is told of after reuse, at most. Any longer and it starts anew, as after a gap in
# which anything may have happened: on the frozen frames 1 to 17 % of the labels then jumped each second, a third to a
# half less with this.
_MAX_GAP_S = Fraction(1, 4)


def mark_unchanged(
    frames: Iterable[Frame], *, first: int = 0, known: Known | None = None, ignored: Ignored | None = None
) -> Iterator[Frame]:
    """The frames of a video, in order; `unchanged` is set on those that may take the mask of the frame before them.

    Args:
        frames: of a run, from the one at position `first` on.
        first: see `frames`. Where a piece begins, and its warm-up, nothing before counts.
        known: of the frame before the first, the picture whose mask it has.
        ignored: what may change, as it is in no mask: the time stamp of a parked camera.
    """
    look = _Look(known.input, ignored) if known else None
    known_at = known.time if known else Fraction(0)
    for position, frame in enumerate(frames, first):
        now = _Look(frame.input, ignored)
        is_new = look is None or begins_piece(position) or warms_up(position)
        if look and not is_new and 0 <= frame.time - known_at < _MAX_AGE_S and now.is_like(look):
            yield replace(frame, unchanged=True)
        else:
            look, known_at = now, frame.time
            yield frame


class StillClock:
    """The times of a video's frames, for the smoother: a stretch of unchanged ones takes a quarter of a second at most.

    To be asked for each frame, in order.
    """

    def __init__(self, state: StillState | None = None) -> None:
        self._state = state or StillState()

    @property
    def state(self) -> StillState:
        """What a clock made with it goes on from."""
        return self._state

    def time(self, frame: Frame) -> Fraction:
        before = self._state
        left_out, still_since = before.left_out, before.still_since
        if before.unchanged and not frame.unchanged:
            # The gap to the frame before is a real one, however long.
            allowed = max(_MAX_GAP_S, frame.time - before.time)
            left_out += max(frame.time - still_since - allowed, Fraction(0))
        if not frame.unchanged:
            still_since = frame.time
        self._state = StillState(frame.time, frame.unchanged, left_out, still_since)
        return frame.time - left_out


class _Look:
    """The means of a picture's places."""

    def __init__(self, picture: NDArray[np.uint8], ignored: Ignored | None = None) -> None:
        if ignored:
            picture = np.asarray(cv2.bitwise_and(picture, picture, mask=_looked_at(ignored, *picture.shape[:2])))
        self._places = halved(halved(picture))
        self._wide_places = halved(self._places)

    def is_like(self, other: _Look) -> bool:
        return (
            self._places.shape == other._places.shape
            and cv2.norm(self._places, other._places, cv2.NORM_INF) <= _MAX_CHANGE
            and cv2.norm(self._wide_places, other._wide_places, cv2.NORM_INF) <= _MAX_WIDE_CHANGE
        )


@lru_cache(maxsize=8)
def _looked_at(ignored: Ignored, height: int, width: int) -> NDArray[np.uint8]:
    """(height, width) 255 but for what is ignored, and around it, as it bleeds where a picture is shrunk."""
    return np.asarray(cv2.bitwise_not(cv2.dilate(ignored.pixels(height, width), np.ones((3, 3), np.uint8))), np.uint8)
