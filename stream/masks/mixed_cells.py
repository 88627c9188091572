"""The pixels between grid points whose best classes differ: there alone the classes have to be compared.

Bilinear enlargement mixes the four grid points around a pixel, with the same weights for each class. So a class that is
best at all four is best at every pixel of the cell between them; and one that is nowhere in the cell as good as another
is everywhere can be left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", np.float32, np.uint8, np.intp)

PIXELS_AT_A_TIME = 1 << 17  # bounds the working memory, to 2 MB


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One side of a grid and of the picture it is enlarged to; pixel centres are at half integers.

    Cell i lies between the points i - 1 and i; at either end is one where the outermost point counts alone.
    """

    before: NDArray[np.intp]  # (cells,) the point before each cell
    after: NDArray[np.intp]  # (cells,)
    pixels: NDArray[np.intp]  # (most pixels of a cell, cells); the last is repeated in cells that have fewer
    weights: NDArray[np.float32]  # of the point after, for each of `pixels`
    a_point: NDArray[np.intp]  # (pixels of the side,) a point next to each pixel

    @classmethod
    def of(cls, points: int, length: int) -> Side:
        """A side of `points` grid points, enlarged to `length` pixels, which must be more."""
        positions = (np.arange(length) + 0.5) * (points / length) - 0.5
        below = np.floor(positions)
        cell_of = below.astype(np.intp) + 1
        cells = np.arange(points + 1)
        first, end = np.searchsorted(cell_of, cells), np.searchsorted(cell_of, cells, side="right")
        pixels = np.minimum(first + np.arange((end - first).max())[:, None], end - 1)
        return cls(
            before=np.maximum(cells - 1, 0),
            after=np.minimum(cells, points - 1),
            pixels=pixels,
            weights=(positions - below).astype(np.float32)[pixels],
            a_point=np.minimum(cell_of, points - 1),
        )


