"""A picture in a file of its own, as a source of one frame: decoded, upright, with what its camera has noted.

FFmpeg decodes it, but for two kinds of which it makes something else without a word: of HEIC it gives a tile, and a
TIFF that is compressed as JPEG becomes black. EXIF is read here, as PyAV does not hand it on: whether a picture is
turned, when and where it was taken. What is kept of it goes into the overlay: see `encode.picture_sink`.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path, PurePath
from typing import Any, Self

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from ..errors import SourceError, first_line
from ..frames import Frame, Place, VideoInfo
from ..system.talk import install_command
from .decoder import FileDecoder
from .display import Display
from .opening import open_file, open_regular
from .pixels import network_input
from .source import InputSize

# Not .gif, which moves, nor what no camera or program for people writes. The last two need an extra.
_NAMES = "jpg jpeg jpe jfif png webp bmp dib tif tiff jp2 j2k ppm pgm pnm avif heic heif"
PICTURE_SUFFIXES = frozenset(f".{name}" for name in _NAMES.split())
MAX_PICTURE_PIXELS = 1 << 26  # 8192 x 8192: it is alone in memory, and not one of a dozen

_HEIC = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))
_WITH_EXIF = ("jpeg", "png", "webp", "tiff")  # as it is read here
_TIFF_JPEG = (6, 7)  # of its tag for compression
_TAG_BYTES = {3: 2, 4: 4, 5: 8, 9: 4, 10: 8}  # of a value, by its type: short, long, rational, signed ones
_WIDTH, _HEIGHT, _COMPRESSION, _MAKE, _MODEL, ORIENTATION, _DATE = 256, 257, 259, 271, 272, 274, 306
_EXIF, _GPS, _ORIGINAL_DATE = 0x8769, 0x8825, 0x9003  # the first two are places of more tags
_AT_DATE = re.compile(r"(\d{4}):(\d\d):(\d\d) (\d\d:\d\d:\d\d)")


def is_picture(path: PurePath) -> bool:
    """Whether its name is that of a picture."""
    return path.suffix.lower() in PICTURE_SUFFIXES


@dataclass(frozen=True, slots=True)
class PictureHead:
    """What a picture's file says besides its pixels; what is damaged of it is as if it were absent."""

    kind: str = ""  # "jpeg", "png", "webp", "bmp", "tiff", "heic" or "avif"; empty where it is none of these
    width: int = 0  # as stored; 0 where not known
    height: int = 0
    exif: bytes = b""  # a TIFF without a picture; of a TIFF itself, none
    icc: bytes = b""  # the colour profile
    is_whole: bool = True  # no end is missing
    orientation: int = 1  # EXIF's: 1 is upright
    taken: str = ""  # 2026-11-28T10:00:00, on the camera's clock
    camera: str = ""
    place: tuple[float, float] | None = None  # latitude, longitude, in degrees
    compression: int = 0  # of a TIFF


def read_head(path: Path) -> PictureHead:
    """Raises `SourceError` where it cannot be read."""
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            content = file.read()
    except OSError as exc:
        open_file(path).close()  # which knows the words for what is wrong
        raise SourceError(f"{path}: cannot be read ({exc.strerror or exc})") from exc
    with suppress(struct.error, IndexError, ValueError, zlib.error):
        return _head(content)
    return PictureHead(is_whole=False)


def _head(content: bytes) -> PictureHead:
    if content.startswith(b"\xff\xd8"):
        return _jpeg(content)
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(content)
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return _webp(content)
    if content.startswith(b"BM"):
        width, height = struct.unpack_from("<ii", content, 18)
        return PictureHead("bmp", abs(width), abs(height))
    if content[:4] in (b"II*\0", b"MM\0*"):
        tags = tags_of(content)
        size = (int(tags.get(tag, 0)) for tag in (_WIDTH, _HEIGHT))
        return _noted(content, "tiff", *size, compression=int(tags.get(_COMPRESSION, 1)))
    if content[4:8] == b"ftyp":
        return PictureHead("avif" if content[8:12] in (b"avif", b"avis") else "heic" if content[8:12] in _HEIC else "")
    return PictureHead()


def _noted(notes: bytes, kind: str, width: int, height: int, **more: Any) -> PictureHead:
    tags: dict[int, Any] = {}
    with suppress(struct.error, ValueError):
        tags = tags_of(notes) if notes else {}
    orientation = tags.get(ORIENTATION, 1)
    date = _AT_DATE.match(str(tags.get(_ORIGINAL_DATE) or tags.get(_DATE, "")))
    camera = " ".join(filter(None, (str(tags.get(tag, "")).strip() for tag in (_MAKE, _MODEL))))
    return PictureHead(
        kind,
        width,
        height,
        orientation=orientation if orientation in range(1, 9) else 1,
        taken="{}-{}-{}T{}".format(*date.groups()) if date else "",
        camera=camera,
        place=_place(tags),
        **more,
    )


