"""How many frames a video has by its header, without decoding any."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction

import av

from ..decode.opening import open_file
from ..decode.video_stream import video_stream
from ..errors import SourceError
from ..frames import VideoInfo
from ..run.settings import SegmentSettings


def declared_frames(job: SegmentSettings) -> int | None:
    """How many a job will write; `None` where that is not known, or the file is no video."""
    assert job.file is not None
    with suppress(av.FFmpegError, OSError, SourceError), open_file(job.file) as container:
        stream = video_stream(container, job.file, job.stream)
        seconds = Fraction(container.duration, av.time_base) if container.duration else None
        if stream.duration and stream.time_base:
            seconds = Fraction(stream.duration * stream.time_base)
        return _expected(job, stream.frames or None, seconds, stream.average_rate or None)
    return None


def frames_of(job: SegmentSettings, info: VideoInfo) -> int | None:
    """The same of a video that has been opened."""
    return _expected(job, info.frame_count, info.duration, info.rate)


def _expected(job: SegmentSettings, count: int | None, seconds: Fraction | None, rate: Fraction | None) -> int | None:
    """As far as the container's header can be believed."""
    if count is None and seconds and rate:
        count = round(seconds * rate)
    if count is None:
        return None
    if rate is not None:
        last = count if job.end is None else min(count, round(job.end * rate))
        first = 0 if job.start is None else round(job.start * rate)
        count = max(last - first, 0)
    count = -(-count // job.stride)
    return count if job.max_frames is None else min(count, job.max_frames)
