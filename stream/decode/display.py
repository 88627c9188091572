"""Pictures as a screen shows them: upright, in standard dynamic range, limited where they say that they are."""

from __future__ import annotations

import av
import numpy as np
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

from .planes import planes_of
from .tone_map import ToneMapper
from .upright import Uprighter

_NO_COLOR = 128


class Display:
    """Makes the pictures of one video what everything after the decoder may take them for. For one thread."""

    def __init__(self) -> None:
        self._upright = Uprighter()
        self._tone_mapped = ToneMapper()

    def __call__(self, picture: av.VideoFrame) -> av.VideoFrame:
        """The picture as it is shown; itself, untouched, where it is that already."""
        return self._tone_mapped(_with_its_range(self._upright(picture)))


def _with_its_range(picture: av.VideoFrame) -> av.VideoFrame:
    """Deep gray of limited range as yuv420p: swscale takes all gray for full, which 8 bit gray is everywhere."""
    name = picture.format.name
    if not name.startswith("gray") or name.startswith("grayf") or picture.color_range != ColorRange.MPEG:
        return picture
    bits = picture.format.components[0].bits
    if bits <= 8:
        return picture
    result = av.VideoFrame(picture.width, picture.height, "yuv420p")
    light, *colors = planes_of(result)
    shift = bits - 8
    rounded = (_words(picture).astype(np.uint32) + (1 << shift >> 1)) >> shift
    light[:] = np.minimum(rounded, 255)
    for plane in colors:
        plane[:] = _NO_COLOR
    result.pts, result.time_base = picture.pts, picture.time_base
    result.colorspace, result.color_range = picture.colorspace, picture.color_range
    result.color_primaries, result.color_trc = picture.color_primaries, picture.color_trc
    return result


def _words(picture: av.VideoFrame) -> NDArray[np.uint16]:
    """The plane of a gray picture with two bytes a pixel."""
    plane = picture.planes[0]
    order = ">u2" if picture.format.is_big_endian else "<u2"
    words: NDArray[np.uint16] = np.frombuffer(memoryview(plane), order)
    return words.reshape(plane.height, plane.line_size // 2)[:, : plane.width]
