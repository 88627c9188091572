"""Read masks that are PNGs, in a folder or a zip, finished or not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import cv2
import numpy as np
from numpy.typing import NDArray

from .manifest import CLASSES_NAME, ENDING_NAME, MANIFEST_NAME, MaskRecord
from .zip_journal import content_of, read_entries

_SUFFIX = ".png"


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
    def read(self, name: str) -> bytes: ...

    def ending(self) -> str:
        return self.read(ENDING_NAME).decode()

    @abstractmethod
    def names(self) -> list[str]:
        """Of the PNGs; one that is there twice is told twice."""

    def mask(self, position: int, record: MaskRecord) -> NDArray[np.uint8] | None:  # noqa: ARG002 - as the protocol
        return self.picture(_inside(record))

    def picture(self, name: str) -> NDArray[np.uint8] | None:
        return _decode(self.read(name))

    @abstractmethod
    def close(self) -> None: ...


class FolderStore(PngStore):
    """Only its name tells whether a folder is finished."""

    def __init__(self, path: Path) -> None:
        self._path = path
        name = path.resolve().name
        self.is_finished = not name.endswith(".partial") and "_unfinished" not in name

    def header(self) -> str:
        return (self._path / CLASSES_NAME).read_text(encoding="utf-8")

    def manifest(self) -> str:
        return (self._path / MANIFEST_NAME).read_text(encoding="utf-8")

    def read(self, name: str) -> bytes:
        return (self._path / name).read_bytes()

    def names(self) -> list[str]:
        return sorted(path.name for path in self._path.iterdir() if path.suffix == _SUFFIX)

    def close(self) -> None:
        pass


class ZipStore(PngStore):
    is_finished = True

    def __init__(self, path: Path) -> None:
        self._zip = ZipFile(path)

    def header(self) -> str:
        return self.read(CLASSES_NAME).decode()

    def manifest(self) -> str:
        return self.read(MANIFEST_NAME).decode()

    def read(self, name: str) -> bytes:
        if name not in self._zip.NameToInfo:
            raise FileNotFoundError(f"no {name}")
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
        return self.read(CLASSES_NAME).decode()

    def manifest(self) -> str:
        return "".join(f"{self._entries[name].note}\n" for name in self.names())

    def read(self, name: str) -> bytes:
        return content_of(self._file, self._entries[name])

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


def _decode(content: bytes) -> NDArray[np.uint8] | None:
    if not content:
        return None
    mask = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    return None if mask is None or mask.dtype != np.uint8 else mask.astype(np.uint8, copy=False)
