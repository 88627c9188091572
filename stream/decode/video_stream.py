"""Which stream of a container is the video, and what is known of its pictures before they are decoded."""

from __future__ import annotations

import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from ..errors import SourceError
from ..frames import VideoInfo
from .display import rotation
from .opening import open_container

_LENGTH_SIZE_AT = {"h264": 4, "hevc": 21}  # where a codec's header says in how many bytes its units' lengths are
_SENT = ("mpegts", "mpeg")  # formats in which packets get lost, and a gap in their times is all that is left of them
_MOST_ASPECT = 8  # of a pixel: one that is wider or higher is damage, and would make pictures of no height


def video_stream(container: InputContainer, name: Path | str, number: int | None = None) -> VideoStream:
    """The video stream of that number, from 0; without one, the default or else the largest, no cover picture.

    Raises:
        SourceError: of `name`, that it has none which can be decoded, or none of that number.
    """
    streams = _without_covers(container)
    if number is not None:
        streams = list(container.streams.video[number : number + 1])
        if not streams:
            raise SourceError(f"{name}: has no video stream {number}; there are {len(container.streams.video)}, from 0")
    if not streams:
        raise SourceError(f"{name}: holds no video")
    stream = max(streams, key=lambda stream: (bool(stream.disposition & Disposition.default), pixels_of(stream)))
    if stream.codec_context is None:
        raise SourceError(f"{name}: no decoder for its video")
    return stream


def _without_covers(container: InputContainer) -> list[VideoStream]:
    return [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]


def pixels_of(stream: VideoStream) -> int:
    """As many as its pictures are declared to have."""
    return stream.width * stream.height if stream.codec_context is not None else 0


def info_of(container: InputContainer, stream: VideoStream, first: av.VideoFrame) -> VideoInfo:
    turn = rotation(first)
    width, height = first.width, first.height
    aspect = stream.sample_aspect_ratio or Fraction(1)
    if not 1 / _MOST_ASPECT <= aspect <= _MOST_ASPECT:
        aspect = Fraction(1)
    if turn in (90, 270):
        width, height, aspect = height, width, 1 / aspect
    assert stream.time_base is not None, "every stream that gave a frame has one"
    count, note = _counted(container, stream)
    return VideoInfo(
        width=width,
        height=height,
        rate=stream.average_rate or stream.guessed_rate or None,  # PyAV gives 0 or None where it does not know
        frame_count=count,
        count_note=note,
        duration=_duration(container, stream),
        time_base=Fraction(stream.time_base),
        rotation=turn,
        sample_aspect_ratio=Fraction(aspect),
        codec=stream.codec_context.name,
        pixel_format=first.format.name,
        has_audio=bool(container.streams.audio),
        live=False,
        stream=container.streams.video.index(stream),
        streams=len(_without_covers(container)),
    )


def _counted(container: InputContainer, stream: VideoStream) -> tuple[int | None, str]:
    """How many pictures the file holds, as its index tells; and why that is not what it declares."""
    declared, entries = stream.frames, stream.index_entries
    if not declared:
        return None, f"not counted: {container.format.name} declares none, and decoding tells"
    if len(entries) < declared:
        return declared, "as declared: the index does not tell of all"
    left_out = sum(entry.is_discard for entry in entries)
    empty = sum(not entry.size for entry in entries)
    missing = sum(entry.size > 0 and entry.pos + entry.size > container.size for entry in entries)
    reasons = [(left_out, "left out by an edit list"), (empty, "empty"), (missing, "behind the end of the file")]
    note = ", ".join(f"{count} {reason}" for count, reason in reasons if count)
    count = sum(
        entry.size > 0 and not entry.is_discard and entry.pos + entry.size <= container.size for entry in entries
    )
    return count, f"{declared} declared: {note}" if note else ""


def picture_times(
    path: Path, number: int | None, reached: Callable[[int], bool] = lambda _: False
) -> tuple[list[int], Fraction] | None:
    """The pts of the pictures in order, and their unit, as the packets tell: quick, as nothing is decoded.

    Args:
        path: of the file.
        number: of the video stream.
        reached: whether a pts is enough: the first one to be so is the last of the list.

    Returns:
        `None` where they cannot be relied on: not each is a picture that is shown at a time of its own.
    """
    pts: set[int] = set()
    last: int | None = None  # the first that is enough
    highest, due = -sys.maxsize, sys.maxsize
    try:
        with open_container(path) as container:
            stream = video_stream(container, path, number)
            if stream.time_base is None:
                return None
            is_whole = _wholeness(stream)
            for packet in container.demux(stream):
                if packet.size == 0 or packet.is_discard:
                    continue
                if packet.pts is None or packet.is_corrupt or packet.pts in pts or not is_whole(packet):
                    return None
                highest = max(highest, packet.pts)
                if highest - packet.pts > 1 / stream.time_base:
                    return None  # a clock that starts again, as `FrameClock` has it
                if packet.dts is not None:
                    if last is not None and packet.dts > last:
                        break  # all that follow are shown later
                    if packet.dts > due:
                        return None
                    if packet.duration and container.format.name in _SENT:
                        due = packet.dts + 2 * packet.duration
                pts.add(packet.pts)
                if reached(packet.pts):
                    last = packet.pts if last is None else min(last, packet.pts)
            times = sorted(time for time in pts if last is None or time <= last)
            return (times, Fraction(stream.time_base)) if times else None
    except (av.FFmpegError, OSError):
        return None  # decoding finds out how much of it can be read, and tells


def _wholeness(stream: VideoStream) -> Callable[[av.Packet[VideoStream]], bool]:
    """What tells whether a packet is a picture that is shown, as far as that can be seen without decoding it."""
    head, name = stream.codec_context.extradata or b"", stream.codec_context.name
    if name == "vp8":
        return lambda packet: bool(memoryview(packet)[0] & 0x10)  # others are only referred to
    if name in ("mpeg1video", "mpeg2video", "mpeg4") or (name in _LENGTH_SIZE_AT and head[:1] != b"\x01"):
        return lambda packet: bytes(memoryview(packet)[:4]).lstrip(b"\0")[:1] == b"\1"  # a start code
    if name not in _LENGTH_SIZE_AT:
        return lambda _: True
    size = (head[_LENGTH_SIZE_AT[name]] & 3) + 1

    def is_filled(packet: av.Packet[VideoStream]) -> bool:
        """Whether the lengths before its units lead to its end."""
        content, at = memoryview(packet), 0
        while at < len(content):
            unit = int.from_bytes(content[at : at + size], "big")
            if not unit:
                return False
            at += size + unit
        return at == len(content)

    return is_filled


def _duration(container: InputContainer, stream: VideoStream) -> Fraction | None:
    if stream.duration and stream.time_base:
        return Fraction(stream.duration * stream.time_base)
    return Fraction(container.duration, av.time_base) if container.duration else None
