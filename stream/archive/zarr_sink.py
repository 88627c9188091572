"""Write masks as a `.zarr`; `zarr_layout` tells how it is laid out, and why no library is needed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..system.disk import AppendedFile, sync_file, sync_folder
from .manifest import ArchiveHeader, Ending, MaskRecord, ending_text, header_text, parse_records, record_line
from .zarr_layout import (
    GROUP_NAME,
    INDEX_ENTRY,
    INDEX_SIZE,
    LINES_NAME,
    MARKER,
    MASKS_NAME,
    MISSING,
    SHARD,
    group_text,
    masks_text,
    packed,
    row_text,
    shard_path,
)


class ZarrWriter:
    """A `MaskWriter`."""

    def __init__(self, path: Path, header: ArchiveHeader, keep: int) -> None:
        self._path = path
        self._header = header_text(header)
        self._count = keep
        self._size: tuple[int, ...] | None = None
        self._shard: AppendedFile | None = None
        self._unsynced: set[Path] = set()
        lines: list[bytes] = []
        if keep:
            lines = (path / LINES_NAME).read_bytes().splitlines(keepends=True)[:keep]
            first = parse_records(lines[0].decode(), str(path))[0]
            self._size = (first.height, first.width)
            self._cut(keep)
        self._write(GROUP_NAME, group_text(self._header).encode())
        self._write(MARKER, row_text("uint8", 0, "byte").encode())
        (path / LINES_NAME).parent.mkdir(parents=True, exist_ok=True)
        self._lines = AppendedFile(path / LINES_NAME, keep=sum(map(len, lines)))

    def add(self, record: MaskRecord, mask: NDArray[np.uint8]) -> None:
        self.add_encoded(record, packed(mask))

    def add_encoded(self, record: MaskRecord, content: bytes) -> None:
        self._size = self._size or (record.height, record.width)
        shard = self._shard or self._begin_shard()
        entry = INDEX_ENTRY.pack(shard.size, len(content))
        shard.append(content)
        shard.patch(self._count % SHARD * INDEX_ENTRY.size, entry)
        self._lines.append(record_line(record).encode() + b"\n")
        self._count += 1
        if self._count % SHARD == 0:
            self._end_shard()

    def _begin_shard(self) -> AppendedFile:
        path = shard_path(self._path, self._count)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._unsynced.add(path)
        self._shard = AppendedFile(path)
        self._shard.append(MISSING * SHARD)
        return self._shard

    def _end_shard(self) -> None:
        assert self._shard is not None
        self._shard.close()
        self._shard = None
        self._tell_counts()

    def _tell_counts(self) -> None:
        """So that other programs see what is there by now."""
        assert self._size is not None
        self._write(MASKS_NAME, masks_text(self._count, self._size).encode())
        self._write(MARKER, row_text("uint8", self._lines.size, "byte").encode())

    def sync(self) -> None:
        for path in self._unsynced:
            sync_file(path)
            for folder in path.relative_to(self._path).parents:
                sync_folder(self._path / folder)
        self._unsynced.clear()
        if self._shard:
            self._unsynced.add(self._shard.path)
        self._lines.sync()

    def finish(self, ending: Ending | None) -> None:
        if self._size is None:
            return
        if ending:
            self._write(GROUP_NAME, group_text(self._header, ending_text(ending)).encode())
        self._tell_counts()
        records = parse_records((self._path / LINES_NAME).read_text(encoding="utf-8"), str(self._path))
        self._write_row("pts", np.array([record.pts for record in records], "<i8"))
        self._write_row("time", np.array([float(record.time) for record in records], "<f8"))
        self._write_row("crc32", np.array([int(record.crc32, 16) for record in records], "<u4"))
        self._write_row("index", np.array([record.index for record in records], "<i8"))  # last: all is there

    def _write_row(self, name: str, row: NDArray[np.generic]) -> None:
        self._write(f"{name}/c/0", row.tobytes())
        self._write(f"{name}/{GROUP_NAME}", row_text(row.dtype.name, len(row), "mask").encode())

    def _cut(self, keep: int) -> None:
        """Take away what comes behind the first masks."""
        (self._path / "index" / GROUP_NAME).unlink(missing_ok=True)  # it is not finished any more
        shards = self._path / "masks" / "c"
        for folder in shards.iterdir():
            if int(folder.name) * SHARD >= keep:
                shutil.rmtree(folder)
        if keep % SHARD:
            self._shard = _cut_shard(shard_path(self._path, keep), keep % SHARD)
            self._unsynced.add(self._shard.path)

    def _write(self, name: str, content: bytes) -> None:
        """Whole or not at all, whenever the process is killed."""
        path = self._path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        unnamed = path.with_name(f"{path.name}.tmp")
        unnamed.write_bytes(content)
        unnamed.replace(path)
        self._unsynced.add(path)

    def close(self) -> None:
        self._lines.close()
        if self._shard:
            self._shard.close()


def _cut_shard(path: Path, keep: int) -> AppendedFile:
    """Open behind its first chunks."""
    with path.open("rb") as file:
        index = file.read(INDEX_SIZE)
    offset, size = INDEX_ENTRY.unpack_from(index, (keep - 1) * INDEX_ENTRY.size)
    shard = AppendedFile(path, keep=offset + size)
    shard.patch(keep * INDEX_ENTRY.size, MISSING * (SHARD - keep))
    return shard
