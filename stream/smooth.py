"""Class scores blended over time, so that masks are steady from frame to frame.

What the frames before said is moved along optical flow to where things are now, and believed as far as the picture
before, moved alike, looks like the present one. So nothing smears behind moving things, and a cut starts anew.
"""

from __future__ import annotations

import math
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from .flow import Flow, explained, moved, residuals

# Measured on CamVid's valid.txt, which is at 15 Hz, with the model in the box: more costs IoU, less flickers.
_MEMORY_S = 0.3  # seconds after which what was weighs 1/e, where the pictures agree
_MAX_MEMORY = 0.9  # weight of what was, as at 30 Hz: each move blurs it a little, and equal times must not freeze it
_FRAME_S = 1 / 15  # where times are not known
_RESIDUAL = 16.0  # levels of difference at which it has 1/e of that
# Below, it is a cut. Over seven drives the frame before explained 0.77 at least and one a tenth of a second back on a
# motorway 0.51; of 378 pairs from different drives none explained more than 0.32.
_MIN_EXPLAINED = 0.4
_MAX_GAP_S = 0.3  # at 0.2 s smoothing still pays, at 0.4 s it costs IoU


class Smoother:
    """Blends the scores of one video's frames, given in order. For one thread.

    The first frame, a frame of another size, after a cut, or after a gap in time comes out as it went in.
    """

    def __init__(self) -> None:
        self._flow = Flow()
        self._trust = np.exp(-np.square(np.arange(256) / _RESIDUAL))  # by the difference between the pictures
        self.reset()

    def reset(self) -> None:
        """The next frame does not follow from the last one."""
        self._small: NDArray[np.uint8] | None = None
        self._time: Fraction | None = None

    def blend(
        self, scores: NDArray[np.float32], picture: NDArray[np.uint8], *, time: Fraction | None = None
    ) -> NDArray[np.float32]:
        """The frame's `scores` (classes, h, w) blended with those of the frames before; good until the next call.

        Args:
            scores: any that are compared with each other: a class twice as large stays so.
            picture: (H, W, 3) RGB, what the network saw.
            time: of the frame, in seconds; None where frames are known to follow each other, at a rate that is not.
        """
        height, width = scores.shape[1:]
        small = np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        gray = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
        gap_s = _FRAME_S if time is None or self._time is None else float(time - self._time)
        if not (self._follows(scores, gap_s) and self._add_past(scores, small, gray, gap_s)):
            self._past = scores.copy()
            self._blended = np.empty_like(self._past)
        self._small, self._gray, self._time = small, gray, time
        return self._past

    def _follows(self, scores: NDArray[np.float32], gap_s: float) -> bool:
        return self._small is not None and self._past.shape == scores.shape and 0 <= gap_s <= _MAX_GAP_S

    def _add_past(
        self, scores: NDArray[np.float32], small: NDArray[np.uint8], gray: NDArray[np.uint8], gap_s: float
    ) -> bool:
        """Blend, unless too little of the picture can be explained by the one before: then it is a cut."""
        assert self._small is not None
        origins = self._flow.origins(gray, self._gray)
        # Blurred: one pixel's noise is no sign of another thing.
        difference = np.asarray(cv2.blur(residuals(small, self._small, origins), (3, 3)), np.uint8)
        if explained(difference, origins, limit=_RESIDUAL) < _MIN_EXPLAINED:
            return False
        memory = min(math.exp(-gap_s / _MEMORY_S), _MAX_MEMORY)
        weights = cv2.LUT(difference, (memory * self._trust).astype(np.float32))
        for past, present, blended in zip(self._past, scores, self._blended, strict=True):
            cv2.subtract(moved(past, origins), present, dst=blended)
            cv2.multiply(blended, weights, dst=blended)
            cv2.add(blended, present, dst=blended)
        self._past, self._blended = self._blended, self._past
        return True
