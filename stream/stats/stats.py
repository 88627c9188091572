"""The share of each class in each frame as a table: which kind of file a path means, and how it is read back."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import OutputError, RoadmaskError
from ..frames import Sink
from ..spec import ModelSpec
from .csv_stats import CsvStatsSink

SUFFIXES = (".csv", ".parquet")


def refuse_bad_stats(path: Path) -> None:
    """To be asked before a run begins, and before its model is loaded.

    Raises:
        OutputError: the suffix means no table, or what writes such a table is not installed.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise OutputError(f"{path}: statistics are {' or '.join(SUFFIXES)}; give it one of these suffixes")
    if path.suffix.lower() == ".parquet":
        from .parquet_stats import refuse_missing_pyarrow

        refuse_missing_pyarrow(path)


def open_stats_sink(
    path: Path,
    spec: ModelSpec,
    *,
    source: str | None = None,
    model: str | None = None,
    model_sha256: str | None = None,
    overwrite: bool = False,
) -> Sink:
    """The sink for the kind of table that the path's suffix means; Parquet also tells source, model and its digest.

    Raises:
        OutputError: as `refuse_bad_stats`, or the path is taken.
    """
    refuse_bad_stats(path)
    if path.suffix.lower() == ".parquet":
        from .parquet_stats import ParquetStatsSink

        facts = {"source": source, "model": model, "model_sha256": model_sha256}
        return ParquetStatsSink(path, spec, facts, overwrite=overwrite)
    return CsvStatsSink(path, spec, overwrite=overwrite)


@dataclass(frozen=True, slots=True, eq=False)
class ShareTable:
    """`n` rows, in the order of the file."""

    name: str  # of the file
    indices: NDArray[np.int64]  # (n) of the frames
    shares: NDArray[np.float64]  # (n, classes)


def read_shares(path: Path, class_names: Sequence[str]) -> ShareTable:
    """The rows of a file whose columns are those classes.

    Raises:
        RoadmaskError: it is not there, no such table, or of other classes.
    """
    refuse_bad_stats(path)
    try:
        names, columns = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
    except (OSError, ValueError) as exc:  # pyarrow's own are ValueErrors
        raise RoadmaskError(f"{path}: statistics that cannot be read ({exc})") from exc
    if names != ["index", "time", *class_names]:
        raise RoadmaskError(f"{path}: its columns are {', '.join(names)}; these masks have {', '.join(class_names)}")
    return ShareTable(path.name, columns[0].astype(np.int64), np.stack(columns[2:], axis=1))


def _csv(path: Path) -> tuple[list[str], list[NDArray[np.float64]]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        names = next(rows, [])
        table = np.array([row for row in rows if len(row) == len(names)], np.float64)  # a crash cuts a row off
    return names, list(table.reshape(-1, max(len(names), 1)).T)


def _parquet(path: Path) -> tuple[list[str], list[NDArray[np.float64]]]:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    return table.column_names, [np.asarray(column, np.float64) for column in table.columns]
