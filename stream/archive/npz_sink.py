"""Write masks as a `.npz`; `npz_layout` tells how it is laid out."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray

from ..container.crc32_joined import joined, shift_by
from ..container.zip_journal import DATE, ZipJournal
from ..system.disk import sync_file
from .manifest import (
    CLASSES_NAME,
    ArchiveHeader,
    Ending,
    MaskRecord,
    ending_text,
    header_text,
    parse_records,
    record_line,
)
from .npz_layout import (
    ENDING_ENTRY,
    HEADER_NAME,
    MANIFEST_NAME,
    MASKS_NAME,
    OFFSETS_NAME,
    PIECE_NAME,
    STREAM_END,
    deflated,
    stored,
)
from .npz_store import FinishedNpz, NpzJournal, open_npz


class NpzWriter:
    """A `MaskWriter`. Pixels are compressed once, and copied when it is finished."""

    def __init__(self, path: Path, header: ArchiveHeader, keep: int) -> None:
        self._path = path
        if keep:
            with closing(open_npz(path)) as kept:
                if isinstance(kept, FinishedNpz):
                    _make_journal(path, kept, keep)
        self._journal = ZipJournal(path, keep=keep and keep + 1)
        if not keep:
            self._journal.add(CLASSES_NAME, header_text(header).encode())

    def add(self, record: MaskRecord, mask: NDArray[np.uint8]) -> None:
        self.add_encoded(record, deflated(mask))

    def add_encoded(self, record: MaskRecord, content: bytes) -> None:
        self._journal.add(PIECE_NAME, content, record_line(record))

    def sync(self) -> None:
        self._journal.sync()

    def finish(self, ending: Ending | None) -> None:
        """Put the arrays together, beside the journal, and replace it."""
        self._journal.close()
        unnamed = _unnamed(self._path)
        try:
            with closing(NpzJournal(self._path)) as journal, unnamed.open("wb") as file:
                records = parse_records(journal.manifest(), str(self._path))
                if not records:
                    return
                _write_arrays(file, records, journal, ending)
            sync_file(unnamed)
            unnamed.replace(self._path)
        finally:
            unnamed.unlink(missing_ok=True)

    def close(self) -> None:
        self._journal.close()


def _unnamed(path: Path) -> Path:
    return path.with_name(f"{path.name}.tmp")


def _make_journal(path: Path, finished: FinishedNpz, keep: int) -> None:
    """What Ctrl-C ended well is a journal again."""
    journal = ZipJournal(_unnamed(path))
    with closing(journal):
        journal.add(CLASSES_NAME, finished.header().encode())
        for position, line in enumerate(finished.manifest().splitlines()[:keep]):
            journal.add(PIECE_NAME, finished.piece(position), line)
        journal.sync()
    _unnamed(path).replace(path)


def _write_arrays(file: BinaryIO, records: Sequence[MaskRecord], journal: NpzJournal, ending: Ending | None) -> None:
    head = _npy_head((len(records), records[0].height, records[0].width))
    first = stored(head)
    offsets = np.cumsum([len(first), *journal.sizes()])
    masks = ZipInfo(MASKS_NAME, DATE)
    masks.compress_type = ZIP_DEFLATED
    masks.CRC = _crc32(head, records)
    masks.file_size = len(head) + sum(record.height * record.width for record in records)
    masks.compress_size = int(offsets[-1]) + len(STREAM_END)
    masks.header_offset = 0
    file.write(masks.FileHeader())
    file.write(first)
    file.writelines(journal.piece(position) for position in range(len(records)))
    file.write(STREAM_END)
    with ZipFile(file, "w") as rest:  # begins where the file stands, and leaves what is before
        rest.filelist.append(masks)
        for name, array in _small_arrays(records, journal, offsets):
            rest.writestr(_info(name), _npy(array))
        if ending:
            rest.writestr(_info(ENDING_ENTRY), _npy(np.array(ending_text(ending))))


def _small_arrays(
    records: Sequence[MaskRecord], journal: NpzJournal, offsets: NDArray[Any]
) -> list[tuple[str, NDArray[Any]]]:
    return [
        ("index.npy", np.array([record.index for record in records], "<i8")),
        ("pts.npy", np.array([record.pts for record in records], "<i8")),
        ("time.npy", np.array([float(record.time) for record in records], "<f8")),
        ("crc32.npy", np.array([int(record.crc32, 16) for record in records], "<u4")),
        (OFFSETS_NAME, offsets.astype("<i8")),
        (HEADER_NAME, np.array(journal.header())),
        (MANIFEST_NAME, np.array(journal.manifest())),
    ]


def _crc32(head: bytes, records: Sequence[MaskRecord]) -> int:
    """Of the array's entry; the records have those of the masks."""
    shift = shift_by(records[0].height * records[0].width)
    crc32 = zlib.crc32(head)
    for record in records:
        crc32 = joined(crc32, int(record.crc32, 16), shift)
    return crc32


def _npy_head(shape: tuple[int, ...]) -> bytes:
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return content.getvalue()


def _npy(array: NDArray[Any]) -> bytes:
    content = io.BytesIO()
    np.lib.format.write_array(content, array, allow_pickle=False)
    return content.getvalue()


def _info(name: str) -> ZipInfo:
    info = ZipInfo(name, DATE)
    info.compress_type = ZIP_DEFLATED
    return info
