"""How far many jobs are, how fast they go, and how long they will still take."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av

from ..camera.camera import Camera
from ..decode.opening import open_file
from ..decode.video_stream import duration_of, video_stream
from ..errors import SourceError
from ..frames import VideoInfo
from ..run.settings import SegmentSettings
from ..system.talk import utc_text
from .batch import STATES, Outcome
from .summary import absolute
from .watched import Watch

_MOST_TOLD = 30  # of those that wait, and of those that have ended
_WINDOW_S = 60.0  # over which the speed is measured
_SAMPLE_S = 1.0
_Key = tuple[Path | Camera, int | None]  # a job's source and the stream of it


@dataclass(slots=True)
class Running:
    """A job at work."""

    name: str  # of the source, for people
    source: str  # where it is, as in the summary
    place: str = ""  # where it is shown, among those at work
    frames: int = 0  # in its outputs
    before: int | None = None  # of them, by an earlier run; None until the first is written
    expected: int | None = None  # in the end, where known
    moved: float = field(default_factory=time.monotonic)  # when it came on last

    @property
    def worked_out(self) -> int:
        return self.frames - (self.before or 0)


@dataclass(frozen=True, slots=True)
class Glance:
    """All jobs at a moment. `None` where nothing is known yet."""

    files: int
    states: Mapping[str, int]  # how many have ended, by what became of them
    frames: int  # worked out
    fps: float | None  # of the last minute
    seconds: float  # since the beginning
    seconds_left: float | None
    share: float  # of all work that is over, 0 to 1
    running: Sequence[Running]
    waiting: int

    @property
    def files_ended(self) -> int:
        return sum(self.states.values())

    def in_json(self) -> dict[str, Any]:
        left = self.seconds_left
        return {
            "files": self.files,
            "waiting": self.waiting,
            **self.states,
            "frames": self.frames,
            "fps": None if self.fps is None else round(self.fps, 2),
            "share": round(self.share, 4),
            "seconds": round(self.seconds, 1),
            "seconds_left": None if left is None else round(left, 1),
            "running": [
                {
                    "source": running.source,
                    "name": running.name,
                    "frames": running.frames,
                    "expected": running.expected,
                }
                for running in self.running
            ],
        }


class Workload:
    """Is told what happens to the jobs, by any thread, and asked how they are.

    Until a video is opened, the number of its frames is what its header says, where `looking_ahead` has come to it, or
    else estimated by its size in bytes and what is known of the others.

    Args:
        jobs: all of them, where they are known.
        watch: what finds them one by one, for ever; then only those at work are remembered.
    """

    def __init__(self, jobs: Sequence[SegmentSettings], watch: Watch | None = None) -> None:
        self._jobs = jobs
        self._watch = watch
        self._bytes = {_key(job): _size(job.file) for job in jobs if job.file}
        self._expected: dict[_Key, int] = {}  # frames
        self._running: dict[_Key, Running] = {}
        self._ended: set[_Key] = set()
        self._last_ended: deque[dict[str, Any]] = deque(maxlen=_MOST_TOLD)
        self._states: dict[str, int] = dict.fromkeys(STATES, 0)
        self._frames = 0  # worked out, for jobs that have ended
        self._started = time.monotonic()
        self._samples: deque[tuple[float, int]] = deque([(self._started, 0)])
        self._lock = threading.Lock()

    def opened(self, job: SegmentSettings, info: VideoInfo) -> None:
        self.begun(job, frames_of(job, info))

    def begun(self, job: SegmentSettings, count: int | None, place: str = "") -> None:
        """As `opened`, where this process does not open it, or has not yet; `count` frames are expected."""
        with self._lock:
            running = self._running.setdefault(_key(job), Running(job.title, absolute(job), place))
            running.expected = count
            if self._watch and job.file:
                self._bytes.setdefault(_key(job), _size(job.file))
            if count is not None:
                self._expected[_key(job)] = count

    def written(self, job: SegmentSettings, frames: int) -> None:
        """So many of its frames are in its outputs now, one more than before."""
        running = self._running[_key(job)]
        running.frames, running.moved = frames, time.monotonic()
        if running.before is None:
            running.before = frames - 1

    def ended(self, outcome: Outcome) -> None:
        key = _key(outcome.job)
        with self._lock:
            running = self._running.pop(key, None)
            self._frames += running.worked_out if running else 0
            self._states[outcome.state] += 1
            if outcome.state != "done_before":
                self._last_ended.appendleft(_in_json(outcome))
            if self._watch:
                self._bytes.pop(key, None)
                self._expected.pop(key, None)
            else:
                self._ended.add(key)

    @property
    def waiting(self) -> int:
        """Jobs that have not had their turn yet."""
        if self._watch:
            return self._watch.waiting
        return len(self._jobs) - sum(self._states.values()) - len(self._running)

    @property
    def is_idle(self) -> bool:
        return not self._running

    def glance(self) -> Glance:
        with self._lock:
            now = time.monotonic()
            frames = self._frames + sum(running.worked_out for running in self._running.values())
            fps = self._speed(now, frames)
            over, left = self._over_and_left()
            waiting = self.waiting
            if self._watch and (waiting or not self._running):
                left = None  # how long those will take that wait is not known
            return Glance(
                sum(self._states.values()) + len(self._running) + waiting,
                dict(self._states),
                frames,
                fps,
                now - self._started,
                left / fps if fps and left is not None else None,
                over / (over + left) if left is not None and over else 0.0,
                list(self._running.values()),
                waiting,
            )

    def in_json(self) -> dict[str, Any]:
        """All that is told of a run while it goes on: for the page, and for those who ask for its health."""
        glance = self.glance()
        now = time.monotonic()
        still = [{"place": item.place, "still_s": round(now - item.moved, 1)} for item in glance.running]
        content = glance.in_json()
        for told, more in zip(content["running"], still, strict=True):
            told |= more
            del told["source"]  # who looks at a page need not know where files lie
        folders = self._watch.folders() if self._watch else []
        return content | {"queue": self._queue(), "ended": list(self._last_ended.copy()), "folders": folders}

    def _queue(self) -> list[str]:
        """The first of those that wait."""
        if self._watch:
            return self._watch.first(_MOST_TOLD)
        with self._lock:
            waiting = (
                job.title for job in self._jobs if _key(job) not in self._ended and _key(job) not in self._running
            )
            return list(islice(waiting, _MOST_TOLD))

    def _speed(self, now: float, frames: int) -> float | None:
        if now - self._samples[-1][0] >= _SAMPLE_S:
            self._samples.append((now, frames))
        while now - self._samples[0][0] > _WINDOW_S and len(self._samples) > 1:
            self._samples.popleft()
        then, before = self._samples[0]
        return (frames - before) / (now - then) if frames > before and now > then else None

    def _over_and_left(self) -> tuple[float, float | None]:
        """Frames; of what is left `None` where nothing is known to estimate them by."""
        by_bytes = sum(self._bytes[key] for key in self._expected)
        per_byte = sum(self._expected.values()) / by_bytes if by_bytes else None
        over = left = 0.0
        for key, size in self._bytes.items():
            count = self._expected.get(key, None if per_byte is None else size * per_byte)
            if count is None:
                return over, None
            written = self._running[key].frames if key in self._running else 0
            is_over = key in self._ended
            over += count if is_over else written
            left += 0 if is_over else max(count - written, 0)
        return over, left

    @contextmanager
    def looking_ahead(self) -> Iterator[None]:
        """Read the headers of the videos, on a thread, in their order; no picture is decoded."""
        over = threading.Event()

        def look() -> None:
            for job in self._jobs:
                if over.is_set():
                    return
                if _key(job) not in self._expected and _key(job) not in self._ended:
                    count = declared_frames(job)
                    if count is not None:
                        with self._lock:
                            self._expected.setdefault(_key(job), count)

        thread = threading.Thread(target=look, name="looking ahead", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()


def _key(job: SegmentSettings) -> _Key:
    return job.source, job.stream


def _in_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "name": outcome.job.title,
        "state": outcome.state,
        "reason": outcome.why,
        "frames": outcome.report.frames if outcome.report else None,
        "ended": utc_text(outcome.ended),
    }


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0


def declared_frames(job: SegmentSettings) -> int | None:
    """How many a job will write; `None` where that is not known, or the file is no video."""
    assert job.file is not None
    if job.picture:
        return 1
    with suppress(av.FFmpegError, OSError, SourceError), open_file(job.file) as container:
        stream = video_stream(container, job.file, job.stream)
        return _expected(job, stream.frames or None, duration_of(container, stream), stream.average_rate or None)
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
