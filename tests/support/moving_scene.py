"""A scene that moves across the picture, with the classes of its points: what flow follows is known."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

CLASSES = 4


def texture(height: int, width: int, *, seed: int = 0) -> NDArray[np.uint8]:
    """(height, width, 3) smooth noise, rich enough to be followed everywhere; each seed is another scene."""
    noise = np.random.default_rng(seed).normal(size=(height, width, 3)).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), 3)
    return np.clip(128 + 40 * blurred / blurred.std(), 0, 255).astype(np.uint8)


def blocks(height: int, width: int) -> NDArray[np.uint8]:
    """(height, width) labels in squares of 30 pixels."""
    rows, columns = np.indices((height, width)) // 30
    return ((rows + 2 * columns) % CLASSES).astype(np.uint8)


def scores_of(mask: NDArray[np.uint8], *, noise: float = 0, seed: int = 0) -> NDArray[np.float32]:
    """(CLASSES, h, w): 1 for the class of a pixel, 0 for the others, and normal noise."""
    exact = (np.arange(CLASSES)[:, None, None] == mask).astype(np.float32)
    return exact + noise * np.random.default_rng(seed).normal(size=exact.shape).astype(np.float32)


def doubled(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The network's input to scores at the size of `picture`."""
    height, width = picture.shape[:2]
    return np.asarray(cv2.resize(picture, (2 * width, 2 * height)), np.uint8)
