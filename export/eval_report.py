"""Scores for people, as tables, and for programs, as JSON."""

from __future__ import annotations

import math

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..stream.system.talk import printable
from .scores import Evaluation


def plain(evaluation: Evaluation) -> dict[str, object]:
    """For JSON, which has no nan: null stands for a score that there is not."""
    total = evaluation.total
    over_drives = evaluation.mean_over_drives
    return {
        "model": str(evaluation.model),
        "model_sha256": evaluation.model_sha256,
        "data": str(evaluation.data),
        "pictures": evaluation.picture_count,
        "chosen_by": evaluation.chosen_by,
        "map": dict(evaluation.mapping),
        "smoothed": evaluation.is_smoothed,
        "size": evaluation.size,
        "miou": _or_null(evaluation.mean_iou),
        "accuracy": _or_null(evaluation.accuracy),
        "flicker": _or_null(evaluation.flicker),
        "iou": {name: _or_null(value) for name, value in evaluation.iou.items()},
        "not_scored": [
            name
            for name, is_labelled in zip(evaluation.group_names, total.groups.is_labelled, strict=True)
            if not is_labelled
        ],
        "drives": {
            name: {
                "pictures": scores.frame_count,
                "miou": _or_null(scores.mean_iou),
                "accuracy": _or_null(scores.accuracy),
                "flicker": _or_null(scores.flicker),
            }
            for name, scores in evaluation.drives.items()
        },
        "mean_over_drives": {"miou": _or_null(over_drives[0]), "accuracy": _or_null(over_drives[1])},
        "notes": list(evaluation.notes),
    }


def show(evaluation: Evaluation) -> None:
    """On stdout."""
    console = Console()
    smoothed = ", smoothed over time where they follow each other" if evaluation.is_smoothed else ""
    sized = "" if evaluation.size == "default" else f", at size {evaluation.size}"
    _line(console, f"pictures: {evaluation.picture_count} ({evaluation.chosen_by}){smoothed}{sized}")
    console.print(_class_table(evaluation))
    if len(evaluation.drives) > 1:
        console.print(_drive_table(evaluation))
    for note in evaluation.notes:
        _line(console, note)


def _class_table(evaluation: Evaluation) -> Table:
    table = Table("class")
    table.add_column("IoU", justify="right")
    table.add_column("of the pixels", justify="right")
    pixels = evaluation.confusion.sum(axis=1)
    for (name, value), share in zip(evaluation.iou.items(), pixels / max(int(pixels.sum()), 1), strict=True):
        table.add_row(escape(printable(name)), _figure(value), f"{share:.2%}")
    table.add_section()
    table.add_row("mIoU", _figure(evaluation.mean_iou), "")
    table.add_row("accuracy", _figure(evaluation.accuracy), "")
    table.add_row("flicker", _figure(evaluation.flicker), "")
    return table


def _drive_table(evaluation: Evaluation) -> Table:
    table = Table("drive")
    for heading in ("pictures", "mIoU", "accuracy", "flicker"):
        table.add_column(heading, justify="right")
    for name, scores in evaluation.drives.items():
        figures = (scores.mean_iou, scores.accuracy, scores.flicker)
        table.add_row(escape(printable(name)), str(scores.frame_count), *map(_figure, figures))
    table.add_section()
    table.add_row("mean over drives", "", *map(_figure, evaluation.mean_over_drives), "")
    return table


def _line(console: Console, text: str) -> None:
    console.print(printable(text), markup=False, highlight=False, soft_wrap=True)


def _figure(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def _or_null(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)
