"""`steps.csv`: a row a step, on disk as soon as the step is done."""

from __future__ import annotations

import csv
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Self

from .errors import MAKE_ROOM, TrainingError


@dataclass(frozen=True, slots=True)
class StepRow:
    step: int  # from 1, over the whole run
    epoch: int  # from 1
    loss: float
    lr: float  # of the decoder
    encoder_lr: float  # of its deepest scale; 0 while the encoder is frozen
    gradient_norm: float  # before clipping
    seconds: float  # of this step, its pictures included


_HEADER = [field.name for field in fields(StepRow)]


class StepLog:
    """Appends to the table of a run of which `done` steps are kept.

    Rows after those are of an epoch that was cut short, and is done again: they go. So does a row that a kill cut off.

    Raises:
        TrainingError: the table cannot be written.
    """

    def __init__(self, path: Path, *, done: int) -> None:
        self._path = path
        kept = [row for row in read_steps(path) if row.step <= done]
        temporary = path.with_suffix(".tmp")
        try:
            with temporary.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([_HEADER, *map(astuple, kept)])
            temporary.replace(path)
            self._file = path.open("a", newline="", encoding="utf-8", buffering=1)  # a line at a time
        except OSError as exc:
            raise self._unwritable(exc) from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, row: StepRow) -> None:
        try:
            csv.writer(self._file).writerow(astuple(row))
        except OSError as exc:
            raise self._unwritable(exc) from exc

    def _unwritable(self, exc: OSError) -> TrainingError:
        return TrainingError(f"{self._path}: cannot be written ({exc.strerror}); {MAKE_ROOM}")


def read_steps(path: Path) -> list[StepRow]:
    """The whole rows of the table; none where it does not exist, as in runs of older versions."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = [_parsed(row) for row in csv.reader(file)]
    return [row for row in rows if row is not None]


def _parsed(row: list[str]) -> StepRow | None:
    try:
        step, epoch, *values = row
        return StepRow(int(step), int(epoch), *map(float, values))
    except (ValueError, TypeError):  # the heading, or the line that a kill cut off
        return None
