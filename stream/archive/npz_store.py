"""Read the `.npz` of masks that `npz_sink` writes, finished or not; `npz_layout` tells how it is laid out."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from ..container.zip_journal import content_begin, content_of, read_entries
from ..decode.inside import refuse_larger
from .manifest import CLASSES_NAME, MOST_MANIFEST, MOST_PIXELS, MOST_TEXT, MaskRecord
from .npz_layout import ENDING_ENTRY, HEADER_NAME, MANIFEST_NAME, MASKS_NAME, OFFSETS_NAME, inflated

# Bytes of the arrays that are read at once; a letter takes four.
_MOST = {
    HEADER_NAME: 4 * MOST_TEXT,
    ENDING_ENTRY: 4 * MOST_TEXT,
    MANIFEST_NAME: 4 * MOST_MANIFEST,
    OFFSETS_NAME: MOST_MANIFEST,
}
_MOST_PIECE = MOST_PIXELS + (1 << 24)  # bytes: what cannot be compressed grows a little


def open_npz(path: Path) -> FinishedNpz | NpzJournal:
    """Raises OSError, ValueError or KeyError where it is neither."""
    try:
        return FinishedNpz(path)
    except BadZipFile:
        return NpzJournal(path)


class FinishedNpz:
    """A `Store` of an archive that is whole."""

    is_finished = True

    def __init__(self, path: Path) -> None:
        with ZipFile(path) as directory:
            header_at = directory.getinfo(MASKS_NAME).header_offset
            for info in directory.infolist():
                refuse_larger(info.filename, info.file_size, _MOST.get(info.filename, info.file_size))
        with np.load(path, allow_pickle=False) as content:
            self._header, self._manifest = str(content["header"]), str(content["manifest"])
            self._ending = str(content["run"]) if "run" in content else ""
            self._offsets: list[int] = content["offsets"].astype("<i8", casting="safe").ravel().tolist()
        with ExitStack() as stack:
            self._file = stack.enter_context(path.open("rb"))
            self._begin = content_begin(self._file, header_at)
            stack.pop_all()

    def header(self) -> str:
        return self._header

    def ending(self) -> str:
        return self._ending

    def manifest(self) -> str:
        return self._manifest

    def mask(self, position: int, record: MaskRecord) -> NDArray[np.uint8] | None:
        return inflated(self.piece(position), record.height, record.width)

    def piece(self, position: int) -> bytes:
        """The deflated mask."""
        begin, end = self._offsets[position : position + 2]
        refuse_larger(f"mask {position}", end - begin, _MOST_PIECE)
        self._file.seek(self._begin + begin)
        return self._file.read(end - begin)

    def close(self) -> None:
        self._file.close()


class NpzJournal:
    """A `Store` of one that is still being written, or never was finished."""

    is_finished = False

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        entries = list(read_entries(self._file))
        if not entries or entries[0].name != CLASSES_NAME:
            self._file.close()
            raise ValueError("it holds no masks")
        self._head, self._pieces = entries[0], entries[1:]

    def header(self) -> str:
        refuse_larger(CLASSES_NAME, self._head.end - self._head.begin, MOST_TEXT)
        return content_of(self._file, self._head).decode()

    def ending(self) -> str:
        return ""

    def manifest(self) -> str:
        return "".join(f"{entry.note}\n" for entry in self._pieces)

    def mask(self, position: int, record: MaskRecord) -> NDArray[np.uint8] | None:
        return inflated(self.piece(position), record.height, record.width)

    def piece(self, position: int) -> bytes:
        """The deflated mask."""
        entry = self._pieces[position]
        refuse_larger(entry.name, entry.end - entry.begin, _MOST_PIECE)
        return content_of(self._file, entry)

    def sizes(self) -> list[int]:
        """Of the pieces, bytes."""
        return [entry.end - entry.begin for entry in self._pieces]

    def close(self) -> None:
        self._file.close()
