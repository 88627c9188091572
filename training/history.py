"""What each epoch gave, as a table: a row an epoch in `history.csv`."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import MAKE_ROOM, TrainingError
from .labels import Groups
from .metrics import iou, mean_of

Row = dict[str, Any]
_FORMULA = re.compile("(^|[;,|])(?=\\s*[=+@\\-\uff1d\uff0b\uff20\uff0d])")  # in a spreadsheet; some split cells at ;
_NO_SCORES = frozenset({"epoch", "train_loss", "valid_loss", "lr", "seconds", "peak_memory_mb"})


@dataclass(frozen=True, slots=True, eq=False)
class PartScores:
    """How a network does on the validation pictures of one data set."""

    name: str
    groups: Groups  # of classes that its labels tell apart
    confusion: NDArray[np.int64]  # [true code, predicted class]

    @property
    def mean_iou(self) -> float:
        return mean_of(self.groups.iou(self.confusion))

    @property
    def accuracy(self) -> float:
        return self.groups.accuracy(self.confusion)

    @property
    def iou_per_class(self) -> NDArray[np.float64]:
        """Where labels stand for one class."""
        return iou(self.confusion[: self.confusion.shape[1]])


@dataclass(frozen=True, slots=True, eq=False)
class EpochScores:
    """What one epoch gave on the validation pictures."""

    epoch: int  # from 1
    train_loss: float
    valid_loss: float
    parts: tuple[PartScores, ...]  # of the data sets that have such pictures; the first one's classes are learnt
    lr: float  # of the decoder, at the end of the epoch
    seconds: float
    peak_memory_mb: int | None  # of this process so far

    @property
    def mean_iou(self) -> float:
        """Every data set counts the same."""
        return float(np.mean([part.mean_iou for part in self.parts]))


def history_row(scores: EpochScores, class_names: Sequence[str]) -> Row:
    first, *others = scores.parts
    row: Row = {
        "epoch": scores.epoch,
        "train_loss": round(scores.train_loss, 5),
        "valid_loss": round(scores.valid_loss, 5),
        "miou": round(first.mean_iou, 5),
        "accuracy": round(first.accuracy, 5),
        "lr": scores.lr,
        "seconds": round(scores.seconds, 1),
        "peak_memory_mb": scores.peak_memory_mb,
    }
    for part in others:
        row |= {f"{part.name}_miou": round(part.mean_iou, 5), f"{part.name}_accuracy": round(part.accuracy, 5)}
    per_class = zip(class_names, first.iou_per_class, strict=True)
    return row | {f"iou_{name}": round(float(value), 5) for name, value in per_class}


def scores_in(row: Row) -> dict[str, float]:
    """The part of a row that says how good the network is: `miou`, `accuracy`, `iou_CLASS`, `DATA_miou`."""
    return {key: value for key, value in row.items() if key not in _NO_SCORES}


def write_history(history: Sequence[Row], path: Path) -> None:
    """Whole, and by way of a temporary file, so that a reader never meets half a table. Raises `TrainingError`."""
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(map(_cell, history[0]))
            writer.writerows([_cell(row.get(name, "")) for name in history[0]] for row in history)
        temporary.replace(path)
    except OSError as exc:
        raise TrainingError(f"{path}: cannot be written ({exc.strerror}); {MAKE_ROOM}") from exc


def _cell(value: Any) -> Any:
    """A name with ' where a spreadsheet would take it for a formula."""
    return _FORMULA.sub(r"\1'", value) if isinstance(value, str) else value
