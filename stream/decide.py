"""Scores to a mask at the frame's own size: enlarge, then take the best class of each pixel.

In this order edges are smooth lines; taking the best class first and enlarging its labels would leave blocks.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


class Decider:
    """Decides masks; keeps its working memory between frames of one size. For one thread."""

    def __init__(self, class_count: int) -> None:
        self._class_count = class_count
        self._size = (0, 0)

    def mask(self, scores: NDArray[np.float32], height: int, width: int) -> NDArray[np.uint8]:
        """(height, width) class indices from `scores` (classes, h, w); of equal scores the first class wins.

        The scores are enlarged bilinearly with pixel centres at half integers, as the network was trained.
        """
        if len(scores) != self._class_count:
            raise ValueError(f"scores are of {len(scores)} classes, not {self._class_count}")
        self._make_room(height, width)
        best, candidate, wins = self._best, self._candidate, self._wins
        size = (width, height)  # OpenCV's order
        mask = np.zeros((height, width), np.uint8)
        cv2.resize(scores[0], size, dst=best, interpolation=cv2.INTER_LINEAR)
        for index in range(1, self._class_count):
            cv2.resize(scores[index], size, dst=candidate, interpolation=cv2.INTER_LINEAR)
            cv2.compare(candidate, best, cv2.CMP_GT, dst=wins)
            cv2.max(candidate, best, dst=best)
            # Indices rise, so the latest winner is the largest index: no masked assignment is needed.
            np.bitwise_and(wins, np.uint8(index), out=wins)
            cv2.max(mask, wins, dst=mask)
        return mask

    def _make_room(self, height: int, width: int) -> None:
        if self._size != (height, width):
            self._size = (height, width)
            self._best = np.empty((height, width), np.float32)
            self._candidate = np.empty((height, width), np.float32)
            self._wins = np.empty((height, width), np.uint8)
