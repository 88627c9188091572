"""Masks in the colours of their classes, to look at: PNGs, or one lossless video. A legend says which is which."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from itertools import count
from pathlib import Path

import av
import cv2
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from ..archive.png import png
from ..decode.pixels import converted
from ..encode.carried import COMMENT
from ..encode.legend import legend_picture
from ..errors import OutputError
from ..spec import Color, PixelClass
from ..system.disk import PartialOutput, writing
from ..system.talk import cell_text
from .frames import LabelledFrame, LabelTable
from .tree import Tree

log = logging.getLogger(__name__)

VIDEO_SUFFIXES = (".mkv", ".mp4")
_ANY_RATE = 25  # encoders ask for one; times are the masks' own
_LEGEND_HEIGHT = 720  # of the frame that the legend would be drawn into

# Suffix: encoder, pixel format, options. RGB is kept as it is, so every colour is exactly that of its class.
_ENCODINGS = {
    ".mkv": ("ffv1", "bgr0", {"level": "3", "slicecrc": "1"}),
    ".mp4": ("libx264rgb", "bgr24", {"qp": "0", "preset": "veryfast"}),
}

BLACK: Color = (0, 0, 0)  # what has no label


class ColorPngWriter:
    """A `LabelWriter`."""

    def __init__(self, tree: Tree, table: LabelTable) -> None:
        self._tree = tree
        self._classes = distinctly_colored(table.classes)
        self._lookup = color_table(self._classes)

    def add(self, frame: LabelledFrame) -> None:
        self._tree.add(f"{frame.name}.png", color_png(frame.labels, self._lookup))

    def finish(self) -> None:
        legend = legend_picture(self._classes, _LEGEND_HEIGHT, _LEGEND_HEIGHT)
        self._tree.add_table("legend.csv", _legend(self._classes))
        self._tree.add_table("legend.png", png(legend[..., 2::-1]))


class ColorVideoWriter:
    """A `LabelWriter` of a video whose masks all have one size. Made by `color_video`."""

    def __init__(self, path: Path, container: OutputContainer, classes: Sequence[PixelClass]) -> None:
        self._path = path
        self._container = container
        self._encoder, self._format, self._options = _ENCODINGS[path.suffix.lower()]
        self._lookup = color_table(classes)
        self._stream: VideoStream | None = None

    def add(self, frame: LabelledFrame) -> None:
        stream = self._stream or self._open(frame)
        record = frame.record
        if (record.width, record.height) != (stream.width, stream.height):
            raise OutputError(
                f"{self._path}: the picture size changes at frame {record.index}, which a video cannot follow; "
                "name a folder or a .zip"
            )
        picture = av.VideoFrame.from_ndarray(colored(frame.labels, self._lookup), format="bgr24")
        picture = converted(picture, self._format)
        picture.pts, picture.time_base = record.pts - self._shift, record.time_base
        self._container.mux(stream.encode(picture))

    def _open(self, first: LabelledFrame) -> VideoStream:
        record = first.record
        self._shift = min(record.pts, 0)  # times below 0 are not shown by players
        stream = self._container.add_stream(self._encoder, rate=_ANY_RATE, options=self._options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = record.width, record.height, self._format
        stream.time_base = stream.codec_context.time_base = record.time_base
        self._stream = stream
        return stream

    def finish(self) -> None:
        if self._stream:
            self._container.mux(self._stream.encode(None))


@contextmanager
def color_video(path: Path, table: LabelTable, *, time_base: Fraction, overwrite: bool) -> Iterator[ColorVideoWriter]:
    """Write a .mkv or .mp4 with `FILE.legend.csv` beside it; both are there if it comes to its end, else neither.

    `time_base` is that of the masks: an .mp4 then has their very times.
    """
    legend = PartialOutput(legend_path(path), overwrite=overwrite)
    classes = distinctly_colored(table.classes)
    timescale = {"video_track_timescale": str(time_base.denominator)} if path.suffix.lower() == ".mp4" else {}
    with legend, PartialOutput(path, overwrite=overwrite) as video, writing(path):
        legend.path.write_bytes(_legend(classes))
        with av.open(video.path, "w", container_options=timescale) as container:
            container.metadata["comment"] = COMMENT
            writer = ColorVideoWriter(path, container, classes)
            yield writer
            writer.finish()
        video.used = legend.used = True


def legend_path(video: Path) -> Path:
    return video.with_name(f"{video.name}.legend.csv")


def _legend(classes: Sequence[PixelClass]) -> bytes:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("class", "red", "green", "blue"))
    rows.writerows((cell_text(item.name), *item.color) for item in classes)
    rows.writerow(("", *BLACK))
    return text.getvalue().encode()


def distinctly_colored(classes: Sequence[PixelClass]) -> tuple[PixelClass, ...]:
    """The classes, no colour twice and none black; which are others than the classes' own is told in warnings."""
    own = {item.color for item in classes}
    colors: list[Color] = []
    for item in classes:
        color = item.color
        if color == BLACK or color in colors:
            why = "which is what has no label" if color == BLACK else "which another class has"
            color = next(free for free in map(_voc_color, count(1)) if free not in own and free not in colors)
            log.warning("class %s gets the colour %s in place of %s, %s", item.name, color, item.color, why)
        colors.append(color)
    return tuple(replace(item, color=color) for item, color in zip(classes, colors, strict=True))


def color_table(classes: Sequence[PixelClass]) -> NDArray[np.uint8]:
    """(256, 3) blue, green, red of each label, as OpenCV has them; label 0 is black."""
    table = np.zeros((256, 3), np.uint8)
    table[1 : len(classes) + 1] = [item.color[::-1] for item in classes]
    return table


def colored(labels: NDArray[np.uint8], table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(height, width, 3) blue, green, red."""
    return np.asarray(cv2.merge([cv2.LUT(labels, table[:, channel]) for channel in range(3)]), np.uint8)


def color_png(labels: NDArray[np.uint8], table: NDArray[np.uint8]) -> bytes:
    return png(colored(labels, table))


def _voc_color(number: int) -> Color:
    """Of Pascal VOC's palette: the number's bits go to red, green and blue in turn, into their highest bits first."""
    channels = [0, 0, 0]
    for bit in range(24):
        channels[bit % 3] |= (number >> bit & 1) << (7 - bit // 3)
    return channels[0], channels[1], channels[2]
