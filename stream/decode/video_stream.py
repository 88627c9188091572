"""Which stream of a container is the video, and what is known of its pictures before they are decoded."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
from av.container import InputContainer
from av.index import IndexEntry
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from ..errors import SourceError
from ..frames import Carried, Chapter, VideoInfo
from .display import rotation
from .opening import demuxed, open_container

_LENGTH_SIZE_AT = {"h264": 4, "hevc": 21}  # where a codec's header says in how many bytes its units' lengths are
# What programs call any track of pictures, as "VideoHandler", "Core Media Video", "GPAC ISO Video Handler".
_NO_TITLE = re.compile(r"(?i).*(handler|media|gpac|mainconcept|isomedia|apple|avc|hevc|h\.?26\d).*|vide|video|track.*")
_MOST_TITLE = 40  # characters, of which a name is made
_SENT = ("mpegts", "mpeg")  # formats in which packets get lost, and a gap in their times is all that is left of them
DISCARD_ALL = 48  # of a stream: no packets of it are wanted; PyAV knows of it from 18 on
_MOST_ASPECT = 8  # of a pixel: one that is wider or higher is damage, and would make pictures of no height


def video_stream(container: InputContainer, name: Path | str, number: int | None = None) -> VideoStream:
    """The video stream of that number, from 0; without one, the default or else the largest, no cover picture.

    One that declares a single picture is a cover that does not say so, where there are others.

    Raises:
        SourceError: of `name`, that it has none which can be decoded, or none of that number.
    """
    streams = _without_covers(container)
    if number is not None:
        streams = list(container.streams.video[number : number + 1])
        if not streams:
            last = len(container.streams.video) - 1
            there = f"they go from 0 to {last}" if last > 0 else "there is one, which is number 0"
            raise SourceError(f"{name}: has no video stream {number}; {there if last >= 0 else 'it holds no video'}")
    if not streams:
        raise SourceError(f"{name}: holds no video; name one that does")
    stream = max(streams, key=lambda one: (one.frames != 1, one.disposition & Disposition.default, pixels_of(one)))
    if stream.codec_context is None:
        raise SourceError(f"{name}: no decoder for its video; make it H.264 with another program")
    return stream


class Track(NamedTuple):
    """One of several videos in a file."""

    number: int  # among its video streams, from 0
    label: str  # that tells it from the others, and may be part of a file's name
    is_default: bool  # it is taken where none is named


def tracks_of(container: InputContainer, name: Path | str) -> list[Track]:
    """The videos of a file, without cover pictures. Raises `SourceError` where it holds none."""
    default, streams = video_stream(container, name), _without_covers(container)
    titles = list(map(_title, streams))
    counts = Counter(title.casefold() for title in titles)
    tracks = []
    for stream, title in zip(streams, titles, strict=True):
        number = container.streams.video.index(stream)
        label = title if title and counts[title.casefold()] == 1 else f"stream{number}"
        tracks.append(Track(number, label, stream.index == default.index))
    return tracks


def _title(stream: VideoStream) -> str:
    """Its title as a part of a file's name; empty where it has none that says something."""
    tags = {name.lower(): value for name, value in stream.metadata.items()}
    handler = tags.get("handler_name", "")
    told = tags.get("title") or tags.get("name") or ("" if _NO_TITLE.fullmatch(handler) else handler)
    title = re.sub(r"[^\w-]+", "-", told).strip("-_")
    return title if title and len(title) <= _MOST_TITLE and not title.isdecimal() else ""


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
    assert stream.time_base, "every stream that gave a frame has one"
    count, note = counted(container, stream)
    return VideoInfo(
        width=width,
        height=height,
        rate=rate_of(stream),
        frame_count=count,
        count_note=note,
        duration=duration_of(container, stream),
        time_base=Fraction(stream.time_base),
        rotation=turn,
        sample_aspect_ratio=Fraction(aspect),
        codec=stream.codec_context.name,
        pixel_format=first.format.name,
        has_audio=bool(container.streams.audio),
        live=False,
        stream=container.streams.video.index(stream),
        streams=len(_without_covers(container)),
        carried=_carried(container, stream),
    )


