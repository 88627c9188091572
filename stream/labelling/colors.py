"""Masks in colours, where a colour must tell its class."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import cv2
import numpy as np
from numpy.typing import NDArray

from ..archive.png import png
from ..spec import Color, PixelClass

log = logging.getLogger(__name__)

BLACK: Color = (0, 0, 0)  # what has no label


def distinctly_colored(classes: Sequence[PixelClass]) -> tuple[PixelClass, ...]:
    """The classes, no colour twice and none black; which are others than the classes' own is told in warnings."""
    own = {item.color for item in classes}
    colors: list[Color] = []
    for item in classes:
        color = item.color
        if color == BLACK or color in colors:
            why = "which is what has no label" if color == BLACK else "which another class has"
            color = next(free for free in map(_voc_color, count(1)) if free not in own and free not in colors)
            log.warning("class %s gets the colour %s in place of %s, %s", item.name, color, item.color, why)
        colors.append(color)
    return tuple(replace(item, color=color) for item, color in zip(classes, colors, strict=True))


def color_table(classes: Sequence[PixelClass]) -> NDArray[np.uint8]:
    """(256, 3) blue, green, red of each label, as OpenCV has them; label 0 is black."""
    table = np.zeros((256, 3), np.uint8)
    table[1 : len(classes) + 1] = [item.color[::-1] for item in classes]
    return table


def colored(labels: NDArray[np.uint8], table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(height, width, 3) blue, green, red."""
    return np.asarray(cv2.merge([cv2.LUT(labels, table[:, channel]) for channel in range(3)]), np.uint8)


def color_png(labels: NDArray[np.uint8], table: NDArray[np.uint8]) -> bytes:
    return png(colored(labels, table))


def _voc_color(number: int) -> Color:
    """Of Pascal VOC's palette: the number's bits go to red, green and blue in turn, into their highest bits first."""
    channels = [0, 0, 0]
    for bit in range(24):
        channels[bit % 3] |= (number >> bit & 1) << (7 - bit // 3)
    return channels[0], channels[1], channels[2]
