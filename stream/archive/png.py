"""Masks as PNGs, in a folder or the same tree in a zip: read, finished or not, and written.

A PNG is 8-bit and one-channel, a pixel's value is its class: `cv2.imread(path, 0)` gives the mask back. Its number is
the frame's index in the source. A folder may come from anywhere: nothing outside it is read, and no more than expected.
"""

from __future__ import annotations

import os
import struct
import zlib
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO
from zipfile import BadZipFile, ZipFile

import cv2
import numpy as np
from numpy.typing import NDArray

from ..decode.opening import open_regular
from ..frames import Ending
from ..system.disk import AppendedFile, sync_file, sync_folder
from .manifest import (
    CLASSES_NAME,
    ENDING_NAME,
    MANIFEST_NAME,
    MOST_MANIFEST,
    MOST_PIXELS,
    MOST_TEXT,
    ArchiveHeader,
    MaskRecord,
    ending_text,
    header_text,
    parse_record,
    record_line,
)
from .zip_journal import ZipJournal, content_of, read_entries

_SUFFIX = ".png"
_MOST_PNG = MOST_PIXELS + (1 << 24)  # bytes: what cannot be compressed grows a little
_CHUNK = struct.Struct(">I4s")  # length of its content, kind; content and a checksum follow
_CRC = struct.Struct(">I")  # of kind and content
# Of a PNG of 8 bits and one channel: what it begins with, up to and without its width and height, and what follows.
_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_SIZE = struct.Struct(">II")
_GRAY_8 = b"\x08\0"

# Run lengths suit flat areas: less than two thirds of the size of zlib level 1, and three times as fast.
_PNG_OPTIONS = (cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)


def open_zip(path: Path) -> ZipStore | ZipJournalStore:
    """Raises OSError, BadZipFile or ValueError where it is neither."""
    try:
        return ZipStore(path)
    except BadZipFile:
        return ZipJournalStore(path)


class PngStore(ABC):
    """A `Store`."""

    is_finished: bool

    def header(self) -> str:
        return self.read(CLASSES_NAME, MOST_TEXT).decode()

    def manifest(self) -> str:
        return self.read(MANIFEST_NAME, MOST_MANIFEST).decode()

    @abstractmethod
    def read(self, name: str, most: int) -> bytes:
        """Of `most` bytes; more are a ValueError."""

    def ending(self) -> str:
        return self.read(ENDING_NAME, MOST_TEXT).decode()

    @abstractmethod
    def names(self) -> list[str]:
        """Of the PNGs; one that is there twice is told twice."""

    def mask(self, position: int, record: MaskRecord) -> NDArray[np.uint8] | None:  # noqa: ARG002 - as the protocol
        return self.picture(_inside(record), record.height * record.width)

    def picture(self, name: str, most_pixels: int) -> NDArray[np.uint8] | None:
        """None where it cannot be decoded, or is larger."""
        return _decode(self.read(name, _MOST_PNG), most_pixels)

    @abstractmethod
    def close(self) -> None: ...


class FolderStore(PngStore):
    """Only its name tells whether a folder is finished."""

    def __init__(self, path: Path) -> None:
        self._path = path
        name = path.resolve().name
        self.is_finished = not name.endswith(".partial") and "_unfinished" not in name

    def read(self, name: str, most: int) -> bytes:
        return read_inside(self._path, name, most)

    def names(self) -> list[str]:
        return sorted(path.name for path in self._path.iterdir() if path.suffix == _SUFFIX)

    def close(self) -> None:
        pass


class ZipStore(PngStore):
    is_finished = True

    def __init__(self, path: Path) -> None:
        self._zip = ZipFile(path)

    def read(self, name: str, most: int) -> bytes:
        if name not in self._zip.NameToInfo:
            raise FileNotFoundError(f"no {name}")
        refuse_larger(name, self._zip.getinfo(name).file_size, most)  # no more than it says is inflated
        return self._zip.read(name)

    def names(self) -> list[str]:
        return [name for name in self._zip.namelist() if name.endswith(_SUFFIX)]

    def close(self) -> None:
        self._zip.close()


class ZipJournalStore(PngStore):
    """Of a zip without a directory: its run was killed, or the file was cut."""

    is_finished = False

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._entries = {entry.name: entry for entry in read_entries(self._file)}
        if CLASSES_NAME not in self._entries:
            self._file.close()
            raise ValueError("it holds no masks")

    def manifest(self) -> str:
        return "".join(f"{self._entries[name].note}\n" for name in self.names())

    def read(self, name: str, most: int) -> bytes:
        entry = self._entries[name]
        refuse_larger(name, entry.end - entry.begin, most)
        return content_of(self._file, entry)

    def names(self) -> list[str]:
        return [name for name in self._entries if name.endswith(_SUFFIX)]

    def close(self) -> None:
        self._file.close()


def _inside(record: MaskRecord) -> str:
    """The PNG's name; an archive may come from anywhere, and must not name a file outside itself."""
    name = record.file or ""
    if not name or Path(name).name != name:
        raise KeyError(f"{name!r} is not a name")
    return name


def _decode(content: bytes, most_pixels: int) -> NDArray[np.uint8] | None:
    """None where it is no PNG of 8 bits and one channel, or larger: it is not decoded then."""
    size_end = len(_PNG) + _SIZE.size
    if not content.startswith(_PNG) or content[size_end : size_end + len(_GRAY_8)] != _GRAY_8:
        return None
    mask = picture_of(content, most_pixels)
    return None if mask is None or mask.dtype != np.uint8 else mask.astype(np.uint8, copy=False)


