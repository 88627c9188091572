"""Read a mask archive of any kind: `open_masks(path)`."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from .errors import ArchiveError, OutputError
from .manifest import CLASSES_NAME, MANIFEST_NAME, ArchiveHeader, MaskRecord, checksum, parse_header, parse_records
from .sink import mask_format
from .spec import PixelClass
from .video_archive import VideoStore


class Store(Protocol):
    """How one kind of archive keeps its parts. A missing part raises OSError or KeyError."""

    def header(self) -> str: ...

    def manifest(self) -> str: ...

    def mask(self, position: int, record: MaskRecord) -> NDArray[np.uint8] | None:
        """The `position`-th mask of the manifest; None where it cannot be decoded."""

    def close(self) -> None: ...


class MaskArchive:
    """The masks of a run, by position in its manifest. A context manager; one thread reads it.

    Reading a mask raises `ArchiveError` where it is missing or its pixels are not those that were written.
    """

    def __init__(self, path: Path, store: Store) -> None:
        self._path = path
        self._store = store
        try:
            self.header: ArchiveHeader = parse_header(store.header(), str(path))
            self.records: tuple[MaskRecord, ...] = parse_records(store.manifest(), str(path))
        except (OSError, KeyError, UnicodeDecodeError) as exc:
            raise ArchiveError(f"{path}: not a mask archive, or not a whole one ({exc})") from exc

    @property
    def classes(self) -> tuple[PixelClass, ...]:
        return self.header.classes

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, position: int) -> NDArray[np.uint8]:
        position = range(len(self))[position]
        record = self.records[position]
        try:
            mask = self._store.mask(position, record)
        except (OSError, KeyError, zipfile.BadZipFile) as exc:
            raise ArchiveError(f"{self._path}: the mask of frame {record.index} cannot be read ({exc})") from exc
        if mask is None or mask.shape != (record.height, record.width) or checksum(mask) != record.crc32:
            raise ArchiveError(f"{self._path}: the mask of frame {record.index} is damaged")
        return mask

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self[position] for position in range(len(self)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._store.close()


def open_masks(path: str | Path) -> MaskArchive:
    """Open a folder, .zip or .mkv of masks.

    Raises:
        ArchiveError: not there, or not a mask archive.
    """
    path = Path(path)
    store = _store(path)
    try:
        return MaskArchive(path, store)
    except BaseException:
        store.close()
        raise


def _store(path: Path) -> Store:
    if not path.exists():
        raise ArchiveError(f"{path}: no such file or folder")
    try:
        match "folder" if path.is_dir() else mask_format(path):
            case "folder":
                return _FolderStore(path)
            case "zip":
                return _ZipStore(path)
            case "ffv1":
                return VideoStore(path)
    except (OSError, ValueError, zipfile.BadZipFile, OutputError) as exc:
        raise ArchiveError(f"{path}: not a mask archive, or not a whole one ({exc})") from exc


class _FolderStore:
    def __init__(self, path: Path) -> None:
        self._path = path

    def header(self) -> str:
        return (self._path / CLASSES_NAME).read_text(encoding="utf-8")

    def manifest(self) -> str:
        return (self._path / MANIFEST_NAME).read_text(encoding="utf-8")

    def mask(self, position: int, record: MaskRecord) -> NDArray[np.uint8] | None:  # noqa: ARG002 - as the protocol
        return _decode((self._path / _inside(record)).read_bytes())

    def close(self) -> None:
        pass


class _ZipStore:
    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path)

    def header(self) -> str:
        return self._zip.read(CLASSES_NAME).decode()

    def manifest(self) -> str:
        return self._zip.read(MANIFEST_NAME).decode()

    def mask(self, position: int, record: MaskRecord) -> NDArray[np.uint8] | None:  # noqa: ARG002 - as the protocol
        return _decode(self._zip.read(_inside(record)))

    def close(self) -> None:
        self._zip.close()


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
