"""The table of class shares as CSV: `index,time,road,sky,...`; `.parquet` is next door."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from ..frames import SegmentedFrame
from ..spec import ModelSpec
from ..system.disk import PartialOutput, writing
from .share_rows import ShareRows


class CsvStatsSink:
    """A `FileSink` with a row for each frame: its index, its time in seconds, and each class's share (0 to 1).

    A row is on disk when `write` returns.

    Args:
        path: of the table.
        spec: of the model; its classes are the columns.
        overwrite: replace what is there.
        journal: where the rows are until `_finish` makes the table of them; without, they are the table.
    """

    def __init__(self, path: Path, spec: ModelSpec, *, overwrite: bool = False, journal: Path | None = None) -> None:
        self._output = PartialOutput(path, overwrite=overwrite)
        self._whole = self._output.path  # the table's name until it has its final one
        if journal is not None:
            self._output.path = journal
        self._rows = ShareRows(self._output.path, spec.class_names)
        self._stack = ExitStack()

    def resume(self, frames: int) -> None:
        self._output.keep_partial = True
        self._rows.keep(frames)

    def write(self, result: SegmentedFrame) -> None:
        with writing(self._output.final):
            self._rows.add(result)
        self._output.used = True

    def append(self, piece: Path) -> None:
        with writing(self._output.final):
            self._rows.add_file(piece)
        self._output.used = True

    def sync(self) -> None:
        with writing(self._output.final):
            self._rows.sync()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._output)
            stack.push(self._finish)
            with writing(self._output.final):
                stack.enter_context(self._rows)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(exc_type, exc, traceback)

    def _finish(self, _: type[BaseException] | None, exc: BaseException | None, __: TracebackType | None) -> None:
        """After the last row."""
