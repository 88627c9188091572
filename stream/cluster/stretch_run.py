"""One stretch of a run, made by itself: its overlay, masks and rows in files that `stretch_join` puts together.

The result is that of a run from the beginning, as pieces do not depend on each other. That the frames are the ones
which were planned is made sure of: by their times, and by the looks of those that two stretches decode.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from threading import Event

from ..decode.place import look_of
from ..errors import OutputError, RoadmaskError
from ..frames import WARM_UP, Frame
from ..network.model import Model
from ..pipeline import Pipeline
from ..run.outputs import piece_sinks
from ..run.segment import end_if_set, open_video
from ..run.settings import SegmentSettings
from ..run.stages import AHEAD, decided, network_size
from ..system.disk import replace_file, writing
from .stretches import Stretch


class NotAsPlanned(RoadmaskError):  # noqa: N818 - nobody is told that it is an error: it is then made whole
    """The video is not what its packets promise: it cannot be made in stretches."""


@dataclass(frozen=True, slots=True)
class StretchFacts:
    """What is known of a stretch that is done."""

    of: int  # how many stretches the run is made in
    frames: int
    reused: int
    missing_s: float  # after its last frame, where the file ends with it
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
    frames = reused = 0
    try:
        with ExitStack() as stack:
            source = stack.enter_context(open_video(selected, model))
            sinks = piece_sinks(job, source.info, model, folder / stretch.name, began=stretch.began)
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
            for result in results:
                if result.mask.shape != (source.info.height, source.info.width):
                    raise NotAsPlanned("its pictures change their size")
                for sink in sinks:
                    sink.write(result)
                frames, reused = frames + 1, reused + result.frame.unchanged
                on_frame(frames)
                end_if_set(stop)
    except KeyboardInterrupt:
        return False
    watch.refuse_missing(source.undecodable)
    facts = StretchFacts(stretch.of, frames, reused, float(source.missing_s), watch.looks_before, watch.looks_last)
    with writing(folder):
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
