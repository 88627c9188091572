"""What each epoch gave, as a table: a row an epoch in `history.csv`."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .metrics import iou, mean_iou, pixel_accuracy

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class EpochScores:
    """What one epoch gave on the validation pictures."""

    epoch: int  # from 1
    train_loss: float
    valid_loss: float
    confusion: NDArray[np.int64]  # [truth, predicted]
    lr: float  # of the decoder, at the end of the epoch
    seconds: float
    peak_memory_mb: int | None  # of this process so far


def history_row(scores: EpochScores, class_names: Sequence[str]) -> Row:
    row: Row = {
        "epoch": scores.epoch,
        "train_loss": round(scores.train_loss, 5),
        "valid_loss": round(scores.valid_loss, 5),
        "miou": round(mean_iou(scores.confusion), 5),
        "accuracy": round(pixel_accuracy(scores.confusion), 5),
        "lr": scores.lr,
        "seconds": round(scores.seconds, 1),
        "peak_memory_mb": scores.peak_memory_mb,
    }
    per_class = zip(class_names, iou(scores.confusion), strict=True)
    return row | {f"iou_{name}": round(float(value), 5) for name, value in per_class}


def scores_in(row: Row) -> dict[str, float]:
    """The part of a row that says how good the network is: `miou`, `accuracy` and `iou_CLASS`."""
    return {key: value for key, value in row.items() if key.startswith(("miou", "iou", "accuracy"))}


def write_history(history: Sequence[Row], path: Path) -> None:
    """Whole, and by way of a temporary file, so that a reader never meets half a table."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(history[0]))
        writer.writeheader()
        writer.writerows(history)
    temporary.replace(path)
