"""Read a mask archive of any kind: `open_masks(path)`."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Protocol, Self

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from ..decode.opening import PICTURE_MS
from ..errors import ArchiveError, OutputError, first_line
from ..frames import Ending
from ..spec import NO_CLASS, PixelClass, Renamed, map_classes
from .manifest import (
    MANIFEST_NAME,
    ArchiveHeader,
    MaskFormat,
    MaskRecord,
    checksum,
    mask_format,
    parse_ending,
    parse_header,
    parse_records,
)
from .npz import NpzStore
from .png import FolderStore, PngStore, open_zip
from .video import VideoStore
from .zarr import ZarrStore

# What reading raises where an archive is damaged, or made to do harm.
_UNREADABLE = (
    *(OSError, LookupError, ValueError, TypeError, RuntimeError, ArithmeticError, EOFError, MemoryError),
    *(struct.error, zipfile.BadZipFile, zlib.error, lzma.LZMAError, av.FFmpegError),
)


_TOLD = 3  # archives, of those that a folder of results holds


class Store(Protocol):
    """How one kind of archive keeps its parts. A missing part raises OSError or KeyError, a wrong one ValueError."""

    @property
    def is_finished(self) -> bool:
        """Whether its run came to an end; else it holds what is whole."""

    def header(self) -> str: ...

    def ending(self) -> str:
        """How its run ended; empty, too, where it does not tell."""

    def manifest(self) -> str: ...

    def mask(self, position: int, record: MaskRecord) -> NDArray[np.uint8] | None:
        """The `position`-th mask of the manifest; None where it cannot be decoded."""

    def close(self) -> None: ...


class LeftOut(Protocol):
    """What is to be left out, as of `masks.ignore`; `str` of it tells what that is."""

    def refuse_misfit(self, name: str, height: int, width: int) -> float: ...

    def pixels(self, height: int, width: int) -> NDArray[np.uint8]:
        """`NO_CLASS` where a mask of that size is left out, else 0."""


class MaskArchive:
    """The masks of a run, by position in its manifest. A context manager; one thread reads it.

    Reading a mask raises `ArchiveError` where it is missing or its pixels are not those that were written.

    >>> from roadmask import open_masks
    >>> with open_masks("masks.zip") as masks:
    ...     for record, mask in zip(masks.records, masks):
    ...         print(record.index, record.pts, mask.shape, mask.max() < len(masks.classes))
    0 0 (96, 128) True
    1 ... (96, 128) True
    2 ... (96, 128) True
    """

    def __init__(
        self, path: Path, kind: MaskFormat, store: Store, ignore: LeftOut | None = None, renamed: Renamed = ()
    ) -> None:
        self.path = path
        self._ignore = ignore
        self.kind: MaskFormat = kind
        self._store = store
        try:
            self.header: ArchiveHeader = parse_header(store.header(), str(path))
            self._manifest = store.manifest()
            self.records: tuple[MaskRecord, ...] = parse_records(self._manifest, str(path))
        except _UNREADABLE as exc:
            raise ArchiveError(
                f"{path}: not a mask archive, or not a whole one ({_lacking(exc)}); name masks of 'roadmask run'"
            ) from exc
        if ignore:
            ignore.refuse_misfit(path.name, self.header.height, self.header.width)
            told = ", ".join(filter(None, (self.header.ignored, str(ignore))))
            self.header = replace(self.header, ignored=told)
        self._ids: NDArray[np.uint8] | None = None  # that masks are given with
        if renamed:
            mapped = map_classes(self.classes, renamed)
            self.header = replace(self.header, classes=mapped.classes)
            self._ids = np.arange(256, dtype=np.uint8)
            self._ids[: len(mapped.ids)] = mapped.ids

    @property
    def is_changed(self) -> bool:
        """Whether masks are read with something left out, or with other ids: their checksums are not those told."""
        return self._ignore is not None or self._ids is not None

    @property
    def classes(self) -> tuple[PixelClass, ...]:
        return self.header.classes

    @property
    def is_finished(self) -> bool:
        """Whether its run came to an end; else it holds the masks that were whole when it was killed."""
        return self._store.is_finished

    @property
    def ending(self) -> Ending | None:
        """How its run ended; `None` where it does not tell.

        Raises:
            ArchiveError: what tells it is damaged.
        """
        try:
            text = self._store.ending()
        except (FileNotFoundError, KeyError):
            return None
        except _UNREADABLE as exc:
            raise ArchiveError(f"{self.path}: how its run ended cannot be read ({exc})") from exc
        return parse_ending(text, str(self.path)) if text else None

    @property
    def is_cut(self) -> bool:
        """Whether the manifest ends within a line, which is left out."""
        return not self._manifest.endswith("\n") and bool(self._manifest)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, position: int) -> NDArray[np.uint8]:
        position = range(len(self))[position]
        mask, fault = self.examine(position)
        if mask is None:
            raise ArchiveError(f"{self.path}: the mask of {self.place(position)} {fault}")
        return mask

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self[position] for position in range(len(self)))

    def position(self, index: int) -> int:
        """Of the mask of a frame, whose `index` is among all frames of the source.

        Raises:
            ArchiveError: that frame has no mask here.
        """
        found = bisect_left(self.records, index, key=lambda record: record.index)
        if found == len(self) or self.records[found].index != index:
            raise ArchiveError(f"{self.path}: holds no mask of frame {index}; {self._extent()}")
        return found

    def position_at(self, time: Fraction | float) -> int:
        """Of the mask that is shown at a time, in seconds of the source's clock: the last that is not later.

        Raises:
            ArchiveError: the first mask is later.
        """
        if isinstance(time, float):  # a record's time as a float must find that record
            found = bisect_right(self.records, time, key=lambda record: float(record.time))
        else:
            found = bisect_right(self.records, time, key=lambda record: record.time)
        if found == 0:
            raise ArchiveError(f"{self.path}: shows no mask yet at {float(time):.3f} s; {self._extent()}")
        return found - 1

    def at(self, time: Fraction | float) -> NDArray[np.uint8]:
        """The mask that is shown at a time: see `position_at`."""
        return self[self.position_at(time)]

    def examine(self, position: int) -> tuple[NDArray[np.uint8] | None, str]:
        """The mask, or None and what is wrong with it."""
        record = self.records[position]
        try:
            mask = self._store.mask(position, record)
        except FileNotFoundError:
            return None, "is missing"
        except _UNREADABLE as exc:
            return None, f"cannot be read ({exc})"
        if mask is None:
            return None, "is damaged: it cannot be decoded"
        if mask.shape != (record.height, record.width):
            height, width = mask.shape[:2]
            return None, f"is damaged: it is {width}x{height}, not {record.width}x{record.height}"
        if (found := checksum(mask)) != record.crc32:
            return None, f"is damaged: its checksum is {found}, not {record.crc32}"
        if self._ids is not None:
            mask = np.asarray(cv2.LUT(mask, self._ids), np.uint8)
        if self._ignore:
            mask = np.maximum(mask, self._ignore.pixels(*mask.shape))
        return mask, ""

    def place(self, position: int) -> str:
        """What to call a mask in a message: its frame, and its file where it has one."""
        record = self.records[position]
        return f"frame {record.index} ({record.file})" if record.file else f"frame {record.index}"

    def unknown_class(self, mask: NDArray[np.uint8]) -> str:
        """What is wrong with a mask whose ids the class table does not know; empty where it knows them all.

        What is left out has no class, and is known where the archive tells of it.
        """
        highest = int(mask.max(initial=0))
        if highest == NO_CLASS and self.header.ignored:
            highest = int(mask[mask != NO_CLASS].max(initial=0))
        if highest < len(self.classes):
            return ""
        return f"has the class id {highest}, which is not in the table of {len(self.classes)} classes"

    def pictures(self) -> list[str]:
        """Names of the PNGs that are in it, whether or not the manifest tells of them; other kinds have none."""
        return self._store.names() if isinstance(self._store, PngStore) else []

    def picture(self, name: str) -> NDArray[np.uint8] | None:
        """The pixels of such a PNG; None where they cannot be read."""
        assert isinstance(self._store, PngStore)
        try:
            return self._store.picture(name, self._most_pixels)
        except _UNREADABLE:
            return None

    @property
    def picture_rate(self) -> Fraction | None:
        """At which numbered pictures were read, where they were made of such: see `open_source`."""
        last = self.records[-1] if self.records else None
        return 1 / (PICTURE_MS * last.time_base) if last and last.pts == PICTURE_MS * last.index else None

    @cached_property
    def _most_pixels(self) -> int:
        """Of a mask here: what is larger is none of them."""
        return max((record.height * record.width for record in self.records), default=0)

    def _extent(self) -> str:
        if not self.records:
            return "it is empty"
        first, last = self.records[0], self.records[-1]
        return (
            f"it holds {len(self)}, from frame {first.index} ({float(first.time):.3f} s) "
            f"to frame {last.index} ({float(last.time):.3f} s)"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._store.close()


def open_masks(path: str | Path, *, ignore: LeftOut | None = None, renamed: Renamed = ()) -> MaskArchive:
    """Open a folder, .zip, .mkv, .npz or .zarr of masks, also one whose run was killed.

    Args:
        path: of the archive.
        ignore: what is left out of its masks, besides what was when they were made; from `parse_ignored`.
        renamed: what its classes are called; those that get one name are one: see `map_classes`.

    Raises:
        ArchiveError: not there, or not a mask archive.
        RoadmaskError: what is to be left out does not fit the masks, or a class that is renamed is none of theirs.

    >>> from roadmask import open_masks
    >>> with open_masks("masks.zip") as masks:
    ...     print(len(masks), masks[0].shape, masks.classes[3].name, float(masks.records[2].time))
    ...     print((masks.at(0.05) == masks[1]).all(), masks.position(2))
    3 (96, 128) Road 0.08
    True 2
    """
    path = Path(path)
    if not path.exists():
        raise ArchiveError(f"{path}: no such file or folder")
    if not path.is_dir() and not path.is_file():
        raise ArchiveError(f"{path}: neither a file nor a folder, but a pipe, a device or a socket; save it to a file")
    kind = _kind(path)
    if kind == "folder" and not (path / MANIFEST_NAME).exists() and (inside := _archives_in(path)):
        more = f", ... {len(inside)} in all" if len(inside) > _TOLD else ""
        raise ArchiveError(
            f"{path}: a folder of results; name the masks of one: {', '.join(map(str, inside[:_TOLD]))}{more}"
        )
    try:
        store = _store(path, kind)
    except _UNREADABLE as exc:
        raise ArchiveError(
            f"{path}: not a mask archive, or not a whole one ({_lacking(exc)}); name masks of 'roadmask run'"
        ) from exc
    try:
        return MaskArchive(path, kind, store, ignore, renamed)
    except BaseException:
        store.close()
        raise


def _archives_in(folder: Path) -> list[Path]:
    """As `roadmask run` lays them out, also in folders of folders."""
    depths = ("", "*/", "*/*/")
    folders = (item.parent for depth in depths for item in folder.glob(f"{depth}*/{MANIFEST_NAME}"))
    files = (item for depth in depths for item in folder.glob(f"{depth}*_masks.[zmn]*"))
    return sorted({*folders, *files})


def _kind(path: Path) -> MaskFormat:
    if path.is_dir() and path.suffix.lower() != ".zarr":
        return "folder"
    try:
        return mask_format(path)
    except OutputError as exc:
        raise ArchiveError(str(exc)) from exc


def _store(path: Path, kind: MaskFormat) -> Store:
    match kind:
        case "folder":
            return FolderStore(path)
        case "zip":
            return open_zip(path)
        case "ffv1":
            return VideoStore(path)
        case "npz":
            return NpzStore(path)
        case "zarr":
            return ZarrStore(path)


def _lacking(exc: Exception) -> str:
    """Of a folder that is something else, what it has not."""
    if isinstance(exc, FileNotFoundError) and exc.filename:
        return f"no {Path(exc.filename).name}"
    return first_line(exc)
