"""The share of each class in each frame as a table: `index,time,road,sky,...`, a row for each frame; and read back.

Where masks are carried along, `carried` follows, 1 for a frame that the network has not seen; where the video tells
where it was, `latitude,longitude,speed_kmh` are the last, empty where that is not known. Of pictures there is one
table, a row for each: `picture,taken,latitude,longitude,road,sky,...`. CSV is here, `.parquet` next door.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from ..decode.gps import GpsTrack
from ..errors import OutputError, RoadmaskError
from ..frames import Piece, Position, SegmentedFrame, Sink
from ..spec import ModelSpec, Renamed, map_classes
from ..system.disk import AppendedFile, PartialOutput, replace_file, writing
from ..system.talk import cell_text

SUFFIXES = (".csv", ".parquet")
PIECE_SUFFIX = ".csv"  # of a table of either kind
CARRIED_COLUMN = "carried"  # behind those of the classes
PLACE_COLUMNS = ("latitude", "longitude", "speed_kmh")  # degrees; the last
_MOST = 2.0**53  # of an index
_OF_PICTURES = ("picture", "taken", "latitude", "longitude")


def refuse_bad_stats(path: Path) -> None:
    """To be asked before a run begins, and before its model is loaded.

    Raises:
        OutputError: the suffix means no table, or what writes such a table is not installed.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise OutputError(f"{path}: statistics are {' or '.join(SUFFIXES)}; give it one of these suffixes", usage=True)
    if path.suffix.lower() == ".parquet":
        from .parquet_stats import refuse_missing_pyarrow

        refuse_missing_pyarrow(path)


def open_stats_sink(
    path: Path,
    spec: ModelSpec,
    renamed: Renamed = (),
    *,
    source: str | None = None,
    model: str | None = None,
    model_sha256: str | None = None,
    carries: bool = False,
    track: GpsTrack | None = None,
    overwrite: bool = False,
) -> Sink:
    """The sink for the kind of table that the path's suffix means; Parquet also tells source, model and its digest.

    A row tells whether its mask was carried along, where some are; with a `track` where the frame was, too.

    Raises:
        OutputError: as `refuse_bad_stats`, or the path is taken.
    """
    refuse_bad_stats(path)
    if path.suffix.lower() == ".parquet":
        from .parquet_stats import ParquetStatsSink

        facts = {"source": source, "model": model, "model_sha256": model_sha256}
        return ParquetStatsSink(path, spec, facts, renamed, carries=carries, track=track, overwrite=overwrite)
    return CsvStatsSink(path, spec, renamed, carries=carries, track=track, overwrite=overwrite)


class CsvStatsSink(Sink):
    """A `Sink` with a row for each frame: its index, its time in seconds, and each class's share (0 to 1).

    Classes are called, and merged, as `renamed` says; `carries` and `track` add columns, see `open_stats_sink`.
    A row is on disk when `write` returns: in the `journal`, where
    there is one, until `_finish` makes the table of it.
    """

    def __init__(
        self,
        path: Path,
        spec: ModelSpec,
        renamed: Renamed = (),
        *,
        carries: bool = False,
        track: GpsTrack | None = None,
        overwrite: bool = False,
        journal: Path | None = None,
    ) -> None:
        self._output = PartialOutput(path, overwrite=overwrite)
        self._whole = self._output.path  # the table's name until it has its final one
        if journal is not None:
            self._output.path = journal
        self._map = map_classes(spec.classes, renamed)
        names = [item.name for item in self._map.classes]
        self._rows = ShareRows(self._output.path, names, self._map.ids, track, carries=carries)
        self._stack = ExitStack()

    def resume(self, position: Position) -> Position:
        self._output.keep_partial = True
        self._rows.keep(position)
        return position

    def write(self, result: SegmentedFrame) -> None:
        with writing(self._output.final):
            self._rows.add(result)
        self._output.used = True

    def append(self, piece: Piece) -> None:
        with writing(self._output.final):
            self._rows.add_file(piece.file(PIECE_SUFFIX))
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

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        self._stack.__exit__(kind, exc, at)

    def _finish(self, _: type[BaseException] | None, exc: BaseException | None, __: TracebackType | None) -> None:
        """After the last row."""


