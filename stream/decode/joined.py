"""What was joined to a transport stream, byte by byte, and has other numbers (PIDs) for its streams.

FFmpeg gives the packets of each number as a stream of its own, and PyAV only those of streams that it found when the
file was opened. So where a video's packets leave out a part of the file, and behind the last of them, another one may
stand: it is opened there, and read in its turn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from .opening import open_container
from .video_stream import pixels_of

_SEVERAL = 8  # pictures of another video between two of this one, and it is joined; fewer, and it runs beside it
# Bytes without a picture that are looked into for a video that PyAV does not know of; what fills a stream, so that it
# is sent at one rate, is looked into a few times, and then believed.
_LEFT_OUT, _MOST_LOOKS = 1 << 18, 20


class Gap(NamedTuple):
    """A part of the file in which the video has no packets."""

    begin: int
    end: int
    beside: frozenset[int]  # numbers of other videos, whose packets come between those of this one


def packets_and_gaps(
    packets: Iterable[av.Packet[Any]], stream: VideoStream, end: int
) -> Iterator[av.Packet[VideoStream] | Gap]:
    """Of the packets of several videos those of `stream`, and where another one may stand, up to byte `end`."""
    beside: frozenset[int] = frozenset()
    others: list[tuple[int, int]] = []  # position and number, of packets that are behind the last one of this video
    at, looks = None, 0
    for packet in packets:
        position = packet.pos
        is_behind = position is not None and position >= end
        if packet.stream_index != stream.index:
            if position is not None and not is_behind:
                others.append((position, packet.stream.id))
            continue
        if is_behind:
            break
        if position is not None:
            # A video's last packet before a gap is known to be whole, and given, only when the next one begins.
            between = Counter(number for place, number in others if (at or 0) <= place < position)
            others = [(place, number) for place, number in others if place >= position]
            is_left_out = at is not None and position - at > _LEFT_OUT and not between and looks < _MOST_LOOKS
            strangers = {number: count for number, count in between.items() if number not in beside}
            if at is not None and (is_left_out or max(strangers.values(), default=0) > _SEVERAL):
                looks += 1
                yield Gap(at, position, beside)
            else:
                beside = beside.union(between)
            at = position + packet.size
        yield packet
    if at is not None and at < end:
        yield Gap(at, end, beside)


def video_within(
    path: Path, gap: Gap, stream: VideoStream, *, max_pixels: int
) -> tuple[InputContainer, VideoStream] | None:
    """Another video than `stream` that begins there: the file from there on, and its stream."""
    try:
        container = open_container(path, max_pixels=max_pixels, begin=gap.begin)
    except (av.FFmpegError, OSError):
        return None
    for other in container.streams.video:
        if other.id != stream.id and other.id not in gap.beside and pixels_of(other):
            return container, other
    container.close()
    return None
