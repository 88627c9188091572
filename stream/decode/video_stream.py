"""Which stream of a container is the video, and what is known of it before it is decoded."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from ..errors import SourceError
from ..frames import VideoInfo
from .display import rotation

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
    return VideoInfo(
        width=width,
        height=height,
        rate=stream.average_rate or stream.guessed_rate or None,  # PyAV gives 0 or None where it does not know
        frame_count=stream.frames or None,
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


def _duration(container: InputContainer, stream: VideoStream) -> Fraction | None:
    if stream.duration and stream.time_base:
        return Fraction(stream.duration * stream.time_base)
    return Fraction(container.duration, av.time_base) if container.duration else None
