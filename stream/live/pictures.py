"""A result in the forms that browsers and players take.

The page mixes picture and mask itself, so they travel apart, in one message:

    3 x uint32, big-endian   bytes of each part that follows
    header                   JSON
    picture                  JPEG
    mask                     class ids: each row XOR the one above, all of it deflated (zlib)

A PNG of the mask would be larger, take four times as long to make, and in browsers that garble what a canvas gives
back, against fingerprinting, its ids would be wrong. XOR alone makes equal rows zeros, and is undone as easily.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from numpy.typing import NDArray

from ..decode.pixels import color_range, converted, matrix
from ..encode.overlay import Style, mixed
from ..frames import SegmentedFrame
from ..spec import PixelClass

_QUALITY = 75  # of JPEG, seen once; a snapshot is kept
_KEPT_QUALITY = 93
_MJPEG_ALPHA = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A picture and its mask at the size they are shown at, with square pixels."""

    picture: NDArray[np.uint8]  # (height, width, 3) BGR, as OpenCV's encoders take it
    mask: NDArray[np.uint8]  # (height, width)


def shown(result: SegmentedFrame, reformatter: VideoReformatter, *, max_width: int | None = None) -> Shown:
    """The result at most `max_width` wide, never larger than it is but for what makes its pixels square."""
    picture = result.frame.picture
    full_width = max(round(picture.width * result.frame.info.sample_aspect_ratio), 1)
    width = min(full_width, max_width or full_width)
    height = max(round(picture.height * width / full_width), 1)
    small = converted(
        picture,
        "bgr24",
        reformatter,
        size=(height, width),
        of=(matrix(picture), color_range(picture)),
        to=(None, ColorRange.JPEG),
        interpolation=Interpolation.BILINEAR,
    )
    mask = cv2.resize(result.mask, (width, height), interpolation=cv2.INTER_NEAREST)
    return Shown(np.asarray(small.to_ndarray(), np.uint8), np.asarray(mask, np.uint8))


def message(picture: Shown, header: Mapping[str, object]) -> bytes:
    """For the page; see above."""
    height, width = picture.mask.shape
    parts = (
        json.dumps({**header, "width": width, "height": height}).encode(),
        _jpeg(picture.picture, _QUALITY),
        packed(picture.mask),
    )
    return struct.pack(">3I", *map(len, parts)) + b"".join(parts)


def packed(mask: NDArray[np.uint8]) -> bytes:
    """The ids of a mask, as the page takes them."""
    changes = mask.copy()
    changes[1:] ^= mask[:-1]
    # Runs only: matches elsewhere are rare in a mask, and cost as much to look for as they save.
    compressor = zlib.compressobj(1, strategy=zlib.Z_RLE)
    return compressor.compress(changes.tobytes()) + compressor.flush()


def overlay_jpeg(picture: Shown, classes: Sequence[PixelClass], style: Style) -> bytes:
    """All classes over the picture, for players that can do no more than show it."""
    return _jpeg(mixed(picture.picture, picture.mask, classes, alpha=_MJPEG_ALPHA, style=style, bgr=True), _QUALITY)


def snapshot(
    result: SegmentedFrame,
    classes: Sequence[PixelClass],
    *,
    alpha: float,
    style: Style,
    drawn: Sequence[bool],
    suffix: str,
) -> bytes:
    """The result at its full size, as .jpg or .png."""
    full = shown(result, VideoReformatter())
    picture = mixed(full.picture, full.mask, classes, alpha=alpha, style=style, drawn=drawn, bgr=True)
    return _jpeg(picture, _KEPT_QUALITY) if suffix == ".jpg" else _encoded(suffix, picture, [])


def _jpeg(picture: NDArray[np.uint8], quality: int) -> bytes:
    return _encoded(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])


def _encoded(suffix: str, picture: NDArray[np.uint8], options: list[int]) -> bytes:
    done, content = cv2.imencode(suffix, picture, options)
    if not done:
        raise ValueError(f"no {suffix} can be made of {picture.shape[1]}x{picture.shape[0]} pixels")
    return content.tobytes()
