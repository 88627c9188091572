"""Read masks that are PNGs, in a folder or a zip, finished or not."""

from __future__ import annotations

import struct
import zlib
from abc import ABC, abstractmethod
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import cv2
import numpy as np
from numpy.typing import NDArray

from ..container.zip_journal import content_of, read_entries
from ..decode.inside import read_inside, refuse_larger
from .manifest import CLASSES_NAME, ENDING_NAME, MANIFEST_NAME, MOST_MANIFEST, MOST_PIXELS, MOST_TEXT, MaskRecord

_SUFFIX = ".png"
_MOST_PNG = MOST_PIXELS + (1 << 24)  # bytes: what cannot be compressed grows a little
_CHUNK = struct.Struct(">I4s")  # length of its content, kind; content and a checksum follow
_CRC = struct.Struct(">I")  # of kind and content
# Of a PNG of 8 bits and one channel: what it begins with, up to and without its width and height, and what follows.
_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_SIZE = struct.Struct(">II")
_GRAY_8 = b"\x08\0"


def open_zip(path: Path) -> ZipStore | ZipJournalStore:
    """Raises OSError, BadZipFile or ValueError where it is neither."""
    try:
        return ZipStore(path)
    except BadZipFile:
        return ZipJournalStore(path)


class PngStore(ABC):
    """A `Store`."""

    is_finished: bool

    @abstractmethod
    def header(self) -> str: ...

    @abstractmethod
    def manifest(self) -> str: ...

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

    def header(self) -> str:
        return self.read(CLASSES_NAME, MOST_TEXT).decode()

    def manifest(self) -> str:
        return self.read(MANIFEST_NAME, MOST_MANIFEST).decode()

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

    def header(self) -> str:
        return self.read(CLASSES_NAME, MOST_TEXT).decode()

    def manifest(self) -> str:
        return self.read(MANIFEST_NAME, MOST_MANIFEST).decode()

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

    def header(self) -> str:
        return self.read(CLASSES_NAME, MOST_TEXT).decode()

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
    size_at, size_end = len(_PNG), len(_PNG) + _SIZE.size
    if not content.startswith(_PNG) or content[size_end : size_end + len(_GRAY_8)] != _GRAY_8:
        return None
    width, height = _SIZE.unpack_from(content, size_at)
    if width * height > most_pixels or not _has_whole_chunks(content):
        return None
    try:
        mask = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # of its own limits
        return None
    return None if mask is None or mask.dtype != np.uint8 else mask.astype(np.uint8, copy=False)


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
