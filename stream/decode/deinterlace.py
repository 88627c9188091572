"""Interlaced pictures made whole: the two moments that lie in one picture's rows become one, by FFmpeg's `bwdif`.

A picture is made from itself and its neighbours alone, so it is the same wherever decoding began. One is held back, as
the next is needed for it; pictures that are whole already cost nothing until the first one comes that is not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Generic, Literal, TypeVar

import av
from av.filter import Graph
from av.video.stream import VideoStream

Deinterlace = Literal["auto", "on", "off"]

T = TypeVar("T")

_MIN_SIDE = 16  # smaller planes than of that, with any chroma, the filter does not take
_INTERLACED = range(2, 6)  # AVFieldOrder: first the top or the bottom field
_TELLING = ("h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4", "vc1", "wmv3")  # codecs that say it of each picture


def how_to_deinterlace(wanted: Deinterlace, stream: VideoStream) -> Deinterlace:
    """What is wanted; "on" where only the container says that the pictures are interlaced, and all are."""
    context = stream.codec_context
    if wanted == "auto" and context.field_order in _INTERLACED and context.name not in _TELLING:
        return "on"
    return wanted


def deinterlaced(
    items: Iterable[T],
    how: Deinterlace,
    *,
    picture_of: Callable[[T], av.VideoFrame],
    replaced: Callable[[T, av.VideoFrame], T],
) -> Iterator[T]:
    """The items, as many and in the same order, each picture a whole one; their times and marks stay.

    Args:
        items: with the pictures of one video.
        how: "auto" for the pictures that say that they are interlaced, "on" for all.
        picture_of: the picture of an item.
        replaced: the item with another picture.
    """
    bwdif: _Bwdif[T] | None = None
    for item in items:
        picture = picture_of(item)
        if bwdif and bwdif.shape != _shape(picture):
            yield from (replaced(*done) for done in bwdif.rest())
            bwdif = None
        if bwdif is None:
            is_whole = how == "off" or not (how == "on" or picture.interlaced_frame)
            if is_whole or min(picture.width, picture.height) < _MIN_SIDE:
                yield item
                continue
            bwdif = _Bwdif(picture, how)
        yield from (replaced(*done) for done in bwdif.add(item, picture))
    if bwdif:
        yield from (replaced(*done) for done in bwdif.rest())


class _Bwdif(Generic[T]):
    """The filter, for pictures of one size and format, and what it holds back."""

    def __init__(self, picture: av.VideoFrame, how: Deinterlace) -> None:
        self.shape = _shape(picture)
        self._held: deque[tuple[T, av.VideoFrame]] = deque()
        self._graph = Graph()
        self._graph.threads = 1  # as swscale's, which the filter's formats may need
        width, height, _ = self.shape
        source = self._graph.add_buffer(width=width, height=height, format=picture.format, time_base=picture.time_base)
        chosen = "interlaced" if how == "auto" else "all"
        bwdif = self._graph.add("bwdif", mode="send_frame", parity="auto", deint=chosen)
        self._graph.link_nodes(source, bwdif, self._graph.add("buffersink")).configure()

    def add(self, item: T, picture: av.VideoFrame) -> Iterator[tuple[T, av.VideoFrame]]:
        """Give it the next one; the items that are done by then, with their pictures."""
        self._held.append((item, picture))
        self._graph.vpush(picture)
        return self._done()

    def rest(self) -> Iterator[tuple[T, av.VideoFrame]]:
        """No more follow."""
        self._graph.vpush(None)
        return self._done()

    def _done(self) -> Iterator[tuple[T, av.VideoFrame]]:
        with suppress(BlockingIOError, EOFError):  # it waits for more; it is at its end
            while True:
                whole = self._graph.vpull()
                item, picture = self._held.popleft()
                whole.pts, whole.time_base, whole.duration = picture.pts, picture.time_base, picture.duration
                whole.color_range = picture.color_range  # the graph knows of none, and gives gray one
                yield item, whole


def _shape(picture: av.VideoFrame) -> tuple[int, int, str]:
    return picture.width, picture.height, picture.format.name