def rate_of(stream: VideoStream) -> Fraction | None:
    """Pictures a second, as its header or its first pictures tell."""
    # Where PyAV does not know, it gives `None`, 0, or from 19 on an `AVRational` of 0, which is false, too.
    return Fraction(stream.average_rate or stream.guessed_rate or 0) or None


def _carried(container: InputContainer, stream: VideoStream) -> Carried:
    """Of what `first_s` is only its decoder knows."""
    tags, of_pictures = dict(container.metadata), stream.metadata
    for name in ("creation_time", "timecode"):
        if name in of_pictures:
            tags.setdefault(name, of_pictures[name])
    chapters = [
        Chapter(item["start"] * unit, item["end"] * unit, dict(item["metadata"]))
        for item in container.chapters()
        if (unit := Fraction(item["time_base"] or 0))
    ]
    others = [stream for stream in container.streams if stream.type not in ("video", "audio")]
    has_tracks = not all(map(is_read_already, others))
    return Carried(tags=tags, chapters=tuple(chapters), has_tracks=has_tracks)


def is_read_already(stream: Stream) -> bool:
    """Whether it is but the names of the chapters, or a time code, which MP4 and MOV have as a track."""
    is_of_chapters = getattr(stream, "discard", None) == DISCARD_ALL  # FFmpeg has read it
    return stream.type == "data" and (is_of_chapters or "timecode" in stream.metadata)


def counted(container: InputContainer, stream: VideoStream) -> tuple[int | None, str]:
    """How many pictures the file holds, as its index tells; and why that is not what it declares."""
    declared, entries = stream.frames, stream.index_entries
    if not declared:
        return None, "the file declares no number; decoding tells"
    if entries and all(entry.is_discard for entry in entries):
        return 0, f"{declared} declared: all left out by an edit list"
    if len(entries) < declared or not entries[0].size:
        return declared, "as declared: the index does not tell of all"
    end = container.size
    fates = Counter(_fate(entry, end) for entry in entries)
    held = fates.pop("", 0)
    note = ", ".join(f"{count} {fate}" for fate, count in fates.items())
    return held, f"{declared} declared: {note}" if note else ""


def _fate(entry: IndexEntry, end: int) -> str:
    """Why a picture of the index is none of the video's, in a file of `end` bytes; empty where it is one."""
    if entry.is_discard:
        return "left out by an edit list"
    size = entry.size
    if not size:
        return "empty"
    return "behind the end of the file" if entry.pos + size > end else ""


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
    try:
        with open_container(path) as container:
            stream = video_stream(container, path, number)
            times = _told_times(container, stream, reached) if stream.time_base else None
            return (times, Fraction(stream.time_base)) if times and stream.time_base else None
    except (av.FFmpegError, OSError):
        return None  # decoding finds out how much of it can be read, and tells


def _told_times(container: InputContainer, stream: VideoStream, reached: Callable[[int], bool]) -> list[int] | None:
    assert stream.time_base
    told: set[int] = set()
    last: int | None = None  # the first that is enough
    is_whole, is_sent = _wholeness(stream), container.format.name in _SENT
    reset = round(1 / stream.time_base)  # back by more than this is a clock that starts again, as for `FrameClock`
    highest, due = -sys.maxsize, sys.maxsize
    for packet in demuxed(container, stream):
        pts, dts = packet.pts, packet.dts
        if packet.size == 0 or packet.is_discard:
            continue
        if last is not None and dts is not None and dts > last:
            break  # all that follow are shown later
        is_sure = pts is not None and pts not in told and pts >= highest - reset and (dts or 0) <= due
        if pts is None or not is_sure or packet.is_corrupt or not is_whole(packet):
            return None
        told.add(pts)
        highest = max(highest, pts)
        if is_sent and dts is not None and packet.duration:
            due = dts + 2 * packet.duration
        if reached(pts):
            last = pts if last is None else min(last, pts)
    return sorted(pts for pts in told if last is None or pts <= last)


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


def duration_of(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """In seconds, as its header has it."""
    if stream.duration and stream.time_base:
        return Fraction(stream.duration * stream.time_base)
    return Fraction(container.duration, av.time_base) if container.duration else None
