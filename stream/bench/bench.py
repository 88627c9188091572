"""How fast the frame path is, beside the bare model: what `roadmask bench` measures.

Every case runs in one process, in turn, round after round, because machines are noisy: the ratios of the medians tell
more than the rates.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ..decode.source import Source, open_source
from ..frames import Frame, VideoInfo
from ..masks.carry import Every
from ..network.model import BUNDLED, BUNDLED_INT8, Model
from ..network.providers import DEVICES, Placement, is_there
from ..pipeline import Pipeline
from ..run.segment import process_video, segment_video
from ..run.settings import Report, SegmentSettings
from ..run.stages import batch_size, most_waiting, network_size
from ..system.machine import forget_peak, peak_memory_mb, usable_cores

BARE = "bare model"
SIDE_BY_SIDE = "bare model, side by side"


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one case."""

    frames: int
    seconds: float
    processor_s: float  # of the whole process
    stages_s: dict[str, float]  # of that, the threads of each stage; the rest are threads of libraries
    peak_memory_mb: float | None  # None where the system does not tell

    @property
    def rate(self) -> float:
        """Frames per second."""
        return self.frames / self.seconds


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One thing to measure, and what was measured."""

    name: str
    run: Callable[[], tuple[int, dict[str, float]]]  # frames done, and the stages' seconds on a core
    samples: list[Sample] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Median frames per second."""
        return statistics.median(sample.rate for sample in self.samples)

    @property
    def processor_ms(self) -> dict[str, float]:
        """Median milliseconds of a core for a frame: in all, by stage, and in threads of libraries."""
        per_frame: dict[str, list[float]] = {}
        for sample in self.samples:
            others = sample.processor_s - sum(sample.stages_s.values())
            for name, seconds in ({"all": sample.processor_s} | sample.stages_s | {"libraries": others}).items():
                per_frame.setdefault(name, []).append(1000 * seconds / sample.frames)
        return {name: statistics.median(values) for name, values in per_frame.items()}

    @property
    def peak_memory_mb(self) -> float | None:
        return max((sample.peak_memory_mb for sample in self.samples if sample.peak_memory_mb), default=None)


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """What is measured, and the cases."""

    info: VideoInfo
    frames: int
    input_size: tuple[int, int]  # the network's height and width
    waiting: tuple[int, int]  # frames between decoder and outputs, at most, and their bytes
    cases: tuple[Case, ...]

    def case(self, name: str) -> Case:
        return next(case for case in self.cases if case.name == name)


def prepare(
    template: SegmentSettings, model: Model, *, every: Every, rivals: Mapping[str, Model], folder: Path
) -> Bench:
    """The cases for a clip, `template`'s source, processed as it says; outputs go into `folder`, again and again.

    The overlay is measured with masks carried along, too. `rivals` are measured beside the model, by what they are
    called.

    Raises:
        SourceError: the clip cannot be read.
    """
    assert template.file is not None, "only files are measured"
    opened = partial(open_source, template.file, max_frames=template.max_frames)
    with opened() as source:
        info = source.info
        size = network_size(model, info)
        first, *others = islice(source.frames(lambda _: size), template.max_frames)
    inputs = [frame.input for frame in (first, *others)]
    for measured in (model, *rivals.values()):
        measured.prepare(batch_size(measured, template.batch), size)
    waiting = _waiting(first, model, template.batch)

    def outputs(
        by: Model = model, seen: Every | None = None, **paths: str
    ) -> Callable[[], tuple[int, dict[str, float]]]:
        def run() -> tuple[int, dict[str, float]]:
            named = {kind: folder / name for kind, name in paths.items()}
            settings = replace(template, overwrite=True, every=seen, **named)  # type: ignore[arg-type]
            report: Report = process_video(settings, by)
            return report.frames, report.processor_s

        return run

    beside = [
        case
        for name, rival in rivals.items()
        for case in (
            *([Case(f"{name}: bare model", _bare(rival, inputs))] if rival.path != model.path else []),
            Case(f"{name}: side by side", partial(_side_by_side, rival, inputs)),
            Case(f"{name}: run: overlay", outputs(rival, overlay="overlay.mp4")),
        )
    ]

    cases = (
        Case(BARE, _bare(model, inputs)),
        Case(SIDE_BY_SIDE, partial(_side_by_side, model, inputs)),
        Case("decode", lambda: (_decoded(opened, size), {})),
        Case("decode, infer, decide", lambda: (_segmented(template, model), {})),
        Case("run: statistics", outputs(stats="stats.csv")),
        Case("run: masks, zip of PNG", outputs(masks="masks.zip")),
        Case("run: masks, FFV1", outputs(masks="masks.mkv")),
        Case("run: overlay", outputs(overlay="overlay.mp4")),
        Case("run: overlay, masks, statistics", outputs(overlay="all.mp4", masks="all.zip", stats="all.csv")),
        Case(f"run: overlay, --every {every}", outputs(seen=every, overlay="overlay.mp4")),
        *beside,
    )
    return Bench(info, len(inputs), size, waiting, cases)


