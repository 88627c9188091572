"""The `Sink` for masks: which kind of archive a path means, and what is the same for every kind.

What differs is in a `MaskWriter` each. Masks that another machine has made come in a piece: encoded as the archive will
hold them, each an entry of a zip without a directory with its record as the note, see `zip_journal`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import ArchiveError, OutputError
from ..frames import Ending, Piece, Position, SegmentedFrame, Sink
from ..system.disk import PartialOutput, closing, writing
from .archive import open_masks
from .manifest import (
    CLASSES_NAME,
    ArchiveHeader,
    MaskFormat,
    MaskRecord,
    mask_format,
    parse_record,
    record_line,
    record_of,
)
from .png import FOLDER_NAMES, FolderWriter, ZipWriter, png
from .video import VideoWriter, encoded, mask_encoder
from .zip_journal import ZipJournal, content_of, read_entries

PIECE_SUFFIX = ".masks"


def archive_sink(path: Path, header: ArchiveHeader, *, overwrite: bool = False) -> MaskSink:
    """The sink for the kind of archive that the path's suffix means: a folder, .zip or .mkv.

    Raises:
        OutputError: the suffix means no archive, or one that only `convert` makes, or the path is taken.
    """
    match written_kind(path):
        case "folder":
            return MaskSink(path, header, FolderWriter, marker=CLASSES_NAME, ours=FOLDER_NAMES, overwrite=overwrite)
        case "zip":
            return MaskSink(path, header, ZipWriter, overwrite=overwrite)
        case _:
            return MaskSink(path, header, VideoWriter, one_size=True, overwrite=overwrite)


def written_kind(path: Path) -> MaskFormat:
    """The kind that a path's suffix means to a run, which does not write all of them. Raises `OutputError`."""
    kind = mask_format(path)
    if kind in ("npz", "zarr"):
        saved = path.with_suffix(".zip")
        raise OutputError(
            f"{path}: is made of saved masks; name {saved}, and then roadmask convert {saved} -o {path}", usage=True
        )
    return kind


class MaskWriter(Protocol):
    """Writes one kind of archive, masks of one size where the kind can have no others. What fails raises OSError.

    What it has been given can be read by `open_masks` at any time, after a crash too, but for the last mask or two.
    """

    def add(self, record: MaskRecord, mask: NDArray[np.uint8]) -> None:
        """A mask; the record's `file` is the writer's to choose."""

    def add_encoded(self, record: MaskRecord, content: bytes) -> None:
        """As `add`, of a mask that `MaskPieceSink` has encoded for this kind."""

    def sync(self) -> None:
        """What was added is on disk when this returns."""

    def finish(self, ending: Ending | None) -> None:
        """Make it whole, with how the run ended where that is known, and close it."""

    def close(self) -> None:
        """As it is, where something went wrong; also after `finish`."""


_ANEW = "pass --overwrite without --resume to start anew"

# What makes a writer: at a path; of an archive with this header; that goes on behind the first masks of what is at the
# path, so many, or begins anew where that is 0. An archive without masks need not be there.
Open = Callable[[Path, ArchiveHeader, int], MaskWriter]


