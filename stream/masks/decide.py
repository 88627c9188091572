"""Scores to a mask at the frame's own size: enlarge, then take the best class of each pixel.

In this order edges are smooth lines; taking the best class first and enlarging its labels would leave blocks. Where the
grid points around a pixel have one best class it comes to the same, though, and that is nearly everywhere: only the
rest is enlarged, exactly.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from .mixed_cells import MixedCells

# Beyond these, enlarging everything is as quick. Measured with noise blurred to patches of many sizes.
_MIN_ENLARGEMENT = 4  # pixels of the mask for each of the scores'
_MAX_MIXED = 0.02  # mixed cells for each pixel of the mask


class Decider:
    """Decides masks; keeps its working memory between frames of one size. For one thread."""

    def __init__(self, class_count: int) -> None:
        self._class_count = class_count
        self._coarse, self._fine = _BestClass(), _BestClass()
        self._enlarged = np.empty((0, 0), np.float32)
        self._mixed_cells: MixedCells | None = None

    def mask(self, scores: NDArray[np.float32], height: int, width: int) -> NDArray[np.uint8]:
        """(height, width) class indices from `scores` (classes, h, w); of equal scores the first class wins.

        The scores are enlarged bilinearly with pixel centres at half integers, as the network was trained. A class is
        never wrong by more than the rounding of float32.
        """
        if len(scores) != self._class_count:
            raise ValueError(f"scores are of {len(scores)} classes, not {self._class_count}")
        grid = (scores.shape[1], scores.shape[2])
        if height <= grid[0] or width <= grid[1] or height * width < _MIN_ENLARGEMENT * grid[0] * grid[1]:
            return self._enlarge_all(scores, height, width)
        coarse = self._coarse(scores)
        mixed = _mixed(coarse)
        if len(mixed) > _MAX_MIXED * height * width:
            return self._enlarge_all(scores, height, width)
        if self._mixed_cells is None or self._mixed_cells.shape != (grid, (height, width)):
            self._mixed_cells = MixedCells(grid, (height, width))
        mask = self._mixed_cells.spread(coarse)
        self._mixed_cells.decide(scores, mixed, mask)
        return mask

    def _enlarge_all(self, scores: NDArray[np.float32], height: int, width: int) -> NDArray[np.uint8]:
        if self._enlarged.shape != (height, width):
            self._enlarged = np.empty((height, width), np.float32)
        return self._fine(_enlarge(of_class, self._enlarged) for of_class in scores)


def _enlarge(scores: NDArray[np.float32], into: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = into.shape
    cv2.resize(scores, (width, height), dst=into, interpolation=cv2.INTER_LINEAR)
    return into


class _BestClass:
    """Which class has the best score, place by place; keeps its working memory."""

    def __init__(self) -> None:
        self._best = np.empty((0, 0), np.float32)
        self._wins = np.empty((0, 0), np.uint8)

    def __call__(self, scores: Iterable[NDArray[np.float32]]) -> NDArray[np.uint8]:
        """Indices of the best of `scores`, all of one shape; of equal ones the first.

        Each is done with before the next is asked for: one place in memory may serve all.
        """
        for index, candidate in enumerate(scores):
            if index == 0:
                self._start(candidate)
                mask = np.zeros(candidate.shape, np.uint8)
                continue
            cv2.compare(candidate, self._best, cv2.CMP_GT, dst=self._wins)
            cv2.max(candidate, self._best, dst=self._best)
            # Indices rise, so the latest winner is the largest index: no masked assignment is needed.
            np.bitwise_and(self._wins, np.uint8(index), out=self._wins)
            cv2.max(mask, self._wins, dst=mask)
        return mask

    def _start(self, first: NDArray[np.float32]) -> None:
        if self._best.shape != first.shape:
            self._best, self._wins = np.empty(first.shape, np.float32), np.empty(first.shape, np.uint8)
        np.copyto(self._best, first)


def _mixed(coarse: NDArray[np.uint8]) -> NDArray[np.intp]:
    """The cells whose corners are not all of one class, counted row by row over the (h + 1, w + 1) of them."""
    classes = cv2.copyMakeBorder(coarse, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    corner = classes[:-1, :-1]
    mixed = (corner != classes[1:, :-1]) | (corner != classes[:-1, 1:]) | (corner != classes[1:, 1:])
    return np.flatnonzero(mixed)
