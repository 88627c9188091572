"""Hide classes in the pictures for good: where they are, where they were, and in files where they will be.

A mask misses a thing now and then, and what can be seen in one frame has been seen. So a thing is hidden wherever a
frame of the half second before, or after, has it: carried along the motion between the frames, with a margin around it.
A file's pieces are hidden each by itself, as they are made: what one of them misses for a frame or two, it finds on the
other side. A camera's picture does not wait for those that come.

What stands there then is made of what is around it, and of nothing else. Blocks or a blur of the thing itself would let
it pass beneath them, and of enough such pictures it can be worked out again; of this there is nothing to work out.

Where and how is decided on a grid of some 160 x 90 cells, in the decoder's own planes; what is not hidden stays as it
is, to the byte.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from ..decode.pixels import planes_of
from ..decode.place import look_of
from ..frames import begins_piece
from ..masks.deciding import Decided
from ..masks.flow import Flow, differences, explained, likely_exposure, moved, origins_of
from ..spec import PixelClass, select_classes
from .overlay import as_yuv420p, copy_colors

_CELLS = 120  # along the side of a square picture
_MARGIN = 2  # cells around what is hidden; twice as wide are the gaps in it that are closed
_ISLAND = 0.01  # of the picture: what is not hidden and is smaller, as the plate of a car taken for a sign
_MEMORY_S = 0.5
_STAYS_S = 0.125  # for which it is hidden also where it was, should flow have gone astray
_TICK_S = 1e-3  # which rounding may leave of them
_MOST_AHEAD = 16  # frames that wait for those after them, which bounds memory
_GRAY = 128  # in all three planes, where all of a picture is covered
_ALIKE, _MIN_EXPLAINED = 16.0, 0.25  # as in `smooth`, but for sure: a cut that was none lets a thing be seen

Cells = NDArray[np.bool_]  # (rows, columns)


@dataclass(slots=True, eq=False)
class _Look:
    """A frame on the grid."""

    item: Decided
    picture: av.VideoFrame  # 8 bit, 4:2:0
    colors: NDArray[np.uint8]  # (rows, columns, 3) Y, Cb, Cr: the means of the cells
    seen: Cells  # where the mask has it
    hidden: Cells  # and where it is hidden
    origins: NDArray[np.float32] | None = None  # (rows, columns, 2) in the frame before; None where none counts

    @property
    def time(self) -> float:
        return float(self.item.result.frame.time)


class Blur:
    """Hides classes in the frames of one video, which are given in order. For one thread.

    Args:
        classes: of the masks.
        names: of those to hide.
        live: nothing waits, and there are no pieces.

    Raises:
        RoadmaskError: a name is no class.
    """

    def __init__(self, classes: Sequence[PixelClass], names: Sequence[str], *, live: bool = False) -> None:
        self._wanted = np.zeros(256, np.uint8)
        self._wanted[: len(classes)] = np.where(select_classes(classes, only=names), 255, 0)
        self._live = live
        self._flow = Flow()
        self._before: _Look | None = None
        self._left: NDArray[np.float32] = np.empty((0, 0), np.float32)  # seconds for which it is hidden here
        self._stays: NDArray[np.float32] = np.empty((0, 0), np.float32)  # likewise, without moving along

    def over(self, decided: Iterable[Decided]) -> Iterator[Decided]:
        """The frames, with pictures in which it is hidden; their `look` is that of what was decoded."""
        waiting: deque[_Look] = deque()
        for item in decided:
            if not self._live and begins_piece(item.position):
                while waiting:
                    yield _hidden(waiting.popleft())
                self._before = None
            look = self._look(item)
            self._remember(look)
            waiting.append(look)
            if not self._live:
                _foresee(waiting)
            while waiting and (self._live or _is_ready(waiting)):
                yield _hidden(waiting.popleft())
        while waiting:
            yield _hidden(waiting.popleft())

    def _look(self, item: Decided) -> _Look:
        mask, picture = item.result.mask, as_yuv420p(item.result.frame.picture)
        height, width = mask.shape
        cell = 2 * max(round(math.sqrt(height * width) / _CELLS / 2), 1)
        size = (-(-width // cell), -(-height // cell))
        colors = cv2.merge([cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in planes_of(picture)])
        # A cell has it where a pixel does, but for one alone in a cell of 4K, which is rounded down.
        seen = cv2.resize(cv2.LUT(mask, self._wanted), size, interpolation=cv2.INTER_AREA) > 0
        return _Look(item, picture, np.asarray(colors, np.uint8), seen, seen)

    def _remember(self, look: _Look) -> None:
        """Hide what was seen in the frames before."""
        before, self._before = self._before, look
        if before is not None and before.seen.shape == look.seen.shape:
            look.origins = self._origins(look.colors, before.colors)
        if before is None or look.origins is None:
            self._left, self._stays = (np.zeros(look.seen.shape, np.float32) for _ in range(2))
        else:
            self._left = moved(self._left, look.origins, nearest=True)
            for seconds in (self._left, self._stays):
                seconds -= max(look.time - before.time, 0)
        self._left[look.seen], self._stays[look.seen] = _MEMORY_S, _STAYS_S
        look.hidden = (self._left > _TICK_S) | (self._stays > _TICK_S)

    def _origins(self, now: NDArray[np.uint8], before: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """Where each cell was in the frame before; `None` after a cut."""
        origins = origins_of(self._flow.motion(now[..., 0].copy(), before[..., 0].copy()), *now.shape[:2])
        now, expected = (
            np.asarray(cv2.cvtColor(item, cv2.COLOR_YUV2RGB), np.uint8) for item in (now, moved(before, origins))
        )
        difference = differences(now, expected, origins, likely_exposure(now, expected, limit=_ALIKE))
        return origins if explained(difference, origins, limit=_ALIKE) >= _MIN_EXPLAINED else None


def _foresee(waiting: deque[_Look]) -> None:
    """Hide what the last frame has in those before it."""
    last = waiting[-1]
    found = last.seen
    for later, earlier in pairwise(reversed(waiting)):
        gap_s = last.time - earlier.time
        if later.origins is None or gap_s >= _MEMORY_S or not found.any():
            return
        before = np.zeros_like(found)
        columns, rows = np.rint(later.origins[found]).astype(np.intp).T
        inside = (rows >= 0) & (rows < found.shape[0]) & (columns >= 0) & (columns < found.shape[1])
        before[rows[inside], columns[inside]] = True
        if gap_s < _STAYS_S:
            before |= last.seen
        found = before & ~earlier.hidden  # what it knows already has been carried on from there
        earlier.hidden = earlier.hidden | before


def _is_ready(waiting: deque[_Look]) -> bool:
    """Whether nothing that comes has a say in the first."""
    return len(waiting) > _MOST_AHEAD or waiting[-1].time - waiting[0].time >= _MEMORY_S


def _hidden(look: _Look) -> Decided:
    """The frame, with something else in the place of what is hidden."""
    item = look.item
    if not look.hidden.any():
        return item
    cover = _cover(look.hidden)
    result, decoded = item.result, item.result.frame.picture
    picture = _painted(look.picture, cover, _filled(look.colors, cover))
    frame = replace(result.frame, picture=picture, look=look_of(decoded))
    return item._replace(result=replace(result, frame=frame))


def _cover(hidden: Cells) -> NDArray[np.uint8]:
    """(rows, columns) 255 where something is painted: with its margin, and without gaps and small islands in it."""
    reach, back = (cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * n + 1, 2 * n + 1)) for n in (2 * _MARGIN, _MARGIN))
    cover = np.asarray(cv2.erode(cv2.dilate(hidden.astype(np.uint8) * 255, reach), back), np.uint8)
    _, islands, about, _ = cv2.connectedComponentsWithStats(cv2.bitwise_not(cover))
    is_small = about[:, cv2.CC_STAT_AREA] < _ISLAND * cover.size  # the first is no island, but what is covered
    cover[is_small[islands]] = 255
    return cover


def _filled(colors: NDArray[np.uint8], cover: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(rows, columns, 3) what is covered in the colours around it, the near ones more; all else as it is."""
    known = (cover == 0).astype(np.float32)
    return np.asarray(np.rint(_spread(colors * known[..., None], known)), np.uint8)


