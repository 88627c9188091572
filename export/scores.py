"""What is counted while a model is scored, and the scores that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..training.metrics import iou, pixel_accuracy


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Of some frames together: their pixels are added up first, and divided then."""

    frame_count: int
    confusion: NDArray[np.int64]  # [true, predicted] pixels, void left out
    is_scored: NDArray[np.bool_]  # (classes,) false for those that the data cannot label
    tracked: int  # pixels followed from one frame to the next
    changed: int  # those among them whose class is another there

    @property
    def iou(self) -> NDArray[np.float64]:
        """Of each class; nan for one that neither occurs nor is predicted, or that the data cannot label."""
        return np.where(self.is_scored, iou(self.confusion), np.nan)

    @property
    def mean_iou(self) -> float:
        return _mean(self.iou)

    @property
    def accuracy(self) -> float:
        """Share of the pixels that are not void whose class is right."""
        return pixel_accuracy(self.confusion)

    @property
    def flicker(self) -> float:
        """Share of the pixels followed between frames that change their class; nan where no frame follows another."""
        return self.changed / self.tracked if self.tracked else float("nan")

    def __add__(self, other: Scores) -> Scores:
        return Scores(
            self.frame_count + other.frame_count,
            self.confusion + other.confusion,
            self.is_scored,
            self.tracked + other.tracked,
            self.changed + other.changed,
        )


@dataclass(frozen=True, slots=True, eq=False)
class FrameScore:
    name: str
    drive: str
    mean_iou: float  # over the classes that the frame shows; nan where all of it is void
    accuracy: float
    flicker: float  # against the frame before; nan where there is none


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    class_names: tuple[str, ...]  # in the model's order
    class_colors: tuple[tuple[int, int, int], ...]
    total: Scores
    drives: Mapping[str, Scores]  # of the frames whose names say their drive
    frames: tuple[FrameScore, ...]
    model: Path
    model_sha256: str
    data: Path
    chosen_by: str  # for people: which pictures of the data set
    mapping: Mapping[str, str]  # data class to model class or void, where the user gave one
    is_smoothed: bool

    @property
    def picture_count(self) -> int:
        return self.total.frame_count

    @property
    def confusion(self) -> NDArray[np.int64]:
        """[true, predicted] pixels, void left out."""
        return self.total.confusion

    @property
    def iou(self) -> dict[str, float]:
        return dict(zip(self.class_names, self.total.iou.tolist(), strict=True))

    @property
    def mean_iou(self) -> float:
        return self.total.mean_iou

    @property
    def accuracy(self) -> float:
        return self.total.accuracy

    @property
    def flicker(self) -> float:
        return self.total.flicker

    @property
    def mean_over_drives(self) -> tuple[float, float]:
        """Mean IoU and accuracy with every drive counting the same, however long it is."""
        drives = self.drives.values()
        return (
            _mean(np.array([scores.mean_iou for scores in drives])),
            _mean(np.array([scores.accuracy for scores in drives])),
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know beside the figures."""
        shown = self.confusion.sum(axis=1) > 0
        predicted = self.confusion.sum(axis=0) > 0
        unlabelled = self._names(~self.total.is_scored)
        absent = self._names(self.total.is_scored & ~shown & predicted)
        notes = []
        if unlabelled:
            notes.append(f"not scored, as the data has no labels of it: {unlabelled} (pixels taken for it are errors)")
        if absent:
            notes.append(f"IoU 0, as it is seen where no picture shows it: {absent}")
        return tuple(notes)

    def _names(self, chosen: NDArray[np.bool_]) -> str:
        return ", ".join(name for name, is_chosen in zip(self.class_names, chosen, strict=True) if is_chosen)


def frame_score(name: str, drive: str, scores: Scores) -> FrameScore:
    """Of one frame alone.

    Its mean IoU is over the classes that it shows (Wang et al., "Revisiting evaluation metrics for semantic
    segmentation", 2023): with the others, a single wrong pixel of a rare class would count as much as a missed car.
    """
    shown = np.where(scores.confusion.sum(axis=1) > 0, scores.iou, np.nan)
    return FrameScore(name, drive, _mean(shown), scores.accuracy, scores.flicker)


def _mean(values: NDArray[np.float64]) -> float:
    """Without the nans; nan where nothing else is left."""
    return float("nan") if np.isnan(values).all() else float(np.nanmean(values))
