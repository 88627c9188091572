"""How a `.zarr` of masks is laid out: a group of Zarr version 3, which `zarr.open("masks.zarr")` reads.

    group["masks"]                                  (n, height, width) uint8, a chunk a mask, many chunks a file
    group["index"], ["pts"], ["time"], ["crc32"]    of each mask; there once the archive is finished
    group["manifest"]                               the bytes of manifest.jsonl
    group.attrs["header"]                           classes.json

Writing needs no more than files. A chunk is behind those before it in its file (a shard), and then entered in the index
with which that begins. A line is behind those before it in the manifest's one chunk, `manifest/c/0`, which is therefore
the very text. The manifest alone decides how many masks there are: a chunk that was never written would be read as 0.
"""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..frames import Ending
from ..system.disk import AppendedFile, sync_file, sync_folder
from .manifest import (
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
from .png import open_inside, read_inside, refuse_larger

SHARD = 64  # masks a file
GROUP_NAME, MASKS_NAME = "zarr.json", "masks/zarr.json"
MARKER = "manifest/zarr.json"  # which hardly another group has
LINES_NAME = "manifest/c/0"
INDEX_ENTRY = struct.Struct("<QQ")  # offset and size of a chunk, in the shard's file
INDEX_SIZE = SHARD * INDEX_ENTRY.size
MISSING = b"\xff" * INDEX_ENTRY.size  # the entry of a chunk that was not written
_GZIP = 31  # zlib's name for a deflate stream in gzip's frame; it has no date in it
_BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
_MOST_CHUNK = MOST_PIXELS + (1 << 24)  # bytes: what cannot be compressed grows a little


def shard_path(folder: Path, position: int) -> Path:
    """The file that the mask at a position is in."""
    return folder / "masks" / "c" / str(position // SHARD) / "0" / "0"


def packed(mask: NDArray[np.uint8]) -> bytes:
    """A chunk."""
    # Run lengths suit flat areas: half the size of level 1, and as fast.
    compressor = zlib.compressobj(6, zlib.DEFLATED, _GZIP, 8, zlib.Z_RLE)
    return compressor.compress(np.ascontiguousarray(mask).data) + compressor.flush()


def unpacked(chunk: bytes, height: int, width: int) -> NDArray[np.uint8] | None:
    """The mask of a chunk; None where it is damaged."""
    try:
        pixels = zlib.decompressobj(_GZIP).decompress(chunk, height * width + 1)
    except zlib.error:
        return None
    return np.frombuffer(pixels, np.uint8).reshape(height, width) if len(pixels) == height * width else None


def group_text(header: str, ending: str | None = None) -> str:
    attributes = {"header": json.loads(header)}
    if ending:
        attributes["run"] = json.loads(ending)
    return _text({"zarr_format": 3, "node_type": "group", "attributes": attributes})


def masks_text(count: int, size: tuple[int, ...]) -> str:
    """Of the masks' array, `count` of (height, width)."""
    sharding = {
        "chunk_shape": [1, *size],
        "codecs": [{"name": "bytes"}, {"name": "gzip", "configuration": {"level": 6}}],
        "index_codecs": [_BYTES],
        "index_location": "start",
    }
    codecs = [{"name": "sharding_indexed", "configuration": sharding}]
    return _array_text("uint8", [count, *size], [SHARD, *size], codecs, ["mask", "y", "x"])


def row_text(data_type: str, count: int, name: str) -> str:
    """Of an array of one dimension and one chunk."""
    codecs = [{"name": "bytes"}] if data_type == "uint8" else [_BYTES]
    return _array_text(data_type, [count], [max(count, 1)], codecs, [name])


def _array_text(
    data_type: str,
    shape: Sequence[int],
    chunk_shape: Sequence[int],
    codecs: Sequence[Mapping[str, Any]],
    dimensions: Sequence[str],
) -> str:
    return _text(
        {
            "zarr_format": 3,
            "node_type": "array",
            "shape": shape,
            "data_type": data_type,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk_shape}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": 0,
            "codecs": codecs,
            "dimension_names": dimensions,
            "attributes": {},
        }
    )


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"


class ZarrStore:
    """A `Store`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def is_finished(self) -> bool:
        return (self._path / "index" / GROUP_NAME).exists()

    def header(self) -> str:
        return json.dumps(self._attributes()["header"], indent=2) + "\n"

    def ending(self) -> str:
        return json.dumps(self._attributes()["run"])

    def _attributes(self) -> dict[str, Any]:
        attributes: dict[str, Any] = json.loads(read_inside(self._path, GROUP_NAME, MOST_TEXT))["attributes"]
        return attributes

    def manifest(self) -> str:
        return read_inside(self._path, LINES_NAME, MOST_MANIFEST).decode()

    def mask(self, position: int, record: MaskRecord) -> NDArray[np.uint8] | None:
        with self._shard(position) as file:
            file.seek(position % SHARD * INDEX_ENTRY.size)
            entry = file.read(INDEX_ENTRY.size)
            if len(entry) < INDEX_ENTRY.size or entry == MISSING:
                return None
            offset, size = INDEX_ENTRY.unpack(entry)
            refuse_larger(f"chunk {position}", size, _MOST_CHUNK)
            file.seek(offset)
            return unpacked(file.read(size), record.height, record.width)

    def _shard(self, position: int) -> BinaryIO:
        return open_inside(self._path, shard_path(self._path, position).relative_to(self._path).as_posix())

    def close(self) -> None:
        pass


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