class ShareRows:
    """The file of such a table, as a context manager: written anew on entering, or gone on with after `keep`.

    `ids` are those of a mask's classes among the names.
    """

    def __init__(
        self,
        path: Path,
        class_names: Sequence[str],
        ids: Sequence[int] = (),
        track: GpsTrack | None = None,
        *,
        carries: bool = False,
    ) -> None:
        self._path = path
        self._class_count = len(class_names)
        self._ids = ids
        self._track, self._carries = track, carries
        more = ((CARRIED_COLUMN,) if carries else ()) + (PLACE_COLUMNS if track else ())
        self._head = _line(["index", "time", *map(cell_text, class_names), *more])
        self._kept = 0  # bytes

    def keep(self, rows: int) -> None:
        """To be called before entering: the file that is there goes on behind its first `rows` rows.

        Raises:
            OutputError: it is not there, has other columns, or fewer whole rows.
        """
        try:
            with self._path.open("rb") as file:
                self._kept = self._end_of(rows, file)
        except FileNotFoundError as exc:
            raise OutputError(f"{self._path}: is not there any more; pass --overwrite to start anew") from exc
        except OSError as exc:
            raise OutputError(f"{self._path}: cannot be read ({exc.strerror or exc})") from exc

    def _end_of(self, rows: int, file: BinaryIO) -> int:
        # No name holds a line break, so a row is a line; a last one without its end is one that a crash cut off.
        if file.readline() != self._head:
            raise OutputError(f"{self._path}: has other columns than this run's; pass --overwrite to start anew")
        for row in range(rows):
            if not file.readline().endswith(b"\n"):
                raise OutputError(
                    f"{self._path}: holds {row} whole rows, not the {rows} that were written; "
                    "pass --overwrite to start anew"
                )
        return file.tell()

    def add(self, result: SegmentedFrame) -> None:
        shares = np.bincount(self._ids, result.shares(len(self._ids)), self._class_count)
        numbers: list[float | None] = [float(result.frame.time), *shares.tolist()]
        if self._carries:
            numbers.append(int(result.frame.carried))
        if self._track:
            numbers += self._track.at(float(result.frame.time)) or [None] * len(PLACE_COLUMNS)
        self.add_row(result.frame.index, numbers)

    def add_row(self, index: int, numbers: Iterable[float | None]) -> None:
        """Those that are not known, which are `None` or nan, are empty."""
        self._file.append(_line([index, *map(_number_text, numbers)]))

    def add_file(self, path: Path) -> None:
        """The rows of another such file. Raises `OutputError` where it is none, or its last row is torn."""
        try:
            content = path.read_bytes()
        except OSError as exc:
            raise OutputError(f"{path}: cannot be read ({exc.strerror or exc})") from exc
        if not content.startswith(self._head) or not content.endswith(b"\n"):
            raise OutputError(f"{path}: is damaged; pass --overwrite to start anew")
        self._file.append(content[len(self._head) :])

    def sync(self) -> None:
        self._file.sync()

    def __enter__(self) -> Self:
        self._file = AppendedFile(self._path, keep=self._kept, head=self._head)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _number_text(number: float | None) -> str:
    if number is None or math.isnan(number):
        return ""
    return str(number) if isinstance(number, int) else f"{number:.6f}"


