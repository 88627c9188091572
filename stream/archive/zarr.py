"""Masks as a `.zarr`: a group of Zarr version 3, which `zarr.open("masks.zarr")` reads.

    group["masks"]                                  (n, height, width) uint8, a chunk a mask, many chunks a file
    group["index"], ["pts"], ["time"], ["crc32"]    of each mask
    group["manifest"]                               the bytes of manifest.jsonl
    group.attrs["header"]                           classes.json

Zarr's library writes it. It is read without: an archive may come from anywhere, and the library loads the codecs that
it names and takes the memory that a chunk says it needs. A file of chunks (a shard) begins with an index of them.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import OutputError
from ..frames import Ending
from ..system.talk import install_command
from .manifest import (
    MOST_MANIFEST,
    MOST_PIXELS,
    MOST_TEXT,
    ArchiveHeader,
    MaskRecord,
    ending_text,
    header_text,
    record_line,
    rows_of,
)
from .png import open_inside, read_inside, refuse_larger

SHARD = 16  # masks a file, which are in memory at once; 1.0.0 had 64
MARKER = "manifest/zarr.json"  # which hardly another group has
NAMES = r"zarr\.json|masks|manifest|pts|time|crc32|index|\.DS_Store"  # in the folder
_ENTRY = struct.Struct("<QQ")  # of a shard's index: offset and size of a chunk
_MISSING = b"\xff" * _ENTRY.size  # of a chunk that was not written
_MOST_CHUNK = MOST_PIXELS + (1 << 24)  # bytes: what cannot be compressed grows a little
_MOST_SHARD = 1 << 16
_GZIP = 31  # zlib's name for a deflate stream in gzip's frame


class ZarrStore:
    """A `Store`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        shape = self._json("masks/zarr.json")["chunk_grid"]["configuration"]["chunk_shape"]
        self._masks_a_shard = int(shape[0])
        refuse_larger("a shard", self._masks_a_shard, _MOST_SHARD)

    @property
    def is_finished(self) -> bool:
        return (self._path / "index" / "zarr.json").exists()

    def header(self) -> str:
        return json.dumps(self._json("zarr.json")["attributes"]["header"], indent=2) + "\n"

    def ending(self) -> str:
        return json.dumps(self._json("zarr.json")["attributes"]["run"])

    def _json(self, name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(read_inside(self._path, name, MOST_TEXT))
        return content

    def manifest(self) -> str:
        return read_inside(self._path, "manifest/c/0", MOST_MANIFEST).decode()

    def mask(self, position: int, record: MaskRecord) -> NDArray[np.uint8] | None:
        shard, chunk = divmod(position, self._masks_a_shard)
        with open_inside(self._path, f"masks/c/{shard}/0/0") as file:
            file.seek(chunk * _ENTRY.size)
            entry = file.read(_ENTRY.size)
            if len(entry) < _ENTRY.size or entry == _MISSING:
                return None
            offset, size = _ENTRY.unpack(entry)
            refuse_larger(f"chunk {position}", size, _MOST_CHUNK)
            file.seek(offset)
            return _unpacked(file.read(size), record.height, record.width)

    def close(self) -> None:
        pass


def _unpacked(chunk: bytes, height: int, width: int) -> NDArray[np.uint8] | None:
    """The mask of a chunk; None where it is damaged."""
    try:
        pixels = zlib.decompressobj(_GZIP).decompress(chunk, height * width + 1)
    except zlib.error:
        return None
    return np.frombuffer(pixels, np.uint8).reshape(height, width) if len(pixels) == height * width else None


def write_zarr(
    path: Path,
    header: ArchiveHeader,
    records: Sequence[MaskRecord],
    masks: Iterator[NDArray[np.uint8]],
    ending: Ending | None,
) -> None:
    """Write masks of one size.

    Raises:
        OutputError: Zarr's library is not installed.
    """
    try:
        import zarr
        from zarr.codecs import GzipCodec, ShardingCodecIndexLocation
    except ImportError as exc:
        raise OutputError(f"a .zarr needs the package zarr: {install_command('zarr')}, or name a .npz") from exc
    size = (records[0].height, records[0].width)
    attributes = {"header": json.loads(header_text(header))}
    if ending:
        attributes["run"] = json.loads(ending_text(ending))
    group = zarr.create_group(path, attributes=attributes, zarr_format=3)
    array = group.create_array(
        "masks",
        shape=(len(records), *size),
        dtype="uint8",
        chunks=(1, *size),
        shards={"shape": (SHARD, *size), "index_location": ShardingCodecIndexLocation.start},
        compressors=GzipCodec(level=1),
        fill_value=0,
        dimension_names=["mask", "y", "x"],
        config={"write_empty_chunks": True},  # a mask of zeros is a mask
    )
    first = 0
    while block := list(islice(masks, SHARD)):
        array[first : first + len(block)] = np.stack(block)
        first += len(block)
    lines = "".join(f"{record_line(record)}\n" for record in records).encode()
    rows = {"manifest": np.frombuffer(lines, np.uint8), **rows_of(records)}
    for name, row in rows.items():
        group.create_array(
            name,
            data=row,
            chunks=row.shape,
            compressors=None,
            dimension_names=["byte" if name == "manifest" else "mask"],
        )
