"""Pictures as a screen shows them: upright, in standard dynamic range, limited where they say so, without palettes.

Dashcams mounted upside down and phones write a display matrix instead of turning the pixels.
"""

from __future__ import annotations

import struct
from typing import cast

import av
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

from .pixels import converted, planes_of
from .tone_map import ToneMapper

_NO_COLOR = 128
_NEWER = 32  # kinds of side data that FFmpeg may have beyond PyAV's

# What `ffmpeg` does to a picture (fftools, autorotate), by counter-clockwise degrees and by whether the matrix also
# mirrors, that is, whether its determinant is negative.
_FILTERS: dict[tuple[int, bool], tuple[tuple[str, str], ...]] = {
    (0, False): (),
    (0, True): (("vflip", ""),),
    (90, False): (("transpose", "cclock"),),
    (90, True): (("transpose", "clock_flip"),),
    (180, False): (("hflip", ""), ("vflip", "")),
    (180, True): (("hflip", ""),),
    (270, False): (("transpose", "clock"),),
    (270, True): (("transpose", "cclock_flip"),),
}

# EXIF's orientations 1 to 8, as keys of these.
_ORIENTATIONS = ((0, False), (180, True), (180, False), (0, True), (270, True), (270, False), (90, True), (90, False))


class Display:
    """Makes the pictures of one video what everything after the decoder may take them for. For one thread.

    `orientation` is EXIF's, 1 to 8, where it is known; 0 for what the decoder says of each picture.
    """

    def __init__(self, orientation: int = 0) -> None:
        self._upright = Uprighter(orientation)
        self._tone_mapped = ToneMapper()

    def __call__(self, picture: av.VideoFrame) -> av.VideoFrame:
        """The picture as it is shown; itself, untouched, where it is that already."""
        if picture.format.name == "pal8":  # its planes are indices and a palette
            picture = converted(picture, "rgb24")
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


def rotation(picture: av.VideoFrame) -> int:
    """Degrees counter-clockwise that a decoded picture must be turned by: 0, 90, 180 or 270."""
    return round(picture.rotation / 90) * 90 % 360


class Uprighter:
    """Turns pictures of one video; its filter graph is made again only when their shape changes."""

    def __init__(self, orientation: int = 0) -> None:
        self._is_told = bool(orientation)
        self._turn: int | None = None
        self._filters = _FILTERS[_ORIENTATIONS[orientation - 1]] if orientation else ()
        self._shape: object = None
        self._graph: Graph | None = None

    def __call__(self, picture: av.VideoFrame) -> av.VideoFrame:
        """The picture upright; itself, untouched, where it stands upright already."""
        if not self._is_told and (turn := rotation(picture)) != self._turn:
            # Not for each picture: PyAV's side data and its frame hold each other, so a picture that was asked for
            # them stays in memory until the garbage collector comes by.
            self._turn, self._filters = turn, _FILTERS[turn, _mirrored(picture)]
        if not self._filters:
            return picture
        shape = (picture.width, picture.height, picture.format.name, self._filters)
        if self._graph is None or shape != self._shape:
            self._graph, self._shape = _graph(picture, self._filters), shape
        self._graph.vpush(picture)
        return self._graph.vpull()


def _mirrored(picture: av.VideoFrame, *, is_clean: bool = False) -> bool:
    try:
        # PyAV's annotation of `side_data` knows motion vectors only.
        matrix = cast("SideDataContainer", picture.side_data)[Type.DISPLAYMATRIX]
    except KeyError:
        return False
    except ValueError:  # there is some of a kind that PyAV does not know, as EXIF, and it reads none then
        return not is_clean and _mirrored(_without_newer(picture), is_clean=True)
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix))
    return bool(a * d - b * c < 0)


def _without_newer(picture: av.VideoFrame) -> av.VideoFrame:
    """Without side data of kinds that FFmpeg has and PyAV does not know."""
    last = max(cast("int", kind.value) for kind in Type)
    newer = range(last + 1, last + 1 + _NEWER)
    graph = _graph(picture, tuple(("sidedata", f"mode=delete:type={kind}") for kind in newer))
    graph.vpush(picture)
    return graph.vpull()


def _graph(picture: av.VideoFrame, filters: tuple[tuple[str, str], ...]) -> Graph:
    graph = Graph()
    source = graph.add_buffer(
        width=picture.width, height=picture.height, format=picture.format, time_base=picture.time_base
    )
    nodes = [graph.add(name, args or None) for name, args in filters]
    graph.link_nodes(source, *nodes, graph.add("buffersink")).configure()
    return graph
