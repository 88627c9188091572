"""Write how much of each picture each class covers, as a table: which kind of file a path means."""

from __future__ import annotations

from pathlib import Path

from ..errors import OutputError
from ..frames import FileSink
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
) -> FileSink:
    """The sink for the kind of table that the path's suffix means.

    Args:
        path: .csv or .parquet.
        spec: of the model; its classes are the columns.
        source: the video's name, without its folder. Parquet tells it, and the two below.
        model: the model file's name.
        model_sha256: its digest.
        overwrite: replace what is there.

    Raises:
        OutputError: as `refuse_bad_stats`, or the path is taken.
    """
    refuse_bad_stats(path)
    if path.suffix.lower() == ".parquet":
        from .parquet_stats import ParquetStatsSink

        facts = {"source": source, "model": model, "model_sha256": model_sha256}
        return ParquetStatsSink(path, spec, facts, overwrite=overwrite)
    return CsvStatsSink(path, spec, overwrite=overwrite)