def picture_of(content: bytes, most_pixels: int) -> NDArray[np.uint8 | np.uint16] | None:
    """Of any PNG, as OpenCV has it; None where it is none, not a whole one, or larger: it is not decoded then."""
    if not content.startswith(_PNG) or len(content) < len(_PNG) + _SIZE.size:
        return None
    width, height = _SIZE.unpack_from(content, len(_PNG))
    if not 0 < width * height <= most_pixels or not _has_whole_chunks(content):
        return None
    try:
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # of its own limits
        return None
    return None if picture is None else np.asarray(picture, picture.dtype)


def _has_whole_chunks(content: bytes) -> bool:
    """Looked at beforehand: OpenCV takes memory for what a chunk says that it has, and talks of damage on stderr."""
    at, kind = _PNG.index(b"\0\0\0\rIHDR"), b""
    while kind != b"IEND" and at + _CHUNK.size <= len(content):
        length, kind = _CHUNK.unpack_from(content, at)
        end = at + _CHUNK.size + length
        if content[end : end + _CRC.size] != _CRC.pack(zlib.crc32(memoryview(content)[at + 4 : end])):
            return False
        at = end + _CRC.size
    return kind == b"IEND"


class FolderWriter:
    """A `MaskWriter`. A manifest line is there once its PNG is, so after a crash both agree."""

    def __init__(self, path: Path, header: ArchiveHeader, keep: int) -> None:
        self._path = path
        manifest = path / MANIFEST_NAME
        kept = manifest.read_bytes().splitlines(keepends=True)[:keep] if keep else []
        if keep:
            (path / ENDING_NAME).unlink(missing_ok=True)
            names = {parse_record(line.decode()).file for line in kept}
            for other in path.iterdir():  # what a run that goes on will write again
                if other.name.startswith("frame_") and other.name not in names:
                    other.unlink()
        else:
            (path / CLASSES_NAME).write_text(header_text(header), encoding="utf-8", newline="\n")
        self._manifest = AppendedFile(manifest, keep=sum(map(len, kept)))
        self._unsynced: list[Path] = [path / CLASSES_NAME]

    def add(self, record: MaskRecord, mask: NDArray[np.uint8]) -> None:
        self.add_encoded(record, png(mask))

    def add_encoded(self, record: MaskRecord, content: bytes) -> None:
        name = png_name(record)
        unnamed = self._path / f"{name}.tmp"
        unnamed.write_bytes(content)
        unnamed.replace(self._path / name)
        self._unsynced.append(self._path / name)
        self._manifest.append(record_line(replace(record, file=name)).encode() + b"\n")

    def sync(self) -> None:
        for path in self._unsynced:
            sync_file(path)
        self._unsynced.clear()
        self._manifest.sync()
        sync_folder(self._path)

    def finish(self, ending: Ending | None) -> None:
        if ending:
            (self._path / ENDING_NAME).write_text(ending_text(ending), encoding="utf-8", newline="\n")
            sync_file(self._path / ENDING_NAME)

    def close(self) -> None:
        self._manifest.close()


class ZipWriter:
    """A `MaskWriter`. The manifest comes last, as a zip cannot grow an entry beside others.

    Until then its lines are notes of the entries, where they are found after a crash, too.
    """

    def __init__(self, path: Path, header: ArchiveHeader, keep: int) -> None:
        self._zip = ZipJournal(path, keep=keep and keep + 1)
        if not keep:
            self._begin(header)

    def _begin(self, header: ArchiveHeader) -> None:
        try:
            self._zip.add(CLASSES_NAME, header_text(header).encode())
        except OSError:
            self._zip.close()  # nobody else can
            raise

    def add(self, record: MaskRecord, mask: NDArray[np.uint8]) -> None:
        self.add_encoded(record, png(mask))

    def add_encoded(self, record: MaskRecord, content: bytes) -> None:
        name = png_name(record)
        self._zip.add(name, content, record_line(replace(record, file=name)))

    def sync(self) -> None:
        self._zip.sync()

    def finish(self, ending: Ending | None) -> None:
        self._zip.add_notes(MANIFEST_NAME)
        if ending:
            self._zip.add(ENDING_NAME, ending_text(ending).encode())
        self._zip.finish()

    def close(self) -> None:
        self._zip.close()


FOLDER_NAMES = rf"{CLASSES_NAME}|{MANIFEST_NAME}|{ENDING_NAME}|frame_\d+\.png(\.tmp)?|\.DS_Store|Thumbs\.db"


def png_name(record: MaskRecord) -> str:
    return f"frame_{record.index:06d}.png"


def png(mask: NDArray[np.uint8]) -> bytes:
    encoded, content = cv2.imencode(".png", mask, _PNG_OPTIONS)
    assert encoded, "a PNG can hold any 8-bit mask"
    return content.tobytes()


def read_inside(folder: Path, name: str, most: int) -> bytes:
    """The content, of `most` bytes, of a file of a folder, which may be a link itself.

    Raises:
        OSError: it cannot be read, or is no regular file.
        ValueError: it is a link that leads out of the folder, or is larger.
    """
    with open_inside(folder, name) as file:
        size = os.fstat(file.fileno()).st_size
        refuse_larger(name, size, most)
        return file.read(size)


def open_inside(folder: Path, name: str) -> BinaryIO:
    """As `read_inside`, of a file of any size."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{name} leads out of the folder")
    return os.fdopen(open_regular(path), "rb")


def refuse_larger(name: str, size: int, most: int) -> None:
    """Raises `ValueError`."""
    if not 0 <= size <= most:
        raise ValueError(f"{name} has {size} bytes, more than the {most} that it may")
