"""Write a picture's overlay and mask: pictures, too, with what the camera has noted where their kind can hold it.

EXIF and the colour profile go into JPEG and PNG, EXIF as of a picture that is upright, and without its small preview,
which shows another picture than the overlay. Both kinds say in their first bytes that they were made here.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from ..decode.opening import open_regular
from ..decode.picture import ORIENTATION, PictureHead, byte_order, entries, read_head
from ..errors import OutputError
from ..frames import SegmentedFrame, Sink
from ..system.disk import PartialOutput, writing
from .carried import COMMENT

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
MASK_COMMENT = "roadmask mask"
_JPEG = (".jpg", ".jpeg")
# With colours as fine as the pixels, which is a third larger: an overlay's are what it is looked at for.
_JPEG_OPTIONS = (
    *(cv2.IMWRITE_JPEG_QUALITY, 95),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
)
_HEAD_BYTES = 256  # in which a file says that it was made here
_MOST_SEGMENT = 65533  # bytes that a segment of a JPEG holds


class PictureSink(Sink):
    """A `Sink` of one picture.

    Args:
        path: of the file.
        encode: makes its content.
        overwrite: replace what is there.

    Raises:
        OutputError: it exists.
    """

    def __init__(self, path: Path, encode: Callable[[SegmentedFrame], bytes], *, overwrite: bool = False) -> None:
        self._encode = encode
        self._output = PartialOutput(path, overwrite=overwrite)

    def write(self, result: SegmentedFrame) -> None:
        content = self._encode(result)
        with writing(self._output.final):
            self._output.path.write_bytes(content)
        self._output.used = True

    def __enter__(self) -> Self:
        self._output.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        self._output.__exit__(kind, exc, at)


def refuse_bad_picture(path: Path) -> None:
    """Raises `OutputError` where the suffix is none of a picture that can be written."""
    if path.suffix.lower() not in PICTURE_SUFFIXES:
        known = ", ".join(PICTURE_SUFFIXES)
        raise OutputError(f"{path}: overlays of pictures are {known}; for a folder write {path}/", usage=True)


def overlay_encoder(
    path: Path, draw: Callable[[SegmentedFrame], NDArray[np.uint8]], source: Path, *, noted: bool = True
) -> Callable[[SegmentedFrame], bytes]:
    """What makes an overlay of the kind that `path` names.

    Args:
        path: its suffix is one of `PICTURE_SUFFIXES`.
        draw: of a result, a picture of (height, width, 3) BGR.
        source: the picture's file, for what its camera has noted.
        noted: keep that; where something is hidden, cameras' notes may hold small pictures of it.
    """

    def encode(result: SegmentedFrame) -> bytes:
        head = read_head(source)
        return marked(encoded(draw(result), path), COMMENT, head if noted else replace(head, exif=b""))

    return encode


def encoded(picture: NDArray[np.uint8], path: Path) -> bytes:
    """What is to be in such a file, of (height, width) or (height, width, 3) BGR. Raises `OutputError`."""
    suffix = path.suffix.lower()
    is_done, content = cv2.imencode(suffix, np.ascontiguousarray(picture), _JPEG_OPTIONS if suffix in _JPEG else ())
    if not is_done:
        height, width = picture.shape[:2]
        raise OutputError(f"{path}: a picture of {width}x{height} cannot be a {suffix}; take .png")
    return content.tobytes()


def marked(content: bytes, comment: str, head: PictureHead | None = None) -> bytes:
    """A JPEG or PNG with a comment, and what `head` has noted; what is of another kind as it is."""
    head = head or PictureHead()
    icc = head.icc if head.icc[16:20] == b"RGB " else b""  # that of gray or CMYK means other numbers
    exif = upright_exif(head.exif)
    if content.startswith(b"\xff\xd8"):
        parts = [_segment(0xFE, comment.encode())]
        if exif and len(exif) + 6 <= _MOST_SEGMENT:
            parts.append(_segment(0xE1, b"Exif\0\0" + exif))
        pieces = [icc[at : at + 65000] for at in range(0, len(icc), 65000)]
        for number, piece in enumerate(pieces, 1):
            parts.append(_segment(0xE2, b"ICC_PROFILE\0" + bytes((number, len(pieces))) + piece))
        begin = 4 + struct.unpack_from(">H", content, 4)[0] if content[3] == 0xE0 else 2  # behind JFIF's
        return content[:begin] + b"".join(parts) + content[begin:]
    if content.startswith(b"\x89PNG"):
        parts = [_chunk(b"tEXt", b"Comment\0" + comment.encode())]
        parts += [_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc))] if icc else []
        parts += [_chunk(b"eXIf", exif)] if exif else []
        return content[:33] + b"".join(parts) + content[33:]  # behind its header
    return content


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def upright_exif(exif: bytes) -> bytes:
    """The same of a picture that stands upright, and has no preview; nothing where it is damaged."""
    changed = bytearray(exif)
    with suppress(struct.error):
        order = byte_order(exif)
        (first,) = struct.unpack_from(f"{order}I", exif, 4)
        for tag, _, _, where in entries(exif, first):
            if tag == ORIENTATION:
                struct.pack_into(f"{order}H", changed, where, 1)
        (count,) = struct.unpack_from(f"{order}H", exif, first)
        after = first + 2 + 12 * count  # where the place of the preview's tags stands
        struct.pack_into(f"{order}I", changed, after, 0)
        return bytes(changed)
    return b""


def was_made_here(path: Path) -> bool:
    """Whether a picture says that it is an overlay or a mask of ours."""
    with suppress(OSError), os.fdopen(open_regular(path), "rb") as file:
        return says_made_here(file)
    return False


def says_made_here(file: BinaryIO) -> bool:
    """The same of one that is open."""
    head = file.read(_HEAD_BYTES)
    return COMMENT.encode() in head or MASK_COMMENT.encode() in head
