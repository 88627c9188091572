"""A file's frames as known without decoding them, and the stretches that they can be shared out in.

Most files tell in their packets which frames they hold, and when each is shown. Where that cannot be relied on, only
decoding from the beginning tells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from ..decode.opening import open_container
from ..decode.place import Place, Selection
from ..decode.video_stream import video_stream
from ..frames import PIECE, WARM_UP
from ..run.settings import SegmentSettings

_MOST_PIECES = 8  # of a stretch: what a machine that dies costs, a minute or three of one core
_FEWEST_PIECES = 2  # the frames before a stretch that are worked out twice are then a tenth of it at most
_A_WORKER = 3  # stretches, so that those who are done early have something left to do


@dataclass(frozen=True, slots=True, eq=False)
class WantedFrames:
    """The frames that a run of a file writes, in order."""

    indices: NDArray[np.int64]  # among all of the source
    pts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.pts)


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Successive frames of a run that can be made by themselves: numbers `begin` up to `end`, without it."""

    begin: int
    end: int
    is_last: bool
    first: int  # number of the first frame that must be decoded for them
    indices: NDArray[np.int64]  # of the frames from there on, among all of the source
    pts: NDArray[np.int64]  # likewise
    began: tuple[int, int]  # index and pts of the whole run's first frame
    of: int  # how many stretches the run is made in

    @property
    def name(self) -> str:
        return f"{self.begin:08d}-{self.end:08d}"

    @property
    def place(self) -> Place:
        return Place(self.first, int(self.indices[0]), int(self.pts[0]))


def wanted_frames(job: SegmentSettings) -> WantedFrames | None:
    """What the packets of the job's file tell; `None` where only decoding can tell.

    Raises:
        SourceError: it has no such video stream.
    """
    assert job.file is not None
    known = _picture_times(job.file, job.stream)
    if known is None:
        return None
    pts, time_base = known
    selection = Selection(job.start or Fraction(0), job.end, job.stride, job.max_frames)
    wanted = [(index, item) for index, item, _ in selection.of(((item, item) for item in pts), time_base)]
    return WantedFrames(*np.array(wanted, np.int64).reshape(-1, 2).T)


def stretch_count(frames: int, workers: int) -> int:
    """How many stretches to make of a video; 0 where it is not worth it.

    They are long enough to be worth their beginnings, and as many for one worker as for another.
    """
    pieces = -(-frames // PIECE)
    if workers < 2 or pieces < 2 * _FEWEST_PIECES:
        return 0
    size = min(max(-(-pieces // (_A_WORKER * workers)), _FEWEST_PIECES), _MOST_PIECES)
    count = -(-pieces // size)
    return min(-(-count // workers) * workers, pieces // _FEWEST_PIECES)


def stretches(wanted: WantedFrames, count: int) -> Iterator[Stretch]:
    """A file's, in order, each of whole pieces, none with more than one piece more than another."""
    began = (int(wanted.indices[0]), int(wanted.pts[0]))
    pieces = -(-len(wanted) // PIECE)
    for number in range(count):
        begin = pieces * number // count * PIECE
        end = min(pieces * (number + 1) // count * PIECE, len(wanted))
        first = max(begin - WARM_UP, 0)
        indices, pts = wanted.indices[first:end], wanted.pts[first:end]
        yield Stretch(begin, end, end == len(wanted), first, indices, pts, began, count)


def _picture_times(path: Path, number: int | None) -> tuple[list[int], Fraction] | None:
    """The pts of the pictures in order and their unit, where each packet is a picture that has one of its own."""
    try:
        with open_container(path) as container:
            stream = video_stream(container, path, number)
            pts: set[int] = set()
            for packet in container.demux(stream):
                if packet.size == 0 or packet.is_discard:
                    continue
                if packet.pts is None or packet.is_corrupt or packet.pts in pts:
                    return None
                pts.add(packet.pts)
            return (sorted(pts), Fraction(stream.time_base)) if pts and stream.time_base else None
    except (av.FFmpegError, OSError):
        return None  # decoding finds out how much of it can be read, and tells
