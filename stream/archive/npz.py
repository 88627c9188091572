"""How a `.npz` of masks is laid out: every program that knows NumPy reads it, and any mask can be read alone.

    content = np.load("masks.npz")
    content["masks"]                              (n, height, width) uint8: all masks at once, in memory
    content["index"], content["pts"], content["time"], content["crc32"]        of each mask
    json.loads(str(content["header"])), str(content["manifest"])               classes.json, manifest.jsonl

A `.npz` is a zip with an entry for each array, and an entry is one deflate stream. That of `masks` is made of pieces,
one a mask, that refer to nothing before them; the entry `offsets` tells where they begin (and the last one ends), in
bytes of the stream. So `open_masks` inflates the one that it is asked for, and never holds another.

Only when it is finished is the number of masks known, which `masks` begins with. Until then the file is a journal, a
zip without a directory: an entry for each piece, with its manifest line as a note.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray

from ..frames import Ending
from ..system.disk import sync_file
from .manifest import (
    CLASSES_NAME,
    MOST_MANIFEST,
    MOST_PIXELS,
    MOST_TEXT,
    ArchiveHeader,
    MaskRecord,
    ending_text,
    header_text,
    parse_records,
    record_line,
)
from .png import refuse_larger
from .zip_journal import DATE, ZipJournal, content_begin, content_of, read_entries

PIECE_NAME = "piece"  # of all entries of a journal, but the one of the header
OFFSETS_NAME, MASKS_NAME, HEADER_NAME, MANIFEST_NAME = "offsets.npy", "masks.npy", "header.npy", "manifest.npy"
ENDING_ENTRY = "run.npy"
_RAW = -15  # deflate without zlib's frame

# Bytes of the arrays that are read at once; a letter takes four.
_MOST = {
    HEADER_NAME: 4 * MOST_TEXT,
    ENDING_ENTRY: 4 * MOST_TEXT,
    MANIFEST_NAME: 4 * MOST_MANIFEST,
    OFFSETS_NAME: MOST_MANIFEST,
}
_MOST_PIECE = MOST_PIXELS + (1 << 24)  # bytes: what cannot be compressed grows a little
_POLYNOMIAL = 0xEDB88320
_ONE = 1 << 31


def deflated(mask: NDArray[np.uint8]) -> bytes:
    """A piece of a deflate stream that can be inflated alone, and put behind and before others."""
    # Run lengths suit flat areas: half the size of level 1, and as fast.
    compressor = zlib.compressobj(6, zlib.DEFLATED, _RAW, 8, zlib.Z_RLE)
    return compressor.compress(np.ascontiguousarray(mask).data) + compressor.flush(zlib.Z_FULL_FLUSH)


def inflated(piece: bytes, height: int, width: int) -> NDArray[np.uint8] | None:
    """The mask of a piece; None where it is damaged."""
    try:
        pixels = zlib.decompressobj(_RAW).decompress(piece, height * width + 1)
    except zlib.error:
        return None
    return np.frombuffer(pixels, np.uint8).reshape(height, width) if len(pixels) == height * width else None


def stored(content: bytes) -> bytes:
    """A piece of a deflate stream that holds a few bytes as they are."""
    length = len(content)
    return b"\x00" + length.to_bytes(2, "little") + (length ^ 0xFFFF).to_bytes(2, "little") + content


STREAM_END = b"\x03\x00"  # the empty last block


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


def shift_by(length: int) -> int:
    """What a CRC is multiplied by when `length` bytes come behind."""
    power, square = _ONE, 1 << (31 - 8)  # x^0 and x^8
    while length:
        if length & 1:
            power = _product(power, square)
        square = _product(square, square)
        length >>= 1
    return power


def joined(before: int, after: int, shift: int) -> int:
    """The CRC-32 of two pieces, from theirs; `shift` is `shift_by` the length of the second."""
    return _product(before, shift) ^ after


def _product(one: int, other: int) -> int:
    result = 0
    while one:
        if one & _ONE:
            result ^= other
        one = one << 1 & 0xFFFFFFFF
        other = other >> 1 ^ (_POLYNOMIAL if other & 1 else 0)
    return result