class MaskSink(Sink):
    """A `Sink` of masks.

    Args:
        path: of the archive.
        header: what it tells of all masks.
        make: the writer.
        marker: where the archive is a folder, a file in it that only such folders have.
        ours: which names it has, as `PartialOutput` takes it.
        one_size: masks of another size than the first are refused.
        overwrite: replace what is there.
    """

    def __init__(
        self,
        path: Path,
        header: ArchiveHeader,
        make: Open,
        *,
        marker: str | None = None,
        ours: str = ".*",
        one_size: bool = False,
        overwrite: bool = False,
    ) -> None:
        self._path = path
        self._header = header
        self._make = make
        self._output = PartialOutput(path, overwrite=overwrite, marker=marker, ours=ours)
        self._one_size = one_size
        self._first: MaskRecord | None = None
        self._kept = 0
        self._writer: MaskWriter | None = None
        self._ending: Ending | None = None
        self._stack = ExitStack()

    def resume(self, position: Position) -> Position:
        self._output.is_ours = True
        if position:
            self._first = _first_of(self._output.path, self._header, position)
            self._output.keep_partial = True
            self._kept = position
        return position

    def write(self, result: SegmentedFrame) -> None:
        self.add(record_of(result), result.mask)

    def add(self, record: MaskRecord, mask: NDArray[np.uint8]) -> None:
        """As `write`, for what is not a run's: `record` tells all of the mask but its file."""
        assert self._writer is not None
        self._follow(record)
        with writing(self._path):
            self._writer.add(record, mask)
        self._output.used = True

    def append(self, piece: Piece) -> None:
        assert self._writer is not None
        for record, content in read_piece(piece.file(PIECE_SUFFIX)):
            self._follow(record)
            with writing(self._path):
                self._writer.add_encoded(record, content)
            self._output.used = True

    def _follow(self, record: MaskRecord) -> None:
        self._first = self._first or record
        if self._one_size:
            refuse_other_size(self._path, record, self._first)

    def sync(self) -> None:
        assert self._writer is not None
        with writing(self._path):
            self._writer.sync()

    def tell(self, ending: Ending) -> None:
        self._ending = ending

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._output)
            with writing(self._path):
                try:
                    self._writer = writer = self._make(self._output.path, self._header, self._kept)
                except ValueError as exc:
                    raise OutputError(f"{self._output.path}: cannot be gone on with ({exc}); {_ANEW}") from exc
            stack.callback(writer.close)
            stack.push(closing(self._path, lambda: writer.finish(self._ending)))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        self._stack.__exit__(kind, exc, at)


def refuse_other_size(path: Path, record: MaskRecord, first: MaskRecord) -> None:
    """Raises `OutputError` where a mask is not of the first one's size."""
    if (record.height, record.width) != (first.height, first.width):
        raise OutputError(
            f"{path}: the picture size changes at frame {record.index}, "
            f"which a {path.suffix} of masks cannot follow; use a folder or a .zip"
        )


def _first_of(path: Path, header: ArchiveHeader, frames: int) -> MaskRecord:
    """The first record of an archive that can be gone on with."""
    if not path.exists():
        raise OutputError(f"{path}: is not there any more, so the run cannot go on; {_ANEW}")
    try:
        with open_masks(path) as masks:
            records, differs = masks.records, masks.header != header
    except ArchiveError as exc:
        raise OutputError(f"{exc}; {_ANEW}") from exc
    if differs:
        raise OutputError(f"{path}: holds masks of another source or model; {_ANEW}")
    if len(records) < frames:
        raise OutputError(f"{path}: holds {len(records)} whole masks, not the {frames} that were written; {_ANEW}")
    return records[0]


class MaskPieceSink(Sink):
    """A `Sink` for masks of one size that `MaskSink.append` is to take; `kind` is that of its archive."""

    def __init__(self, path: Path, kind: MaskFormat) -> None:
        self._path = path
        self._kind = kind
        self._encoded: Callable[[NDArray[np.uint8]], bytes] | None = None

    def write(self, result: SegmentedFrame) -> None:
        if self._encoded is None:
            self._encoded = png if self._kind != "ffv1" else partial(encoded, encoder=mask_encoder(result.mask.shape))
        record = record_of(result)
        with writing(self._path):
            self._journal.add(str(record.index), self._encoded(result.mask), record_line(record))

    def __enter__(self) -> Self:
        with writing(self._path):
            self._journal = ZipJournal(self._path)
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.close()


def read_piece(path: Path) -> Iterator[tuple[MaskRecord, bytes]]:
    """The masks in it, encoded, with their records.

    Raises:
        OutputError: it cannot be read, or one is damaged.
    """
    try:
        with path.open("rb") as file:
            for entry in read_entries(file):
                content = content_of(file, entry)
                if zlib.crc32(content) != entry.crc32:
                    raise OutputError(f"{path}: the mask of frame {entry.name} is damaged")
                yield parse_record(entry.note), content
                file.seek(entry.end)
    except (OSError, ValueError, KeyError) as exc:
        raise OutputError(f"{path}: cannot be read ({exc})") from exc