class MixedCells:
    """Decides the pixels of chosen cells between the points of a grid; for one thread.

    It keeps its working memory: to get a few hundred kilobytes anew for each step costs more than the step.

    Args:
        grid: (h, w) of the scores.
        size: (height, width) of the masks, both larger.
        at_a_time: pixels to decide; all cells come to the same.
    """

    def __init__(self, grid: tuple[int, int], size: tuple[int, int], *, at_a_time: int = PIXELS_AT_A_TIME) -> None:
        self.shape = (grid, size)
        self._down, self._right = Side.of(grid[0], size[0]), Side.of(grid[1], size[1])
        self._row_starts = self._down.pixels * size[1]  # in the mask, flat
        self._grid_width = grid[1]
        self._block = (len(self._down.pixels), len(self._right.pixels))
        self._at_a_time = max(at_a_time // math.prod(self._block), 1)
        pixels = self._at_a_time * math.prod(self._block)
        self._best, self._candidate = np.empty(pixels, np.float32), np.empty(pixels, np.float32)
        self._winner, self._wins = np.empty(pixels, np.uint8), np.empty(pixels, np.uint8)
        self._places = np.empty(pixels, np.intp)
        self._wide = np.empty((grid[0], size[1]), np.uint8)

    def spread(self, coarse: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A mask with the class, of `coarse` (h, w), that one of the points around each pixel has."""
        np.take(coarse, self._right.a_point, axis=1, out=self._wide, mode="clip")  # the mode that needs no buffer
        return self._wide.take(self._down.a_point, axis=0)

    def decide(self, scores: NDArray[np.float32], cells: NDArray[np.intp], mask: NDArray[np.uint8]) -> None:
        """Write the best class of each pixel of `cells` into `mask`; of equal ones the first.

        `cells` are indices into the cells between the points of the grid, row by row, (h + 1) * (w + 1) in all.
        """
        for start in range(0, len(cells), self._at_a_time):
            chosen = cells[start : start + self._at_a_time]
            rows = chosen // (self._grid_width + 1)  # by one number NumPy divides quickly, in divmod it does not
            columns = chosen - rows * (self._grid_width + 1)
            corners = self._corners(rows, columns)
            order, rounds = _rounds(scores.reshape(len(scores), -1).take(corners, axis=1))
            rows, columns = rows.take(order), columns.take(order)
            winner = self._winners(scores, rows, columns, corners.take(order, axis=1), rounds)
            places = self._view(self._places, len(rows))
            row_starts = self._row_starts.take(rows, axis=1)[:, None]
            np.add(row_starts, self._right.pixels.take(columns, axis=1), out=places)
            mask.reshape(-1)[places] = winner

    def _winners(
        self,
        scores: NDArray[np.float32],
        rows: NDArray[np.intp],
        columns: NDArray[np.intp],
        corners: NDArray[np.intp],
        rounds: list[NDArray[np.intp]],
    ) -> NDArray[np.uint8]:
        """The best classes of the cells' pixels, (pixels down, pixels right, cells)."""
        down = self._down.weights.take(rows, axis=1)[:, None]
        right = self._right.weights.take(columns, axis=1)
        best, winner = self._view(self._best, len(rows)), self._view(self._winner, len(rows))
        points = scores.shape[1] * scores.shape[2]
        flat = scores.reshape(-1)
        # By how much better than the first: it itself need not be enlarged, and most cells have but one more.
        first = flat.take(corners + rounds[0] * points)
        best.fill(0)
        winner[:] = rounds[0].astype(np.uint8)
        for classes in rounds[1:]:
            count = len(classes)
            candidate, wins = self._view(self._candidate, count), self._view(self._wins, count)
            at_corners = flat.take(corners[:, :count] + classes * points)
            at_corners -= first[:, :count]
            _enlarge(at_corners, down[..., :count], right[:, :count], out=candidate)
            np.greater(candidate, best[..., :count], out=wins)
            np.maximum(candidate, best[..., :count], out=best[..., :count])
            # Classes rise from round to round, so the latest winner is the largest.
            wins *= classes.astype(np.uint8)
            np.maximum(wins, winner[..., :count], out=winner[..., :count])
        return winner

    def _corners(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.intp]:
        """(4, cells) positions in the grid: above left, above right, below left, below right."""
        above, below = (points.take(rows) * self._grid_width for points in (self._down.before, self._down.after))
        left, right = self._right.before.take(columns), self._right.after.take(columns)
        return np.stack([above + left, above + right, below + left, below + right])

    def _view(self, room: NDArray[T], cells: int) -> NDArray[T]:
        """(pixels down, pixels right, cells) at the beginning of a buffer."""
        shape = (*self._block, cells)
        return room[: math.prod(shape)].reshape(shape)


def _rounds(corners: NDArray[np.float32]) -> tuple[NDArray[np.intp], list[NDArray[np.intp]]]:
    """Which classes of each cell to compare, from the scores at its corners (classes, 4, cells).

    Returns an order of the cells, and for each round the class to compare next, rising from round to round, of each of
    the first cells in this order: all in the first round, those that have a second candidate in the second, ...
    """
    # A class whose highest corner is below the lowest corner of another loses to it everywhere.
    is_candidate = corners.max(axis=1) >= corners.min(axis=1).max(axis=0)
    counts = np.count_nonzero(is_candidate, axis=0)
    order = np.argsort(counts.astype(np.uint16), kind="stable")[::-1]
    counts = counts[order]
    classes = np.flatnonzero(is_candidate.T[order]) % len(corners)  # of one cell after the other
    starts = np.cumsum(counts) - counts
    return order, [classes[starts[counts > number] + number] for number in range(counts[0])]


def _enlarge(
    corners: NDArray[np.float32], down: NDArray[np.float32], right: NDArray[np.float32], *, out: NDArray[np.float32]
) -> None:
    """One score of each cell, (4, cells), at the cell's pixels (pixels down, pixels right, cells)."""
    above_left, above_right, below_left, below_right = corners
    above = above_left + (above_right - above_left) * right
    below = below_left + (below_right - below_left) * right
    np.multiply(below - above, down, out=out)
    out += above
