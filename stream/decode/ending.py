"""Whether a file has ended where it says: a recording that was cut off tells its full length to the end."""

from __future__ import annotations

import re
from fractions import Fraction

import av
from av.container import InputContainer
from av.video.stream import VideoStream

_LEAST_FRAMES = 2  # fewer are what containers round away
_LEAST_S = Fraction(1, 10)
_UNDECLARED = ("mpegts", "mpeg")  # FFmpeg tells what it finds at their ends


def declared_s(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """Seconds that the pictures are declared to last; `None` where a file says nothing of them alone.

    To be asked before reading: some demuxers learn more on the way.
    """
    if container.format.name in _UNDECLARED:
        return None
    if container.format.name == "avi" and stream.frames and stream.average_rate:
        return stream.frames / stream.average_rate  # FFmpeg sets the duration right where the file is cut off
    if stream.duration and stream.time_base:
        return Fraction(stream.duration * stream.time_base)
    if match := re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", "")):  # Matroska
        hours, minutes, seconds = map(Fraction, match.groups())
        return hours * 3600 + minutes * 60 + seconds
    if container.duration and len(container.streams) == 1:
        return Fraction(container.duration, av.time_base)
    return None


def missing_s(declared_s: Fraction | None, had_s: Fraction, rate: Fraction | None) -> Fraction:
    """How much earlier than declared the pictures ended; 0 where no more than rounding."""
    if declared_s is None:
        return Fraction(0)
    missing = declared_s - had_s
    return missing if missing > max(_LEAST_S, Fraction(_LEAST_FRAMES) / (rate or 25)) else Fraction(0)
