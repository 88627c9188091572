"""Stretches of a file: planned without decoding it, and each made by itself.

Most files tell in their packets which frames they hold, and when each is shown. Where that cannot be relied on, only
decoding from the beginning tells. A stretch has its overlay, masks and rows in files that `stretch_join` puts together:
the result is that of a run from the beginning, as pieces do not depend on each other. That the frames are the ones
which were planned is made sure of: by their times, and by the looks of those that two stretches decode.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from threading import Event

import numpy as np
from numpy.typing import NDArray

from ..decode.place import Selection, look_of
from ..decode.video_stream import picture_times
from ..errors import OutputError, RoadmaskError, Stopped
from ..frames import PIECE, WARM_UP, Frame, Piece, Place, Position
from ..masks.familiar import Familiarity
from ..network.model import Model
from ..pipeline import Pipeline
from ..run.outputs import piece_sinks
from ..run.segment import open_video
from ..run.settings import SegmentSettings
from ..run.stages import AHEAD, batch_size, blurred, decided, network_size
from ..system.disk import replace_file, sync_file, writing
from ..system.stop import end_if_set

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
    """Successive frames of a run that can be made by themselves: from `begin` up to `end`, without it."""

    begin: Position
    end: Position
    is_last: bool
    first: Position  # of the first frame that must be decoded for them
    indices: NDArray[np.int64]  # of the frames from there on, among all of the source
    pts: NDArray[np.int64]  # likewise
    began: Place  # the whole run
    of: int  # how many stretches the run is made in

    @property
    def name(self) -> str:
        return f"{self.begin:08d}-{self.end:08d}"

    def piece(self, folder: Path) -> Piece:
        return Piece(folder / self.name, self.began)

    @property
    def place(self) -> Place:
        return Place(self.first, int(self.indices[0]), int(self.pts[0]))


def wanted_frames(job: SegmentSettings) -> WantedFrames | None:
    """What the packets of the job's file tell; `None` where only decoding can tell.

    Raises:
        SourceError: it has no such video stream.
    """
    assert job.file is not None
    known = picture_times(job.file, job.stream)
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
    began = Place(0, int(wanted.indices[0]), int(wanted.pts[0]))
    pieces = -(-len(wanted) // PIECE)
    for number in range(count):
        begin = pieces * number // count * PIECE
        end = min(pieces * (number + 1) // count * PIECE, len(wanted))
        first = max(begin - WARM_UP, 0)
        indices, pts = wanted.indices[first:end], wanted.pts[first:end]
        yield Stretch(begin, end, end == len(wanted), first, indices, pts, began, count)


class NotAsPlanned(RoadmaskError):  # noqa: N818 - nobody is told that it is an error: it is then made whole
    """The video is not what its packets promise: it cannot be made in stretches."""


@dataclass(frozen=True, slots=True)
class StretchFacts:
    """What is known of a stretch that is done."""

    of: int  # how many stretches the run is made in
    frames: int
    reused: int
    carried: int
    missing_s: float  # after its last frame, where the file ends with it
    familiarity: tuple[int, int]  # of its frames, as in `Familiarity`
    looks_before: list[int]  # of the frames that warmed it up
    looks_last: list[int]  # of as many at its end


def run_stretch(
    job: SegmentSettings,
    model: Model,
    stretch: Stretch,
    folder: Path,
    *,
    stop: Event,
    on_frame: Callable[[int], None],
) -> bool:
    """Make it, into files of the stretch's name in `folder`; returns whether it was finished, or stopped.

    Raises:
        NotAsPlanned: other frames came out than were planned, or damaged ones.
        RoadmaskError: as `process_video`.
    """
    selected = job if stretch.is_last else replace(job, max_frames=stretch.end)
    watch = _Watch(stretch)
    frames, reused, carried, familiarity = 0, 0, 0, Familiarity()
    try:
        with ExitStack() as stack:
            source = stack.enter_context(open_video(selected, model))
            model.prepare(batch_size(model, job.batch), network_size(model, source.info))
            sinks = piece_sinks(job, source.info, model, stretch.piece(folder))
            for sink in sinks:
                stack.enter_context(sink)
            pipeline = stack.enter_context(Pipeline())
            place = stretch.place if stretch.first else None
            decoded = watch.seen(source.frames(partial(network_size, model), place=place))
            results = decided(
                pipeline.stage("decode", decoded, depth=AHEAD),
                model,
                pipeline,
                job,
                first=stretch.first,
                begin=stretch.begin,
            )
            for item in blurred(results, model, pipeline, job):
                result, familiarity = item.result, item.familiarity
                if result.mask.shape != (source.info.height, source.info.width):
                    raise NotAsPlanned("its pictures change their size")
                for sink in sinks:
                    sink.write(result)
                frames, reused = frames + 1, reused + result.frame.unchanged
                carried += result.frame.carried
                on_frame(frames)
                end_if_set(stop)
    except Stopped:
        return False
    watch.refuse_missing(source.undecodable)
    missing_s = float(source.missing_s)
    looks = (watch.looks_before, watch.looks_last)
    facts = StretchFacts(stretch.of, frames, reused, carried, missing_s, familiarity, *looks)
    with writing(folder):
        for path in folder.glob(f"{stretch.name}.*"):
            sync_file(path)
        replace_file(facts_path(folder, stretch), json.dumps(asdict(facts)).encode())
    return True


def facts_path(folder: Path, stretch: Stretch) -> Path:
    """Of the file that is there once the stretch is done."""
    return folder / f"{stretch.name}.json"


def read_facts(folder: Path, stretch: Stretch) -> StretchFacts:
    """Raises `OutputError` where it was not finished."""
    return parse_facts(facts_path(folder, stretch))


def parse_facts(path: Path) -> StretchFacts:
    """Raises `OutputError`."""
    try:
        return StretchFacts(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as exc:
        raise OutputError(f"{path}: cannot be read ({exc}); do all machines see this folder?") from exc


class _Watch:
    """Compares the frames that are decoded with those that are planned."""

    def __init__(self, stretch: Stretch) -> None:
        self._stretch = stretch
        self._frames = 0
        self.looks_before: list[int] = []
        self.looks_last: list[int] = []

    def seen(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        stretch = self._stretch
        for frame in frames:
            number, self._frames = self._frames, self._frames + 1
            if frame.damaged or frame.undecodable:
                raise NotAsPlanned("it is damaged")
            if number >= len(stretch.pts) or (frame.index, frame.pts) != (stretch.indices[number], stretch.pts[number]):
                raise NotAsPlanned("its frames are other ones than its packets tell")
            if stretch.first + number < stretch.begin:
                self.looks_before.append(look_of(frame.picture))
            if stretch.first + number >= stretch.end - WARM_UP:
                self.looks_last.append(look_of(frame.picture))
            yield frame

    def refuse_missing(self, undecodable: int) -> None:
        if undecodable or self._frames != len(self._stretch.pts):
            raise NotAsPlanned("it has fewer frames than its packets tell")
