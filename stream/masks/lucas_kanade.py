"""Motion between two gray pictures made finer by a few steps after Lucas and Kanade, the same for every pixel at once.

Lucas and Kanade, An Iterative Image Registration Technique with an Application to Stereo Vision, IJCAI 1981; with the
gradients of the present picture, which are taken once, as in Baker and Matthews' inverse steps (IJCV 2004).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Gray = NDArray[np.uint8]  # (h, w)
Plane = NDArray[np.float32]  # (h, w)
Field = NDArray[np.float32]  # (h, w, 2): x and y

_WINDOW = (3, 3)  # pairs of pixels that decide together, the near ones more: less follows noise, more blurs motion
_MEAN = (9, 9)
_STEADY = 0.5  # (levels a pixel) squared: where gradients are weaker there is nothing to go by, and motion stays
_MAX_STEP = 1.0  # pixels: gradients hold no further


class Tracker:
    """Finer steps towards where each pixel of `now` was. What depends on `now` alone is worked out once."""

    def __init__(self, now: Gray) -> None:
        self._now = now
        self._across = _plane(cv2.Sobel(now, cv2.CV_32F, 1, 0, scale=1 / 8))  # levels a pixel
        self._down = _plane(cv2.Sobel(now, cv2.CV_32F, 0, 1, scale=1 / 8))
        xx = _weighed(self._across, self._across) + _STEADY
        yy = _weighed(self._down, self._down) + _STEADY
        xy = _weighed(self._across, self._down)
        determinant = cv2.subtract(cv2.multiply(xx, yy), cv2.multiply(xy, xy))
        self._xx, self._xy, self._yy = (_plane(cv2.divide(item, determinant)) for item in (xx, xy, yy))

    def step(self, expected: Gray) -> Field:
        """What to add to the motion by which `expected` came from the picture before."""
        missed = _plane(cv2.subtract(self._now, expected, dtype=cv2.CV_32F))
        # Without its mean: a change of exposure is no motion.
        missed = _plane(cv2.subtract(missed, cv2.blur(missed, _MEAN)))
        x, y = _weighed(self._across, missed), _weighed(self._down, missed)
        right = cv2.subtract(cv2.multiply(self._yy, x), cv2.multiply(self._xy, y))
        down = cv2.subtract(cv2.multiply(self._xx, y), cv2.multiply(self._xy, x))
        step = np.clip(np.asarray(cv2.merge([right, down]), np.float32), -_MAX_STEP, _MAX_STEP)
        height, width = self._now.shape
        return np.asarray(cv2.resize(step, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _weighed(one: Plane, other: Plane) -> Plane:
    """The product, averaged over the window about each second pixel of each second row."""
    height, width = one.shape
    product = cv2.multiply(one, other)
    halved = cv2.resize(product, ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA)
    return _plane(cv2.GaussianBlur(halved, _WINDOW, 0))


def _plane(array: object) -> Plane:
    return np.asarray(array, np.float32)
