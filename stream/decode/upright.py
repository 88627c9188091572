"""Turn pictures as their display matrix says, so that everything after the decoder sees them upright.

Dashcams mounted upside down and phones write such a matrix instead of turning the pixels.
"""

from __future__ import annotations

import struct
from typing import cast

import av
from av.filter import Graph
from av.sidedata.sidedata import SideDataContainer, Type

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


def rotation(picture: av.VideoFrame) -> int:
    """Degrees counter-clockwise that a decoded picture must be turned by: 0, 90, 180 or 270."""
    return round(picture.rotation / 90) * 90 % 360


class Uprighter:
    """Turns pictures of one video; its filter graph is made again only when their shape changes."""

    def __init__(self) -> None:
        self._turn: int | None = None
        self._filters: tuple[tuple[str, str], ...] = ()
        self._shape: object = None
        self._graph: Graph | None = None

    def __call__(self, picture: av.VideoFrame) -> av.VideoFrame:
        """The picture upright; itself, untouched, where it stands upright already."""
        turn = rotation(picture)
        if turn != self._turn:
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


def _mirrored(picture: av.VideoFrame) -> bool:
    try:
        # PyAV's annotation of `side_data` knows motion vectors only.
        matrix = cast("SideDataContainer", picture.side_data)[Type.DISPLAYMATRIX]
    except KeyError:
        return False
    except ValueError:  # there is some of a kind that PyAV does not know, and it reads none then
        return False
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix))
    return bool(a * d - b * c < 0)


def _graph(picture: av.VideoFrame, filters: tuple[tuple[str, str], ...]) -> Graph:
    graph = Graph()
    source = graph.add_buffer(
        width=picture.width, height=picture.height, format=picture.format, time_base=picture.time_base
    )
    nodes = [graph.add(name, args or None) for name, args in filters]
    graph.link_nodes(source, *nodes, graph.add("buffersink")).configure()
    return graph
