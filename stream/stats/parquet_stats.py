"""The table of class shares as Parquet: the columns of the CSV, with classes, colours, source and model beside them.

`pyarrow.parquet.read_schema(path).metadata[b"roadmask"]` is JSON:

    {"schema": 1, "classes": [{"name": "road", "color": [128, 64, 128]}, ...], "source": ..., "model": ...}

A Parquet file can be read only once it is whole. So while a run goes on its rows are in `shares.parquet.partial.csv`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..decode.gps import GpsTrack
from ..errors import OutputError, is_failure
from ..frames import Position
from ..spec import ModelSpec, Renamed
from ..system.disk import fitting, partial_path, rows_path, sync_file, writing
from ..system.talk import install_command
from .stats import CARRIED_COLUMN, PLACE_COLUMNS, CsvStatsSink, ShareRows

if TYPE_CHECKING:
    import pyarrow as pa

METADATA_KEY = "roadmask"
_SCHEMA = 1
ROWS_AT_A_TIME = 50_000  # a row group: what is in memory at a time, some 10 MB


def refuse_missing_pyarrow(path: Path) -> None:
    """Raises `OutputError` where it is not installed."""
    try:
        import pyarrow.parquet  # noqa: F401 - the question is whether it can be
    except ImportError as exc:
        raise OutputError(f"{path}: Parquet needs pyarrow: {install_command('parquet')}, or name a .csv") from exc


class ParquetStatsSink(CsvStatsSink):
    """A `Sink` whose file has a row for each frame, as its CSV does, which it is made of at the end.

    `facts` are what else the file is to tell of the run.
    """

    def __init__(
        self,
        path: Path,
        spec: ModelSpec,
        facts: Mapping[str, str | None],
        renamed: Renamed = (),
        *,
        carries: bool = False,
        track: GpsTrack | None = None,
        overwrite: bool = False,
    ) -> None:
        self._journal = partial_path(rows_path(path))
        super().__init__(path, spec, renamed, carries=carries, track=track, overwrite=overwrite, journal=self._journal)
        self._carried = (CARRIED_COLUMN,) if carries else ()
        self._places = PLACE_COLUMNS if track else ()
        classes = [{"name": item.name, "color": list(item.color)} for item in self._map.classes]
        self._metadata = json.dumps({"schema": _SCHEMA, "classes": classes, **facts})

    def resume(self, position: Position) -> Position:
        if self._whole.is_file() and not self._journal.exists():  # a run that ended between this output and another
            self._write_journal_again()
        return super().resume(position)

    def _finish(self, _: type[BaseException] | None, exc: BaseException | None, __: TracebackType | None) -> None:
        """After the last row: make the table of them, unless the run failed and is to be gone on with."""
        if self._output.used and not is_failure(exc):
            with writing(self._output.final):
                self._write_table()
                self._journal.unlink()  # before the table has its name: then nothing unfinished is beside it
            self._output.path = self._whole

    def _write_table(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = self._arrow_schema()
        with pq.ParquetWriter(self._whole, schema, compression="zstd") as writer:
            for rows in _row_groups(self._journal):
                columns = [
                    pa.array(map(_number if pa.types.is_floating(field.type) else int, column), field.type)
                    for field, column in zip(schema, zip(*rows, strict=True), strict=True)
                ]
                writer.write_table(pa.table(columns, schema=schema))
        sync_file(self._whole)

    def _arrow_schema(self) -> pa.Schema:
        import pyarrow as pa

        columns = [
            ("index", pa.int64()),
            *((name, pa.float64()) for name in ("time", *(item.name for item in self._map.classes))),
            *((name, pa.int8()) for name in self._carried),
            *((name, pa.float64()) for name in self._places),
        ]
        schema = pa.schema(columns)
        return schema.with_metadata({METADATA_KEY: self._metadata})

    def _write_journal_again(self) -> None:
        """The rows of a table, as they were: six decimals survive in 64 bits."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        unnamed = self._journal.with_name(fitting(f"{self._journal.name}.tmp"))  # until all are there
        try:
            with pq.ParquetFile(self._whole) as table, ShareRows(unnamed, table.schema_arrow.names[2:]) as rows:
                for batch in table.iter_batches(ROWS_AT_A_TIME):
                    for index, *numbers in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                        rows.add_row(index, numbers)
            unnamed.replace(self._journal)
        except (OSError, ValueError, pa.ArrowException) as exc:
            unnamed.unlink(missing_ok=True)
            raise OutputError(f"{self._whole}: cannot be read ({exc}); pass --overwrite to start anew") from exc


def parquet_of(columns: Mapping[str, Sequence[Any]]) -> bytes:
    """A table of these columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = io.BytesIO()
    pq.write_table(pa.table({name: list(column) for name, column in columns.items()}), content, compression="zstd")
    return content.getvalue()


def _number(cell: str) -> float | None:
    return float(cell) if cell else None


def _row_groups(path: Path) -> Iterator[list[list[str]]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        while group := list(islice(rows, ROWS_AT_A_TIME)):
            yield group
