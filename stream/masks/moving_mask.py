"""A mask of the whole picture, moved to where things are in a later one.

Each pixel by itself would take longer than to decide the mask anew. But things are large: so the picture is cut into
tiles, and where all about a tile's origin is of one class, that is the tile's. Of the others, about one in twenty, each
pixel is told its way, which goes on within a tile as from tile to tile.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..spec import NO_CLASS

# Of a picture's pixels, the fourth root of which is a tile's side. Small tiles are many; of large ones there are many
# pixels, each to be told its way.
_SIDE = 1 / 2048
_EVEN = 3  # tiles over which their ways are averaged: motion errs from one to the next, and that flickers


class _Tiles(NamedTuple):
    """Tables for masks of one size. Tiles are `side` pixels high and wide, those at the end stand out."""

    side: int
    corners: NDArray[np.float32]  # (rows, columns, 2): x and y of each tile's first pixel
    starts: NDArray[np.intp]  # (tiles,) that pixel in the mask, flat
    inside: NDArray[np.intp]  # (pixels of a tile, 1) how much further each of its pixels is
    right: NDArray[np.float32]  # likewise, how far right of the tile's middle
    below: NDArray[np.float32]
    row_of: NDArray[np.intp]  # of each row of pixels, that of its tile
    column_of: NDArray[np.intp]


@lru_cache(maxsize=8)
def _tiles(height: int, width: int) -> _Tiles:
    side = max(round((_SIDE * height * width) ** 0.25), 1)
    top, left = np.arange(0, height, side), np.arange(0, width, side)
    row = len(left) * side
    down, across = (item.reshape(-1, 1) for item in np.indices((side, side)))
    return _Tiles(
        side,
        np.dstack(np.meshgrid(left, top)).astype(np.float32),
        (top[:, None] * row + left).reshape(-1),
        down * row + across,
        np.asarray(across - (side - 1) / 2, np.float32),
        np.asarray(down - (side - 1) / 2, np.float32),
        np.arange(len(top) * side) // side,
        np.arange(row) // side,
    )


class MovingMask:
    """A mask (height, width) that is kept as it is now."""

    def __init__(self, mask: NDArray[np.uint8]) -> None:
        self.shape = height, width = mask.shape
        self._tiles = tiles = _tiles(height, width)
        side, below, right = tiles.side, len(tiles.row_of) - height, len(tiles.column_of) - width
        self._mask = np.asarray(cv2.copyMakeBorder(mask, 0, below, 0, right, cv2.BORDER_REPLICATE), np.uint8)
        # What begins there and is a little larger than a tile is of one class, or else this is no class.
        reach = np.ones((side + 1, side + 1), np.uint8)
        least, most = (extreme(self._mask, reach, anchor=(0, 0)) for extreme in (cv2.erode, cv2.dilate))
        self._classes = cv2.bitwise_or(least, cv2.compare(least, most, cv2.CMP_NE))

    def moved(self, motion: NDArray[np.float32]) -> NDArray[np.uint8]:
        """(height, width): a new mask, by the `motion` (h, w, 2) as of `Flow`, from the later picture back."""
        tiles, (height, width) = self._tiles, self.shape
        rows, columns = tiles.corners.shape[:2]
        way = cv2.resize(motion, (columns, rows), interpolation=cv2.INTER_LINEAR)
        in_pixels = np.array([width / motion.shape[1], height / motion.shape[0]], np.float32)
        way = cv2.blur(way * in_pixels, (_EVEN, _EVEN))
        origins = np.asarray(cv2.add(way, tiles.corners), np.float32)
        x, y = (self._nearest(origins[..., axis], axis, tiles.side) for axis in (0, 1))
        classes = self._classes.reshape(-1).take(y * self._mask.shape[1] + x)
        mask = classes.take(tiles.column_of, axis=1).take(tiles.row_of, axis=0)
        mixed = np.flatnonzero(classes == NO_CLASS)
        slopes = (cv2.Sobel(way, cv2.CV_32F, *axis, ksize=1, scale=0.5 / tiles.side) for axis in ((1, 0), (0, 1)))
        middle, right, below = (
            np.array(item.reshape(-1, 2).take(mixed, axis=0).T, np.float32, order="C") for item in (origins, *slopes)
        )
        middle += np.float32((tiles.side - 1) / 2)
        right[0] += 1
        below[1] += 1
        x, y = (
            self._nearest(middle[axis] + tiles.right * right[axis] + tiles.below * below[axis], axis, 1)
            for axis in (0, 1)
        )
        y *= self._mask.shape[1]
        y += x
        mask.reshape(-1)[tiles.inside + tiles.starts.take(mixed)] = self._mask.reshape(-1).take(y)
        return np.ascontiguousarray(mask[:height, :width])

    def _nearest(self, places: NDArray[np.float32], axis: int, size: int) -> NDArray[np.int32]:
        """The pixels at which what is `size` pixels large begins, all in the mask."""
        return np.rint(places).clip(0, self._mask.shape[1 - axis] - size).astype(np.int32)
