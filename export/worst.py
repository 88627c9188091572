"""The frames that a model does worst on, and a sheet to see why."""

from __future__ import annotations

import heapq
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..stream.system.talk import printable
from ..training.label_pictures import VOID
from ..training.labels import Labels
from ..training.sheet import Cell, draw_sheet, paint
from .evaluate import DecidedFrame
from .scores import FrameScore

_MAX_WIDTH = 480  # of a picture on the sheet: four of them fit on a screen
_WRONG, _VOID = (230, 30, 30), (0, 0, 0)


class WorstFrames:
    """Keeps the `count` frames of the lowest mean IoU, and no others: memory is bounded."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._seen = 0
        self._heap: list[tuple[float, int, DecidedFrame, FrameScore]] = []  # the best of the worst on top

    def add(self, frame: DecidedFrame, score: FrameScore) -> None:
        self._seen += 1  # of equal frames the earlier one stays; and frames themselves cannot be compared
        if math.isnan(score.mean_iou):
            return
        entry = (-score.mean_iou, -self._seen, frame, score)
        if len(self._heap) < self._count:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    @property
    def names(self) -> list[str]:
        """Worst first."""
        return [score.name for *_, score in sorted(self._heap, reverse=True)]

    def sheet(self, labels: Labels) -> Image.Image:
        """A row a frame, the worst first: picture, truth, prediction, and where they differ."""
        rows = [_row(frame, score, labels) for _, _, frame, score in sorted(self._heap, reverse=True)]
        return draw_sheet(rows, labels.names, labels.colors)


def _row(frame: DecidedFrame, score: FrameScore, labels: Labels) -> list[Cell]:
    picture, truth = frame.labelled.picture, frame.labelled.truth
    return [
        Cell(f"{printable(score.name)}: mIoU {score.mean_iou:.3f}, accuracy {score.accuracy:.3f}", _fitted(picture)),
        Cell("truth (void is uncoloured)", _fitted(paint(picture, truth, labels.colors))),
        Cell("prediction", _fitted(paint(picture, frame.predicted, labels.colors))),
        Cell("wrong in red, void in black", _fitted(_differences(picture, truth, frame.predicted, labels))),
    ]


def _differences(
    picture: NDArray[np.uint8], truth: NDArray[np.uint8], predicted: NDArray[np.uint8], labels: Labels
) -> NDArray[np.uint8]:
    """The picture in pale grey under its errors, so that what they are on can still be seen."""
    grey = picture.mean(axis=2, keepdims=True)
    shown = np.repeat(np.minimum(128 + grey / 2, 255), 3, axis=2)
    is_known = truth != VOID
    is_wrong = is_known & ~labels.members[truth * is_known, predicted]
    shown[is_wrong] = 0.3 * shown[is_wrong] + 0.7 * np.array(_WRONG)
    shown[truth == VOID] = _VOID
    return np.asarray(np.round(shown), np.uint8)


def _fitted(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    if width <= _MAX_WIDTH:
        return picture
    size = (_MAX_WIDTH, max(round(height * _MAX_WIDTH / width), 1))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX), np.uint8)
