"""How a `.npz` of masks is laid out: every program that knows NumPy reads it, and any mask can be read alone.

    content = np.load("masks.npz")
    content["masks"]                              (n, height, width) uint8: all masks at once, in memory
    content["index"], content["pts"], content["time"], content["crc32"]        of each mask
    json.loads(str(content["header"])), str(content["manifest"])               classes.json, manifest.jsonl

A `.npz` is a zip with an entry for each array, and an entry is one deflate stream. That of `masks` is made of pieces,
one a mask, that refer to nothing before them; the entry `offsets` tells where they begin (and the last one ends), in
bytes of the stream. So `open_masks` inflates the one that it is asked for, and never holds another.

Only when it is finished is the number of masks known, which `masks` begins with. Until then the file is a journal, a
zip without a directory: an entry for each piece, with its manifest line as a note.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

PIECE_NAME = "piece"  # of all entries of a journal, but the one of the header
OFFSETS_NAME, MASKS_NAME, HEADER_NAME, MANIFEST_NAME = "offsets.npy", "masks.npy", "header.npy", "manifest.npy"
ENDING_ENTRY = "run.npy"
_RAW = -15  # deflate without zlib's frame


def deflated(mask: NDArray[np.uint8]) -> bytes:
    """A piece of a deflate stream that can be inflated alone, and put behind and before others."""
    # Run lengths suit flat areas: half the size of level 1, and as fast.
    compressor = zlib.compressobj(6, zlib.DEFLATED, _RAW, 8, zlib.Z_RLE)
    return compressor.compress(np.ascontiguousarray(mask).data) + compressor.flush(zlib.Z_FULL_FLUSH)


def inflated(piece: bytes, height: int, width: int) -> NDArray[np.uint8] | None:
    """The mask of a piece; None where it is damaged."""
    try:
        pixels = zlib.decompressobj(_RAW).decompress(piece, height * width + 1)
    except zlib.error:
        return None
    return np.frombuffer(pixels, np.uint8).reshape(height, width) if len(pixels) == height * width else None


def stored(content: bytes) -> bytes:
    """A piece of a deflate stream that holds a few bytes as they are."""
    length = len(content)
    return b"\x00" + length.to_bytes(2, "little") + (length ^ 0xFFFF).to_bytes(2, "little") + content


STREAM_END = b"\x03\x00"  # the empty last block