def _line(row: Sequence[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue().encode()


@dataclass(frozen=True, slots=True)
class PictureRow:
    """What the table of a call's pictures tells of one, besides its name."""

    shares: Sequence[float]  # of the model's classes
    taken: str = ""  # 2026-11-28T10:00:00, on the camera's clock
    place: Sequence[float] | None = None  # latitude, longitude, degrees


def refuse_other_table(path: Path, *, overwrite: bool, goes_on: bool) -> None:
    """To be asked before a run begins.

    Args:
        path: of a table of pictures.
        overwrite: whatever is there may be replaced.
        goes_on: such a table may be: what it tells is known from elsewhere.

    Raises:
        OutputError: as `refuse_bad_stats`, or something is there that may not be replaced.
    """
    refuse_bad_stats(path)
    if overwrite or not path.exists():
        return
    try:
        with path.open("rb") as file:
            is_ours = file.read(len(_OF_PICTURES[0])) in (_OF_PICTURES[0].encode(), b"PAR1"[: len(_OF_PICTURES[0])])
    except OSError as exc:
        raise OutputError(f"{path}: cannot be read ({exc.strerror or exc})") from exc
    if not (goes_on and is_ours):
        raise OutputError(f"{path}: exists; pass --overwrite to replace it")


def write_picture_table(
    path: Path, rows: Sequence[tuple[str, PictureRow]], spec: ModelSpec, renamed: Renamed = ()
) -> None:
    """A row for each name and what is told of it; the file has its name when it is whole. Raises `OutputError`."""
    mapped = map_classes(spec.classes, renamed)
    names = (*_OF_PICTURES, *(cell_text(item.name) for item in mapped.classes))
    table = [
        [name, row.taken, *(row.place or (None, None)), *np.bincount(mapped.ids, row.shares).tolist()]
        for name, row in rows
    ]
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() == ".parquet":
            from .parquet_stats import parquet_of

            replace_file(path, parquet_of(dict(zip(names, zip(*table, strict=True), strict=True))))
            return
        lines = [_line(names), *(_line([cell_text(row[0]), *map(_cell, row[1:])]) for row in table)]
        replace_file(path, b"".join(lines))


def _cell(value: Any) -> str:
    return f"{value:.6f}" if isinstance(value, float) else str(value or "")


@dataclass(frozen=True, slots=True, eq=False)
class ShareTable:
    """`n` rows, in the order of the file."""

    name: str  # of the file
    indices: NDArray[np.int64]  # (n) of the frames
    shares: NDArray[np.float64]  # (n, classes)
    places: NDArray[np.float64] | None  # (n, 3) of `PLACE_COLUMNS`, nan where not known; None where it has none


def read_shares(path: Path, class_names: Sequence[str]) -> ShareTable:
    """The rows of a file whose columns are those classes.

    Raises:
        RoadmaskError: it is not there, no such table, or of other classes.
    """
    names, columns = read_columns(path)
    places = None
    if len(names) > len(class_names) + 2 and tuple(names[-len(PLACE_COLUMNS) :]) == PLACE_COLUMNS:
        places = np.stack(columns[-len(PLACE_COLUMNS) :], axis=1)
        names, columns = names[: -len(PLACE_COLUMNS)], columns[: -len(PLACE_COLUMNS)]
    if len(names) > len(class_names) + 2 and names[-1] == CARRIED_COLUMN:
        names, columns = names[:-1], columns[:-1]
    if [*map(cell_text, names)] != ["index", "time", *map(cell_text, class_names)]:
        raise RoadmaskError(
            f"{path}: its columns are {', '.join(names)}; these masks have {', '.join(class_names)}; "
            "name those of this run"
        )
    if not all((np.abs(column) < _MOST).all() for column in columns):  # nor is it where it is no number
        raise RoadmaskError(
            f"{path}: statistics that cannot be read (not all are numbers); name a table of 'roadmask run'"
        )
    shares = np.stack(columns[2:], axis=1)
    return ShareTable(path.name, columns[0].astype(np.int64), shares, places)


def read_columns(path: Path) -> tuple[list[str], list[NDArray[np.float64]]]:
    """The names of a table's columns, and its columns. Of pictures, whose names are no numbers, the first two are 0.

    Raises:
        RoadmaskError: it is not there, or no such table.
    """
    refuse_bad_stats(path)
    if not path.is_file():
        raise RoadmaskError(f"{path}: statistics that cannot be read (no such file); name a table of 'roadmask run'")
    try:
        names, columns = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
    except (OSError, ValueError, csv.Error) as exc:  # pyarrow's own are ValueErrors
        raise RoadmaskError(f"{path}: statistics that cannot be read ({exc}); name a table of 'roadmask run'") from exc
    if names[:2] not in (["index", "time"], ["picture", "taken"]):
        raise RoadmaskError(f"{path}: its columns are {', '.join(names)}, and not those of 'roadmask run --stats'")
    return names, columns


def _csv(path: Path) -> tuple[list[str], list[NDArray[np.float64]]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        names = next(rows, [])
        whole = [[cell or "nan" for cell in row] for row in rows if len(row) == len(names)]  # a crash cuts a row off
        if names[: len(_OF_PICTURES)] == [*_OF_PICTURES]:
            names = [*names[:2], *names[len(_OF_PICTURES) :]]
            whole = [["0", "0", *row[len(_OF_PICTURES) :]] for row in whole]
        table = np.array(whole, np.float64)
    return names, list(table.reshape(-1, max(len(names), 1)).T)


def _parquet(path: Path) -> tuple[list[str], list[NDArray[np.float64]]]:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    if table.column_names[: len(_OF_PICTURES)] == [*_OF_PICTURES]:
        zeros, shares = np.zeros(len(table)), table.drop_columns([*_OF_PICTURES])
        columns = [zeros, zeros, *(np.asarray(column, np.float64) for column in shares.columns)]
        return [*_OF_PICTURES[:2], *shares.column_names], columns
    return table.column_names, [np.asarray(column, np.float64) for column in table.columns]
