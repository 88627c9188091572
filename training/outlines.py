"""Outlines and run lengths, as labelling tools keep them, to pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

_CHANNELS = 4  # of a brush of Label Studio, which is an RGBA picture


@dataclass(frozen=True, slots=True, eq=False)
class Area:
    """Pixels of one class: `mask` lies with its upper left corner at `top`, `left`."""

    class_id: int
    top: int
    left: int
    mask: NDArray[np.bool_]

    @property
    def size(self) -> int:
        return int(self.mask.sum())


def painted(areas: Iterable[Area], height: int, width: int, rest: int) -> NDArray[np.uint8]:
    """(height, width) class ids: later areas over earlier ones, and `rest` where there are none."""
    ids = np.full((height, width), rest, np.uint8)
    for area in areas:
        below, right = area.top + area.mask.shape[0], area.left + area.mask.shape[1]
        ids[area.top : below, area.left : right][area.mask] = area.class_id
    return ids


def filled(class_id: int, corners: Sequence[tuple[float, float]], height: int, width: int) -> Area:
    """The pixels of a picture whose centres lie within a polygon of (x, y) corners; where it crosses itself, even-odd.

    Raises:
        ValueError: a corner is no pair of numbers.
    """
    if len(corners) < 3:
        return Area(class_id, 0, 0, np.zeros((0, 0), np.bool_))
    points = np.asarray(corners, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise ValueError("an outline whose corners are no pairs of numbers")
    points = points.clip(-1e7, 1e7)
    left, top = (max(int(low), 0) for low in np.floor(points.min(axis=0)))
    right, bottom = (
        min(int(high), most) for high, most in zip(np.ceil(points.max(axis=0)), (width, height), strict=True)
    )
    if right <= left or bottom <= top:
        return Area(class_id, 0, 0, np.zeros((0, 0), np.bool_))
    # Each edge turns what is right of it inside out, in the rows whose centres it passes.
    turns = np.zeros((bottom - top, right - left + 1), np.int32)
    for (x, y), (next_x, next_y) in pairwise([*points.tolist(), points[0].tolist()]):
        if y > next_y:
            x, y, next_x, next_y = next_x, next_y, x, y
        rows = np.arange(max(int(np.ceil(y - 0.5)), top), min(int(np.ceil(next_y - 0.5)), bottom))
        if len(rows):
            crossings = x + (rows + 0.5 - y) * (next_x - x) / (next_y - y)
            turns[rows - top, np.ceil(crossings - 0.5).clip(left, right).astype(int) - left] += 1
    return Area(class_id, top, left, np.cumsum(turns, axis=1)[:, :-1] % 2 == 1)


def of_runs(class_id: int, runs: Sequence[int], height: int, width: int) -> Area:
    """Of COCO's run lengths: column by column, what is not of the area and what is, in turn.

    Raises:
        ValueError: they are not of such a picture.
    """
    lengths = np.asarray(runs, np.int64)
    if lengths.ndim != 1 or (lengths < 0).any() or lengths.sum() != height * width:
        raise ValueError(f"run lengths that do not make {width}x{height} pixels")
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return Area(class_id, 0, 0, flat.reshape(width, height).T)


def coco_runs(text: str) -> list[int]:
    """Run lengths as pycocotools packs them: five bits a letter, each from the third on less the one two before it."""
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        code = ord(letter) - 48
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            if code & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs


def of_brush(class_id: int, content: Sequence[int], height: int, width: int) -> Area:
    """Of Label Studio's brush: runs of values as a stream of bits, as `stream/labelling/coco.py` describes them.

    Raises:
        ValueError: they are not of such a picture.
    """
    bits = "".join(f"{byte:08b}" for byte in bytes(content))
    place = 0

    def read(count: int) -> int:
        nonlocal place
        place += count
        return int(bits[place - count : place], 2)  # ValueError at the end of the bits

    total, value_bits = read(32), read(5) + 1
    if total != _CHANNELS * height * width:
        raise ValueError(f"a brush that is not of {width}x{height} pixels")
    length_bits = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    lengths: list[int] = []
    done = 0
    while done < total:
        is_run = read(1)
        length = read(length_bits[read(2)]) + 1
        some = [read(value_bits)] if is_run else [read(value_bits) for _ in range(length)]
        values += some
        lengths += [length] if is_run else [1] * length
        done += length
    flat = np.repeat(np.array(values), lengths)[:total].reshape(height, width, _CHANNELS)
    return Area(class_id, 0, 0, flat[:, :, -1] > 0)
