"""What is counted while a model is scored, and the scores that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..training.labels import Groups, Labels
from ..training.metrics import mean_of


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Of some frames together: their pixels are added up first, and divided then."""

    frame_count: int
    codes: NDArray[np.int64]  # [true code, predicted class] pixels, void left out
    groups: Groups  # of classes that the data's labels tell apart: each class alone, unless labels are sets
    tracked: int  # pixels followed from one frame to the next
    changed: int  # those among them whose class is another there

    @property
    def confusion(self) -> NDArray[np.int64]:
        """[true, predicted] pixels of the groups, void left out."""
        return self.groups.confusion(self.codes)

    @property
    def iou(self) -> NDArray[np.float64]:
        """Of each group; nan for one that neither occurs nor is predicted, or that the data cannot label."""
        return self.groups.iou(self.codes)

    @property
    def mean_iou(self) -> float:
        return mean_of(self.iou)

    @property
    def accuracy(self) -> float:
        """Share of the pixels that are not void whose class is right."""
        return self.groups.accuracy(self.codes)

    @property
    def flicker(self) -> float:
        """Share of the pixels followed between frames that change their class; nan where no frame follows another."""
        return self.changed / self.tracked if self.tracked else float("nan")

    def __add__(self, other: Scores) -> Scores:
        return Scores(
            self.frame_count + other.frame_count,
            self.codes + other.codes,
            self.groups,
            self.tracked + other.tracked,
            self.changed + other.changed,
        )


@dataclass(frozen=True, slots=True, eq=False)
class FrameScore:
    name: str
    drive: str
    mean_iou: float  # over the groups that the frame shows; nan where all of it is void
    accuracy: float
    flicker: float  # against the frame before; nan where there is none


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    labels: Labels  # the model's classes, and the sets of them that the data's labels stand for
    total: Scores
    drives: Mapping[str, Scores]  # of the frames whose names say their drive
    frames: tuple[FrameScore, ...]
    model: Path
    model_sha256: str
    data: Path
    chosen_by: str  # for people: which pictures of the data set
    mapping: Mapping[str, str]  # data class to model class, A|B or void, where the user gave one
    is_smoothed: bool
    size: str  # of the network's pictures: "default", or what stood in its place

    @property
    def picture_count(self) -> int:
        return self.total.frame_count

    @property
    def group_names(self) -> tuple[str, ...]:
        """What is scored: the model's classes in its order, or groups such as `Car+Pedestrian+Bicyclist`."""
        return self.total.groups.names

    @property
    def confusion(self) -> NDArray[np.int64]:
        """[true, predicted] pixels of the groups, void left out."""
        return self.total.confusion

    @property
    def iou(self) -> dict[str, float]:
        return dict(zip(self.group_names, self.total.iou.tolist(), strict=True))

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
            mean_of(np.array([scores.mean_iou for scores in drives])),
            mean_of(np.array([scores.accuracy for scores in drives])),
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know beside the figures."""
        shown = self.confusion.sum(axis=1) > 0
        predicted = self.confusion.sum(axis=0) > 0
        unlabelled = self._names(~self.total.groups.is_labelled)
        absent = self._names(self.total.groups.is_labelled & ~shown & predicted)
        notes = []
        if unlabelled:
            notes.append(f"not scored, as the data has no labels of it: {unlabelled} (pixels taken for it are errors)")
        if absent:
            notes.append(f"IoU 0, as it is seen where no picture shows it: {absent}")
        return tuple(notes)

    def _names(self, chosen: NDArray[np.bool_]) -> str:
        return ", ".join(name for name, is_chosen in zip(self.group_names, chosen, strict=True) if is_chosen)


def frame_score(name: str, drive: str, scores: Scores) -> FrameScore:
    """Of one frame alone.

    Its mean IoU is over the classes (or groups) that it shows (Wang et al., "Revisiting evaluation metrics for semantic
    segmentation", 2023): with the others, a single wrong pixel of a rare class would count as much as a missed car.
    """
    shown = np.where(scores.confusion.sum(axis=1) > 0, scores.iou, np.nan)
    return FrameScore(name, drive, mean_of(shown), scores.accuracy, scores.flicker)
