"""Write how much of each picture each class covers, as CSV: `index,time,road,sky,...`."""

from __future__ import annotations

import csv
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from .frames import SegmentedFrame
from .partial import PartialOutput, writing
from .spec import ModelSpec


class StatsSink:
    """A `Sink` with a row for each frame: its index, its time in seconds, and each class's share (0 to 1).

    A row is on disk when `write` returns.
    """

    def __init__(self, path: Path, spec: ModelSpec, *, overwrite: bool = False) -> None:
        self._class_names = spec.class_names
        self._output = PartialOutput(path, overwrite=overwrite)
        self._stack = ExitStack()

    def write(self, result: SegmentedFrame) -> None:
        shares = result.shares(len(self._class_names))
        with writing(self._output.final):
            self._rows.writerow(
                [result.frame.index, f"{float(result.frame.time):.6f}", *(f"{share:.6f}" for share in shares)]
            )
            self._file.flush()
        self._output.used = True

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._output)
            with writing(self._output.final):
                self._file = stack.enter_context(self._output.path.open("w", encoding="utf-8", newline=""))
                self._rows = csv.writer(self._file, lineterminator="\n")
                self._rows.writerow(["index", "time", *self._class_names])
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(exc_type, exc, traceback)
