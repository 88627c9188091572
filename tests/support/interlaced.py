"""A scene filmed progressively, and as an interlaced camera sees it: every other row half a frame later."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

SIZE = (96, 128)
_FLAGS = 1 << 18 | 1 << 29  # FFmpeg's ildct and ilme: to code the two fields of a picture apart


def scene(moment: float) -> NDArray[np.uint8]:
    """RGB; things move to the right by 6 pixels in a moment."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    light = 110 + 50 * np.sin((columns - 6 * moment) / 9) + 40 * np.sin((rows + columns - 6 * moment) / 13)
    light[30:60][(columns[30:60] - 6 * moment) % 64 < 20] = 230
    return np.repeat(np.clip(light, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def woven(number: int) -> NDArray[np.uint8]:
    """The lower field is the earlier one, as x264 marks them where it is not told."""
    picture = scene(number)
    picture[::2] = scene(number + 0.5)[::2]
    return picture


def film(
    path: Path, count: int, *, interlaced: bool, codec: str = "libx264", pixels: str = "yuv420p", field_order: int = 0
) -> Path:
    with av.open(path, "w") as container:
        stream: Any = container.add_stream(codec, rate=25, options={"crf": "8", "preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt, stream.gop_size = *SIZE, pixels, 10
        if interlaced and codec == "libx264":
            stream.codec_context.flags |= _FLAGS
        if field_order:
            stream.codec_context.field_order = field_order
        for number in range(count):
            pixels_of = woven if interlaced else scene
            picture = av.VideoFrame.from_ndarray(pixels_of(number), "rgb24").reformat(format=pixels, threads=1)
            picture.pts, picture.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path
