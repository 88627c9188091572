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
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHARD = 64  # masks a file
GROUP_NAME, MASKS_NAME = "zarr.json", "masks/zarr.json"
MARKER = "manifest/zarr.json"  # which hardly another group has
LINES_NAME = "manifest/c/0"
INDEX_ENTRY = struct.Struct("<QQ")  # offset and size of a chunk, in the shard's file
INDEX_SIZE = SHARD * INDEX_ENTRY.size
MISSING = b"\xff" * INDEX_ENTRY.size  # the entry of a chunk that was not written
_GZIP = 31  # zlib's name for a deflate stream in gzip's frame; it has no date in it
_BYTES = {"name": "bytes", "configuration": {"endian": "little"}}


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
