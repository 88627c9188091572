"""Give every decoded frame a time later than the one before, whatever the container says."""

from __future__ import annotations

from fractions import Fraction

import av

_RESET_S = 1  # a step back of more than this is a clock that started again, not jitter


class FrameClock:
    """The pts of decoded frames, strictly rising, in units of `time_base`.

    Args:
        time_base: unit of the pts, seconds.
        rate: frames per second where known; the step where a frame does not say its own duration.
    """

    def __init__(self, time_base: Fraction, rate: Fraction | None) -> None:
        self._step = max(round(1 / (rate or Fraction(25)) / time_base), 1)
        self._reset = _RESET_S / time_base
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