def measure(bench: Bench, *, repeats: int, on_case: Callable[[int, str], None] | None = None) -> None:
    """Run all cases in turn, `repeats` times, after a first round that warms up and is not counted."""
    for number in range(repeats + 1):
        for case in bench.cases:
            if on_case:
                on_case(number, case.name)
            sample = _sample(case)
            if number:
                case.samples.append(sample)


def _waiting(frame: Frame, model: Model, batch: int | None) -> tuple[int, int]:
    """How many frames like this one can wait between decoder and outputs, and their bytes."""
    frames, scored, decided = most_waiting(model, batch)
    picture = sum(plane.buffer_size for plane in frame.picture.planes) + frame.input.nbytes
    mask = frame.picture.width * frame.picture.height
    return frames, frames * picture + scored * model.scores(frame.input[None]).nbytes + decided * mask


def _sample(case: Case) -> Sample:
    forget_peak()
    started, processor_started = time.perf_counter(), time.process_time()
    frames, stages_s = case.run()
    return Sample(
        frames,
        time.perf_counter() - started,
        time.process_time() - processor_started,
        stages_s,
        peak_memory_mb(),
    )


def rivals_of(model: Model, *, is_chosen: bool, threads: int, workers: int) -> dict[str, Model]:
    """What the CPU could run instead, by names for people: the same file on the other runtime; and, where `is_chosen`,
    so that nobody has named the file, its twin.
    """
    if not model.placement.is_cpu:
        return {}
    load = partial(Model.load, threads=threads, workers=workers, size=model.spec.size)
    rivals = {}
    other = "openvino" if model.placement.device.name == "cpu" else "cpu"
    if is_there(DEVICES[other]):
        rival = load(model.path, device=other)
        rivals[rival.device] = rival
    if is_chosen:
        name = "float" if model.spec.computes_in("int8") else "int8"
        rivals[f"{name} twin"] = load(BUNDLED if name == "float" else BUNDLED_INT8, device=model.device)
    return rivals


def _bare(model: Model, inputs: list[NDArray[np.uint8]]) -> Callable[[], tuple[int, dict[str, float]]]:
    """ONNX Runtime as it comes, in a loop on pictures that wait in memory: what a loop around it cannot surpass."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    options.log_severity_level = 3
    placement = Placement(DEVICES["cpu"]) if model.placement.is_cpu else model.placement
    provider = (placement.device.provider, placement.options)
    session = onnxruntime.InferenceSession(str(model.path), options, providers=[provider])

    def run() -> tuple[int, dict[str, float]]:
        for picture in inputs:
            session.run([model.spec.output_name], {model.spec.input_name: picture[None]})
        return len(inputs), {}

    return run


def _side_by_side(model: Model, inputs: list[NDArray[np.uint8]]) -> tuple[int, dict[str, float]]:
    """As many calls at a time as a run makes: what the model alone can reach."""
    with Pipeline() as pipeline:
        scores = pipeline.parallel(
            "infer", lambda picture: model.scores(picture[None]), inputs, workers=model.workers, depth=1
        )
        return _count(scores), {}


def _decoded(opened: Callable[[], Source], size: tuple[int, int]) -> int:
    with opened() as source:
        return _count(source.frames(lambda _: size))


def _segmented(template: SegmentSettings, model: Model) -> int:
    results = segment_video(
        template.source, model=model, max_frames=template.max_frames, batch=template.batch, smooth=template.smooth
    )
    return _count(results)


def _count(items: Iterator[object]) -> int:
    return sum(1 for _ in items)