def _jpeg(content: bytes) -> PictureHead:
    width = height = 0
    exif, profile = b"", {}
    for marker, begin, end in segments(content):
        body = content[begin:end]
        if marker in range(0xC0, 0xD0) and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", body, 1)
        elif marker == 0xE1 and body.startswith(b"Exif\0\0"):
            exif = exif or body[6:]
        elif marker == 0xE2 and body.startswith(b"ICC_PROFILE\0"):
            profile[body[12]] = body[14:]
        elif marker == 0xDA:  # what follows is compressed, and holds no other end
            icc = b"".join(profile[number] for number in sorted(profile))
            whole = content.find(b"\xff\xd9", end) >= 0
            return _noted(exif, "jpeg", width, height, exif=exif, icc=icc, is_whole=whole)
    return PictureHead("jpeg", width, height, is_whole=False)


def segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, begin and end of what each segment of a JPEG holds, up to the first scan."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        (size,) = struct.unpack_from(">H", content, at + 2)
        yield marker, at + 4, at + 2 + size
        at += 2 + size


def _png(content: bytes) -> PictureHead:
    width, height = struct.unpack_from(">II", content, 16)
    exif, icc, at, kind = b"", b"", 8, b""
    while kind != b"IEND" and at + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        if kind == b"eXIf":
            exif = content[at + 8 : at + 8 + size]
        elif kind == b"iCCP":
            icc = zlib.decompressobj().decompress(content[at + 8 : at + 8 + size].split(b"\0", 1)[1][1:], 1 << 24)
        at += 12 + size
    return _noted(exif, "png", width, height, exif=exif, icc=icc, is_whole=kind == b"IEND")


def _webp(content: bytes) -> PictureHead:
    width = height = 0
    exif, icc, at = b"", b"", 12
    while at + 8 <= len(content):
        kind, size = struct.unpack_from("<4sI", content, at)
        body = content[at + 8 : at + 8 + size]
        if kind == b"VP8X":
            width, height = (int.from_bytes(body[begin : begin + 3], "little") + 1 for begin in (4, 7))
        elif kind == b"EXIF":
            exif = body.removeprefix(b"Exif\0\0")
        elif kind == b"ICCP":
            icc = body
        elif kind == b"VP8 " and not width:
            width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", body, 6))
        elif kind == b"VP8L" and not width:
            bits = int.from_bytes(body[1:5], "little")
            width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        at += 8 + size + size % 2
    return _noted(exif, "webp", width, height, exif=exif, icc=icc)


def tags_of(exif: bytes) -> dict[int, Any]:
    """The tags of EXIF with their values: text, number, or a list of numbers.

    Raises:
        struct.error, ValueError: it is damaged.
    """
    (first,) = struct.unpack_from(f"{byte_order(exif)}I", exif, 4)
    tags = dict(_directory(exif, first))
    for more in (_EXIF, _GPS):
        if isinstance(tags.get(more), int):
            with suppress(struct.error, ValueError):  # of which the rest is as good
                # The tags of places are numbers from 0 on, which no picture's have.
                tags |= dict(_directory(exif, tags[more]))
    return tags


def byte_order(exif: bytes) -> str:
    """As `struct` writes it."""
    return "<" if exif[:2] == b"II" else ">"


def entries(exif: bytes, at: int) -> Iterator[tuple[int, int, int, int]]:
    """Of each entry of a directory: its tag, its value's type, how many there are, and where the first is."""
    order = byte_order(exif)
    (count,) = struct.unpack_from(f"{order}H", exif, at)
    for place in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, length = struct.unpack_from(f"{order}HHI", exif, place)
        is_beside = length * _TAG_BYTES.get(kind, 1) <= 4
        yield tag, kind, length, place + 8 if is_beside else struct.unpack_from(f"{order}I", exif, place + 8)[0]


def _directory(exif: bytes, at: int) -> Iterator[tuple[int, Any]]:
    order = byte_order(exif)
    for tag, kind, length, where in entries(exif, at):
        if kind == 2:
            yield tag, exif[where : where + length].split(b"\0")[0].decode("utf-8", "replace")
        elif kind in (3, 4) and length:
            yield tag, struct.unpack_from(f"{order}{'H' if kind == 3 else 'I'}", exif, where)[0]
        elif kind == 5 and length <= 3:
            pairs = struct.unpack_from(f"{order}{2 * length}I", exif, where)
            yield tag, [above / below if below else 0.0 for above, below in zip(pairs[::2], pairs[1::2], strict=True)]


