"""How often the label of one and the same point of the scene changes between two frames.

In driving video nothing stays where it is, so points are followed along optical flow, and only those count that can be
followed: where flow leads back and forth to the same place and the brightness is kept. Labels are compared along
tracks as in the temporal consistency of Liu, Shen, Yu and Wang (Efficient Semantic Video Segmentation with Per-frame
Inference, ECCV 2020), which has its mask of visible points from the warping error of Lai et al. (Learning Blind Video
Temporal Consistency, ECCV 2018). Theirs is an IoU between a mask and the one before, moved; this is a share of points.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..spec import NO_CLASS
from .flow import Flow, moved, residuals, returning

_MAX_PIXELS = 640 * 480  # larger pictures are followed at this size: it takes long enough, and rates stay comparable
_MAX_RESIDUAL = 25  # levels: a tenth of the range, where the weight of Lai et al. has dropped to a half
_MIN_TRACKED = 0.2  # share of the pixels; where fewer can be followed the scene was cut, and nothing is counted


class _Shot(NamedTuple):
    picture: NDArray[np.uint8]  # (h, w, 3) RGB
    gray: NDArray[np.uint8]
    mask: NDArray[np.uint8]


class FlickerMeter:
    """Counts over the frames of a video, given in order. For one thread.

    >>> import numpy as np
    >>> from roadmask import FlickerMeter
    >>> meter = FlickerMeter()
    >>> picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    >>> mask = np.zeros((64, 96), np.uint8)
    >>> meter.add(picture, mask)
    >>> meter.add(picture, np.where(np.arange(96) < 48, 1, mask).astype(np.uint8))  # the left half has another label
    >>> round(meter.rate, 1)
    0.5
    """

    def __init__(self) -> None:
        self._flow = Flow(refined=True)
        self._before: _Shot | None = None
        self._tracked = self._changed = 0

    @property
    def tracked(self) -> int:
        """Points followed from one frame to the next, over all pairs of frames."""
        return self._tracked

    @property
    def changed(self) -> int:
        """Those among them whose label is another one in the next frame."""
        return self._changed

    @property
    def rate(self) -> float:
        """Share of the points followed that change their label from frame to frame; nan if there are none."""
        return self.changed / self.tracked if self.tracked else float("nan")

    def reset(self) -> None:
        """The next frame does not follow from the last one; what was counted stays."""
        self._before = None

    def add(self, picture: NDArray[np.uint8], mask: NDArray[np.uint8]) -> None:
        """Count the next frame: `picture` (h, w, 3) RGB, and its `mask` (h, w).

        A frame of another size than the last one begins anew.
        """
        if picture.shape[:2] != mask.shape:
            raise ValueError(f"the picture is {picture.shape[:2]}, its mask {mask.shape}")
        before, self._before = self._before, _shot(picture, mask)
        if before is not None and before.mask.shape == self._before.mask.shape:
            self._compare(before, self._before)

    def _compare(self, before: _Shot, now: _Shot) -> None:
        back = self._flow.origins(now.gray, before.gray)
        forth = self._flow.origins(before.gray, now.gray)
        followed = returning(back, forth) & (residuals(now.picture, before.picture, back) <= _MAX_RESIDUAL)
        if followed.mean() < _MIN_TRACKED:
            return
        expected = moved(before.mask, back, nearest=True)
        followed &= (expected != NO_CLASS) & (now.mask != NO_CLASS)
        self._tracked += int(np.count_nonzero(followed))
        self._changed += int(np.count_nonzero(followed & (expected != now.mask)))


def _shot(picture: NDArray[np.uint8], mask: NDArray[np.uint8]) -> _Shot:
    """A frame to keep, shrunk where it is larger than `_MAX_PIXELS`; its mask keeps its labels."""
    height, width = mask.shape
    scale = min(1.0, (_MAX_PIXELS / (height * width)) ** 0.5)
    size = (round(width * scale), round(height * scale))
    small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    small_mask = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    return _Shot(small, np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8), small_mask)
