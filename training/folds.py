"""Cross-validation over drives: a run for each, with it held out, and what they score on average."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from .checkpoint import Checkpoint, load
from .classmap import split_map
from .command import train_command
from .console import print_line, printable
from .dataset import class_shares, open_dataset
from .errors import DataError, TrainingError
from .history import Row, write_history
from .metrics import mean_of
from .mixture import open_mixture
from .run_folder import LAST, load_previous
from .session import interruption, is_whole, print_stopped, train_watched
from .settings import TrainSettings, check

FOLDS = "folds.csv"
_MEAN = "mean"


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """A drive, and the run that does not see it."""

    drive: str
    pictures: int
    class_names: tuple[str, ...]
    present: NDArray[np.bool_]  # which of them the drive shows
    run: Path
    settings: TrainSettings


def train_in_folds(settings: TrainSettings, output: Path, *, resume: bool, stop_at: float | None) -> None:
    """Train what is not trained yet, one fold after the other, and write `folds.csv` when all are.

    Raises:
        TrainingError: as in `train`, but all that can be found out beforehand is, before the first fold.
    """
    check(settings)
    folds = plan(settings, output)
    previous = [load_previous(fold.run, fold.settings, resume=resume) for fold in folds]
    whole = [checkpoint is not None and is_whole(checkpoint) for checkpoint in previous]
    del previous  # each of them is a model and its optimiser
    command = f"{train_command(settings, output)} --folds drives --resume"
    for number, fold in enumerate(folds, start=1):
        label = f"fold {number} of {len(folds)}, drive {fold.drive}"
        if whole[number - 1]:
            print_line(f"{label}: trained already, in {fold.run}")
            continue
        print_line(label)
        with interruption(command):
            last, _ = train_watched(fold.settings, fold.run, resume=resume, stop_at=stop_at, label=label)
        if not is_whole(last):
            return print_stopped(last, command)
    rows = [fold_row(fold, load(fold.run / LAST)) for fold in folds]
    write_history([*rows, mean_row(rows)], output / FOLDS)
    _print_rows([*rows, mean_row(rows)], folds[0].class_names)
    print_line(f"wrote {output / FOLDS}")
    return None


def plan(settings: TrainSettings, output: Path) -> list[Fold]:
    """A fold for each drive of the first data set; pictures that a list names for validation are as good as others.

    Raises:
        DataError: there is one drive only, or one whose labels are all void or unusable.
        TrainingError: the settings choose the validation pictures themselves.
    """
    if settings.valid_drives or settings.valid_list or settings.split:
        raise TrainingError(
            "--folds holds out every drive in turn: leave out --valid-drive, --valid-list and --split", usage=True
        )
    dataset = open_dataset(split_map(settings.data[0])[0])
    drives = {example.drive for example in dataset.examples if example.folder != "test"}
    if len(drives) < 2:
        raise DataError(f"{dataset.root}: only one drive ({', '.join(drives)}); folds need two")
    return [_fold(replace(settings, valid_drives=(drive,)), output, drive) for drive in sorted(drives)]


def fold_row(fold: Fold, last: Checkpoint) -> Row:
    """The scores of the run's last epoch.

    A class that the drive does not show is nan, also where some pixels were taken for it: `iou` in the run's own
    history is then 0, which says nothing about the class.
    """
    ious = [last.scores[f"iou_{name}"] for name in last.class_names]
    shown = [float(value) if here else float("nan") for value, here in zip(ious, fold.present, strict=True)]
    row: Row = {"drive": fold.drive, "pictures": fold.pictures, "miou": round(mean_of(np.array(shown)), 5)}
    named = zip(last.class_names, shown, strict=True)
    return {**row, "accuracy": last.scores["accuracy"], **{f"iou_{name}": value for name, value in named}}


def mean_row(rows: Sequence[Row]) -> Row:
    """Of each column over the folds that have a value in it; every fold counts the same, however long its drive."""
    totals: Row = {"drive": _MEAN, "pictures": sum(row["pictures"] for row in rows)}
    scores = [name for name in rows[0] if name not in totals]
    return totals | {name: round(mean_of(np.array([row[name] for row in rows])), 5) for name in scores}


def _fold(settings: TrainSettings, output: Path, drive: str) -> Fold:
    mixture = open_mixture(settings)
    first, names = mixture.parts[0], mixture.labels.class_names
    try:
        present = class_shares(first.dataset, first.split.valid) > 0
    except DataError as exc:
        raise DataError(f"drive {drive!r} cannot be held out: {exc}") from exc
    return Fold(drive, len(first.split.valid), names, present, output / f"fold-{drive}", settings)


def _print_rows(rows: Sequence[Row], class_names: Sequence[str]) -> None:
    """A column a drive: there are more classes than drives."""
    print_line("IoU on the drive that each run did not see, after its last epoch")
    table = Table("class", box=None, pad_edge=False)
    for row in rows:
        table.add_column(printable(row["drive"]), justify="right", no_wrap=True)
    for name, label in [*((f"iou_{name}", name) for name in class_names), ("miou", "mIoU"), ("accuracy", "accuracy")]:
        table.add_row(label, *("-" if np.isnan(row[name]) else f"{row[name]:.4f}" for row in rows))
    console = Console()
    # As wide as it must be, so that a table in a pipe is not cut to the width of a terminal.
    console.print(table, soft_wrap=True, width=max(console.width, 24 + 12 * len(rows)), markup=False, highlight=False)