def _place(tags: dict[int, Any]) -> tuple[float, float] | None:
    """Tags 1 and 3 say whether it is south or west, 2 and 4 have degrees, minutes and seconds."""
    values = []
    for tag, back in ((2, "S"), (4, "W")):
        parts = tags.get(tag)
        if not isinstance(parts, list) or len(parts) != 3:
            return None
        degrees = parts[0] + parts[1] / 60 + parts[2] / 3600
        values.append(-degrees if str(tags.get(tag - 1)).upper().startswith(back) else degrees)
    return (values[0], values[1]) if any(values) else None


class PictureSource:
    """A `Source` that reads a picture.

    Args:
        path: of its file.
        max_pixels: a larger one is not decoded.

    Raises:
        SourceError: not there, no picture, too large, or nothing of it can be decoded.
    """

    def __init__(self, path: Path, *, max_pixels: int = MAX_PICTURE_PIXELS) -> None:
        self.undecodable = self.dropped = 0
        self.missing_s = Fraction(0)
        self.failure = None
        self.head = head = read_head(path)
        if head.width * head.height > max_pixels:
            raise SourceError(_too_large(path, head.width, head.height, max_pixels))
        self._damaged, codec, orientation = False, head.kind, 1
        if head.kind == "heic":
            picture = _by_pillow(path, max_pixels)
        elif head.kind == "tiff" and head.compression in _TIFF_JPEG:
            picture = _by_opencv(path)
        else:
            picture, self._damaged, codec = _by_ffmpeg(path, max_pixels)
            self._damaged |= not head.is_whole  # FFmpeg fills up what is missing of a JPEG
            orientation = head.orientation if head.kind in _WITH_EXIF else 0
        pixels = picture.format.name
        self._picture = Display(orientation)(picture)
        self.info = VideoInfo(
            width=self._picture.width,
            height=self._picture.height,
            rate=None,
            frame_count=1,
            duration=None,
            time_base=Fraction(1, 25),
            rotation=0,
            sample_aspect_ratio=Fraction(1),
            codec=codec,
            pixel_format=pixels,
            has_audio=False,
            live=False,
            taken=head.taken,
            place=head.place,
        )

    def frames(self, input_size: InputSize, *, place: Place | None = None) -> Iterator[Frame]:  # noqa: ARG002 - of videos
        size = input_size(self.info)
        yield Frame(
            index=0,
            pts=0,
            time_base=self.info.time_base,
            picture=self._picture,
            input=network_input(self._picture, size, VideoReformatter()),
            info=self.info,
            damaged=self._damaged,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _by_ffmpeg(path: Path, max_pixels: int) -> tuple[av.VideoFrame, bool, str]:
    """The picture, whether it is damaged, and the name of its codec."""
    try:
        decoder = FileDecoder(path, hardware=None, max_pixels=max_pixels, stream=None)
    except SourceError as exc:
        told = str(exc).replace("not a video", "not a picture")  # but text, empty, ...
        raise SourceError(told.replace("for its video; make it H.264", "for it; make it a PNG")) from exc
    try:
        picture = decoder.first()
        return picture, decoder.is_damaged(picture), decoder.stream.codec_context.name
    finally:
        decoder.close()


def _by_opencv(path: Path) -> av.VideoFrame:
    picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)  # upright
    if picture is None:
        raise SourceError(f"{path}: cannot be decoded; is the file complete?")
    return av.VideoFrame.from_ndarray(np.asarray(picture, np.uint8), format="bgr24")


def _by_pillow(path: Path, max_pixels: int) -> av.VideoFrame:
    try:
        import pillow_heif
    except ImportError as exc:
        raise SourceError(f"{path}: a HEIC, which needs pillow-heif: {install_command('heic')}") from exc
    try:
        heif = pillow_heif.open_heif(path)
        width, height = heif.size
        if width * height > max_pixels:
            raise SourceError(_too_large(path, width, height, max_pixels))
        pixels = np.asarray(heif)  # upright
    except (OSError, ValueError, SyntaxError, EOFError, RuntimeError) as exc:
        raise SourceError(f"{path}: cannot be decoded ({first_line(exc)}); is the file complete?") from exc
    colors = np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels[..., :3]
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(colors), format="rgb24")


def _too_large(path: Path, width: int, height: int, max_pixels: int) -> str:
    most = f"--max-pixels {max_pixels}; --max-pixels {width * height} takes it"
    return f"{path}: a picture of {width}x{height} is larger than {most}"
