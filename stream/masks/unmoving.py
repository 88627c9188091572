"""What never moves in a drive: the own bonnet, a dashboard, black bars, a time stamp.

While one drives, the gradient at a pixel points anywhere, and over many pictures its mean is next to nothing. Where
something is fixed to the camera it stays. So two numbers tell of each pixel: how strong the mean gradient is, and how
much of all gradients it is, the `steadiness`, between 0 and 1.

A bonnet is what lies between one side of the picture and a line of such edges; what it mirrors may move. The line is
found as the path across the picture that gains most, as in seam carving (Avidan and Shamir, SIGGRAPH 2007), and may run
out of the picture. A time stamp is a heap of such edges near a side. Pictures count only where the scene has moved on
since the last one that did: a car that waits has nothing moving in its pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..system.talk import number_of

LEAST = 30  # pictures in which the scene has moved on; of fewer, a horizon or a lane's line looks as fixed as a bonnet
# Of the gradients of a picture and of the last that counted, those that are not the same. Between pictures 0.2 s apart
# it was 0.4 in a street and 0.28 on a motorway at night; of a car that stands it is next to nothing.
_MOVED = 0.3
_MOVED_WIDTH = 160  # of pictures that are compared so: noise is gone in them
_NOISE, _BRIGHT = 1.5, 15  # levels: what is less does not count, what is more no more

# On drives of a minute without anything fixed no pixel came to this, and bonnets, wipers and a faint watermark did:
# steadiness 0.5 to 0.85, 3 to 24 levels a pixel. Fixed patterns of a sensor stay below 2.5 levels.
_STEADY, _STRONG = 0.4, 1.5
_STEADY_LINE, _STRONG_LINE = 0.25, 4  # where a path gains all that it can
_WEAK = 0.15  # steadiness of digits that change, beside some that do not
_PRICE = 0.15  # of a step of the path; so it keeps to edges
_JUMP = 0.5  # for going out of the picture, or coming back
_BEND = 3  # rows from column to column
_DEPTH = 0.6  # of the picture, that a bonnet reaches at most
_LEAST_WIDTH = 0.08  # of a bonnet, of the picture's
_LINES = 3  # that are looked for, one above the other: of a bonnet, and of the wiper on it
_LEAST_EDGE = 0.6  # of its line, that lies on edges
_MOST_MOVING = 0.3  # of what is below the line
_RIM = 0.2  # of the height, at top and bottom, and half of it of the width, in which a time stamp lies
_LARGEST = 0.05  # of the picture, of a time stamp
_SMALLEST = 1 / 9000  # of the picture, of its steady edges

Levels = NDArray[np.float32]  # (h, w)
Turn = Callable[[NDArray[Any]], NDArray[Any]]
# What turns a picture so that a side is its bottom, and back.
_TURNS: dict[str, tuple[Turn, Turn]] = {
    "bottom": (lambda picture: picture, lambda picture: picture),
    "top": (lambda picture: picture[::-1], lambda picture: picture[::-1]),
    "left": (lambda picture: picture.T[::-1], lambda picture: picture[::-1].T),
    "right": (lambda picture: picture.T, lambda picture: picture.T),
}


@dataclass(frozen=True, slots=True, eq=False)
class Unmoving:
    """What was found."""

    pixels: NDArray[np.uint8]  # (h, w) 255 where nothing moves, else 0
    sides: dict[str, float]  # the share of the picture that each has; none of those that have nothing
    places: int  # small ones besides

    def __str__(self) -> str:
        parts = [f"{side} {share:.1%}" for side, share in self.sides.items()]
        if self.places:
            parts.append(number_of(self.places, "small place"))
        return f"{np.count_nonzero(self.pixels) / self.pixels.size:.1%} of the picture ({', '.join(parts)})"


class Watcher:
    """Looks at pictures of a drive, all of one size, in order. For one thread."""

    def __init__(self) -> None:
        self.looked_at = 0  # pictures
        self.counted = 0  # of these, where the scene had moved on
        self.example: NDArray[np.uint8] | None = None  # one that counted, (h, w, 3) RGB
        self._last: NDArray[np.float32] | None = None
        self._sums: list[NDArray[np.float32]] = []  # of the gradients, along x and along y, and of their squares

    def add(self, picture: NDArray[np.uint8]) -> None:
        """The next one, (h, w, 3) RGB."""
        self.looked_at += 1
        gray = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
        if not self._has_moved(gray):
            return
        self.counted += 1
        if self.counted & (self.counted - 1) == 0:  # now and then, to have one from the middle
            self.example = picture
        if not self._sums:
            self._sums = [np.zeros(gray.shape, np.float32) for _ in range(3)]
        for along, (x, y) in zip(self._sums, ((1, 0), (0, 1)), strict=False):
            gradient = cv2.Sobel(gray, cv2.CV_32F, x, y, scale=1 / 8)
            cv2.accumulate(gradient, along)
            cv2.accumulateSquare(gradient, self._sums[2])

    def _has_moved(self, gray: NDArray[np.uint8]) -> bool:
        height, width = gray.shape
        size = (_MOVED_WIDTH, max(_MOVED_WIDTH * height // width, 1))
        small = cv2.resize(gray, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        detail = small - cv2.GaussianBlur(small, (0, 0), 4)
        detail = np.sign(detail) * np.clip(np.abs(detail) - _NOISE, 0, _BRIGHT)
        if self._last is not None:
            both = np.abs(detail).sum() + np.abs(self._last).sum()
            if np.abs(detail - self._last).sum() < _MOVED * max(both, 1):
                return False
        self._last = np.asarray(detail, np.float32)
        return True

    def found(self) -> Unmoving | None:
        """What never moved; `None` for nothing. To be asked after `LEAST` pictures that counted."""
        mean_x, mean_y, energy = (total / self.counted for total in self._sums)
        strength: Levels = np.asarray(np.hypot(mean_x, mean_y), np.float32)
        steadiness: Levels = np.asarray(strength**2 / np.maximum(energy, 1e-6), np.float32)
        moves = (steadiness < _WEAK) & (energy > np.median(energy) / 4)
        pixels = np.zeros(strength.shape, np.uint8)
        sides: dict[str, float] = {}
        for side, (turned, back) in _TURNS.items():
            part = _at_bottom(*(np.ascontiguousarray(turned(item)) for item in (steadiness, strength, moves)))
            if part.any():
                sides[side] = float(np.count_nonzero(part)) / part.size
                pixels |= np.asarray(back(part), np.uint8)
        pixels = np.asarray(cv2.dilate(pixels, np.ones((5, 5), np.uint8)), np.uint8)  # edges are two pixels wide
        places = list(_places(steadiness, strength, pixels))
        for left, top, right, bottom in places:
            pixels[top:bottom, left:right] = 255
        return Unmoving(pixels, sides, len(places)) if pixels.any() else None


def _at_bottom(steadiness: Levels, strength: Levels, moves: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """(h, w) 255 in what is fixed and reaches up from the bottom."""
    height, width = strength.shape
    gain = np.where(steadiness > _STEADY_LINE, steadiness, 0) * np.minimum(strength / _STRONG_LINE, 1)
    gain = np.asarray(cv2.dilate(gain.astype(np.float32), np.ones((3, 1), np.uint8)), np.float32)
    fixed = np.zeros((height, width), np.uint8)
    for _ in range(_LINES):
        line = _line(gain)
        new = (np.arange(height)[:, None] >= line) & (fixed == 0)
        borders = np.flatnonzero(np.diff(line < height, prepend=False, append=False))
        for begin, end in borders.reshape(-1, 2):
            columns = slice(begin, end)
            on_edge = gain[line[columns], np.arange(begin, end)] > 0.2
            is_wide = end - begin >= _LEAST_WIDTH * width
            inside = new[:, columns]
            if is_wide and on_edge.mean() > _LEAST_EDGE and moves[:, columns][inside].mean() < _MOST_MOVING:
                fixed[:, columns][inside] = 255
        gain[cv2.dilate(fixed, np.ones((5, 5), np.uint8)) > 0] = 0
    return fixed


def _line(gain: Levels) -> NDArray[np.intp]:
    """The row, for each column, of the path that gains most; `height` where it is out of the picture."""
    height, width = gain.shape
    first = round(height * (1 - _DEPTH))
    step = gain[first:] - _PRICE
    out, best = 0.0, step[:, 0]
    outs, bests = [out], [best]
    window = np.ones((2 * _BEND + 1, 1), np.uint8)
    for column in range(1, width):
        reached = np.asarray(cv2.dilate(best[:, None], window), np.float32)[:, 0]
        out, best = max(out, float(best.max()) - _JUMP), np.maximum(reached, np.float32(out - _JUMP)) + step[:, column]
        outs.append(out)
        bests.append(best)
    line = np.full(width, height, np.intp)
    row = int(best.argmax()) if best.max() > out else None
    for column in range(width - 1, -1, -1):
        if row is not None:
            line[column] = first + row
        if column:
            row = _before(row, outs[column - 1], bests[column - 1])
    return line


def _before(row: int | None, out: float, best: NDArray[np.float32]) -> int | None:
    """Where the path was in the column before; None for out of the picture."""
    if row is None:
        return int(best.argmax()) if float(best.max()) - _JUMP > out else None
    begin = max(row - _BEND, 0)
    near = best[begin : row + _BEND + 1]
    return begin + int(near.argmax()) if near.max() >= out - _JUMP else None


def _places(steadiness: Levels, strength: Levels, known: NDArray[np.uint8]) -> Iterator[tuple[int, int, int, int]]:
    """Left, top, right and bottom of each time stamp or sign, outside of what is known."""
    height, width = strength.shape
    weak = (steadiness > _WEAK) & (strength > _STRONG) & (known == 0)
    gap = max(height // 60, 3)  # between letters, and between words
    joined = cv2.morphologyEx(weak.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((gap, 2 * gap), np.uint8))
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(joined)
    for label, (left, top, wide, high, _) in enumerate(boxes[1:].tolist(), 1):
        box = slice(top, top + high), slice(left, left + wide)
        steady = (labels[box] == label) & weak[box] & (steadiness[box] > _STEADY)
        right, bottom = left + wide, top + high
        is_at_rim = top >= (1 - _RIM) * height or bottom <= _RIM * height
        is_at_rim |= left >= (1 - _RIM / 2) * width or right <= _RIM / 2 * width
        if (
            is_at_rim
            and wide * high <= _LARGEST * height * width
            and steady.sum() >= _SMALLEST * height * width
            and strength[box][steady].mean() > 2 * _STRONG
        ):
            margin = gap // 2
            yield max(left - margin, 0), max(top - margin, 0), right + margin, bottom + margin