def _spread(sums: NDArray[np.float32], known: NDArray[np.float32]) -> NDArray[np.float32]:
    """The cells: `sums` (rows, columns, 3) of what is `known` of each, 0 to 1, and the rest from a coarser grid."""
    rows, columns = known.shape
    if rows * columns == 1:
        return sums / known[0, 0] if known[0, 0] else np.full_like(sums, _GRAY)
    half = (-(-columns // 2), -(-rows // 2))
    coarser = [np.asarray(cv2.resize(item, half, interpolation=cv2.INTER_AREA), np.float32) for item in (sums, known)]
    coarse = cv2.resize(_spread(*coarser), (columns, rows), interpolation=cv2.INTER_LINEAR)
    return np.asarray(sums + coarse * (1 - known)[..., None], np.float32)


def _painted(picture: av.VideoFrame, cover: NDArray[np.uint8], fill: NDArray[np.uint8]) -> av.VideoFrame:
    """A copy with `fill` where `cover` is."""
    painted = av.VideoFrame(picture.width, picture.height, picture.format.name)
    copy_colors(picture, painted)
    for target, plane, color in zip(planes_of(painted), planes_of(picture), cv2.split(fill), strict=True):
        np.copyto(target, plane)
        size = plane.shape[::-1]
        # Bilinear, then cut in half: the outline is a smooth line, not the cells' steps.
        _, inside = cv2.threshold(cv2.resize(cover, size, interpolation=cv2.INTER_LINEAR), 127, 255, cv2.THRESH_BINARY)
        cv2.copyTo(cv2.resize(color, size, interpolation=cv2.INTER_LINEAR), inside, target)
    return painted
