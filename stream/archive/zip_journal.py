"""A zip that grows an entry at a time, and can be read and gone on with while it has no directory yet.

Beside its name each entry has a note, in an extra field of its local header, which other programs skip.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO
from zipfile import ZipFile, ZipInfo

from ..system.disk import AppendedFile

# signature, version, flags, method, time, date, CRC-32, stored size, size, length of name, of extra fields
_LOCAL = struct.Struct("<4s5H3I2H")
_SIGNATURE = b"PK\x03\x04"
_NOTE = struct.Struct("<2H")
_NOTE_ID = 0x6D52  # nobody has registered it
# A zip entry has a date; a fixed one (the format's first) makes the same masks the same file.
DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Entry:
    """What a local header tells of an entry, and where in the file it is."""

    name: str
    note: str
    crc32: int
    offset: int  # of the header
    begin: int  # of the content
    end: int


def read_entries(file: BinaryIO) -> Iterator[Entry]:
    """The entries from a zip's beginning on that are there in full; it needs no directory."""
    size = os.fstat(file.fileno()).st_size
    offset = 0
    while (entry := _entry(file, offset)) and entry.end <= size:
        yield entry
        offset = entry.end


def content_of(file: BinaryIO, entry: Entry) -> bytes:
    file.seek(entry.begin)
    return file.read(entry.end - entry.begin)


def _entry(file: BinaryIO, offset: int) -> Entry | None:
    file.seek(offset)
    head = file.read(_LOCAL.size)
    if len(head) < _LOCAL.size or not head.startswith(_SIGNATURE):
        return None
    *_, crc32, stored, _, name_length, extra_length = _LOCAL.unpack(head)
    names = file.read(name_length + extra_length)
    if len(names) < name_length + extra_length:
        return None
    begin = offset + _LOCAL.size + len(names)
    name = names[:name_length].decode(errors="replace")
    return Entry(name, _note(names[name_length:]), crc32, offset, begin, begin + stored)


def _note(extra: bytes) -> str:
    while len(extra) >= _NOTE.size:
        kind, length = _NOTE.unpack_from(extra)
        if kind == _NOTE_ID:
            return extra[_NOTE.size : _NOTE.size + length].decode(errors="replace")
        extra = extra[_NOTE.size + length :]
    return ""


class ZipJournal:
    """Appends entries; only `finish` makes it a zip that every program reads.

    Nothing is kept in memory of an entry: the directory is made from what is in the file, however many there are.

    Args:
        path: of the file.
        keep: go on behind its first entries, so many, which must be there; 0 to begin it anew.
    """

    def __init__(self, path: Path, *, keep: int = 0) -> None:
        self._count, end = 0, 0
        if keep:
            with path.open("rb") as file:
                for entry in islice(read_entries(file), keep):
                    self._count, end = self._count + 1, entry.end
        self._file = AppendedFile(path, keep=end)

    def add(self, name: str, content: bytes, note: str = "") -> None:
        self._file.append(_local_header(name, zlib.crc32(content), len(content), note) + content)
        self._count += 1

    def add_notes(self, name: str) -> None:
        """An entry of all the notes so far, a line each."""
        offset, crc32, size = self._file.size, 0, 0
        self._file.append(_local_header(name, 0, 0))
        with self._file.path.open("rb") as file:
            entries = islice(read_entries(file), self._count)
            notes = (f"{entry.note}\n".encode() for entry in entries if entry.note)
            while piece := b"".join(islice(notes, 1000)):
                self._file.append(piece)
                crc32, size = zlib.crc32(piece, crc32), size + len(piece)
        self._file.patch(offset, _local_header(name, crc32, size))
        self._count += 1

    def sync(self) -> None:
        self._file.sync()

    def finish(self) -> None:
        """Write the directory."""
        with self._file.path.open("r+b") as file, self._file.path.open("rb") as written:
            file.seek(self._file.size)
            with ZipFile(file, "w") as directory:  # begins where the file stands, and leaves what is before
                directory.filelist = _Infos(written, self._count)

    def close(self) -> None:
        self._file.close()


class _Infos(list[ZipInfo]):
    """What a directory says of a file's first entries, made as it is read."""

    def __init__(self, file: BinaryIO, count: int) -> None:
        self._file, self._count = file, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[ZipInfo]:
        for entry in islice(read_entries(self._file), self._count):
            yield _info(entry.name, entry.crc32, entry.end - entry.begin, entry.offset)


def _local_header(name: str, crc32: int, size: int, note: str = "") -> bytes:
    info = _info(name, crc32, size, 0)
    if note:  # once is enough: the directory does not have it
        encoded = note.encode()
        info.extra = _NOTE.pack(_NOTE_ID, len(encoded)) + encoded
    return info.FileHeader()


def _info(name: str, crc32: int, size: int, offset: int) -> ZipInfo:
    """Of a stored entry."""
    info = ZipInfo(name, DATE)
    info.CRC, info.compress_size, info.file_size, info.header_offset = crc32, size, size, offset
    return info
