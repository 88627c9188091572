"""The whole job: open, decode, batch, infer, write, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path
from threading import Event

from .archive_sink import open_archive_sink
from .camera import Camera
from .camera_status import CameraStatus
from .decide import Decider
from .errors import OutputError
from .frames import SegmentedFrame, VideoInfo, batched
from .h264 import DEFAULT_CRF, DEFAULT_PRESET, EncoderChoice, Preset
from .hardware_decode import decoder_for
from .live import LiveSource
from .model import Model, ScoredFrames
from .overlay import Overlay, select_classes
from .parts import PartsSink
from .pipeline import Pipeline
from .reuse import StillClock, marked
from .selection import Selection
from .sink import Sink
from .smooth import Smoother
from .source import Source, open_source
from .stats_sink import StatsSink
from .video_sink import OverlayVideoSink

_AHEAD = 4  # items that wait between two stages: enough to even out, little enough to forget about memory


@dataclass(frozen=True, slots=True)
class SegmentSettings:
    """What to make of one video or camera. An output that is `None` is not made."""

    source: Path | Camera
    overlay: Path | None = None  # .mp4, .mov or .mkv
    masks: Path | None = None  # a folder, .zip or .mkv
    stats: Path | None = None  # .csv
    alpha: float = 0.5  # share of the class colour in the overlay
    classes: tuple[str, ...] = ()  # drawn in the overlay; empty for all
    exclude: tuple[str, ...] = ()  # not drawn
    legend: bool = False
    start: Fraction | None = None  # seconds from the first frame
    end: Fraction | None = None
    stride: int = 1  # every n-th frame
    max_frames: int | None = None
    batch: int | None = None  # frames a call of the network; None: by the device
    smooth: bool = True  # blend the scores over time, so that masks are steady
    reuse: bool = False  # keep a mask while the picture stays as it is, for a second at most
    decode: str = "auto"  # in software or hardware, as `decoder_for` takes it
    encoder: EncoderChoice = "auto"  # of the overlay, as `choose_encoder` takes it, and the two below
    crf: int = DEFAULT_CRF
    preset: Preset = DEFAULT_PRESET
    segment_s: float | None = None  # seconds after which a camera's outputs begin a new part
    keep_s: float | None = None  # seconds after which parts are deleted; None keeps them all
    overwrite: bool = False

    @property
    def is_endless(self) -> bool:
        """Whether it goes on until somebody ends it."""
        return isinstance(self.source, Camera) and self.source.endless

    @property
    def name(self) -> str:
        """Of the source, for people."""
        return self.source.name

    @property
    def file(self) -> Path | None:
        """The source, where it is a file."""
        return self.source if isinstance(self.source, Path) else None

    @property
    def outputs(self) -> tuple[Path, ...]:
        return tuple(path for path in (self.overlay, self.masks, self.stats) if path is not None)


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a run."""

    frames: int  # written to every output
    dropped: int  # discarded to keep up with a live source; always 0 for files
    undecodable: int  # damaged pictures that gave no frame
    seconds: float
    interrupted: bool
    processor_s: dict[str, float] = field(default_factory=dict)  # a core's time by stage, without libraries' threads
    reused: int = 0  # frames, of those written, that took the mask of the frame before
    failure: str | None = None  # why a camera was given up; the outputs are whole up to there

    def __str__(self) -> str:
        rate = self.frames / self.seconds if self.seconds else 0.0
        return (
            f"{self.frames} frames, {self.seconds:.1f} s, {rate:.1f} fps, "
            f"{self.dropped} dropped, {self.undecodable} undecodable"
            + (f", {self.reused} reused" if self.reused else "")
            + (", interrupted" if self.interrupted else "")
        )


def process_video(
    settings: SegmentSettings,
    model: Model,
    *,
    stop: Event | None = None,
    status: CameraStatus | None = None,
    also: Sequence[Sink] = (),
    on_open: Callable[[VideoInfo], None] | None = None,
    on_frame: Callable[[int], None] | None = None,
) -> Report:
    """Segment one video or camera into the outputs that `settings` name.

    Args:
        settings: the source, and what to make of it.
        model: from `Model.load`; several runs may use it one after another.
        stop: set it to end early; outputs are then whole up to the last frame written.
        status: of a camera: told of every change and count.
        also: sinks to write to, besides the outputs.
        on_open: told what the source is, before the first frame.
        on_frame: told the number of frames written, after each.

    Raises:
        SourceError: the source cannot be opened, or not one frame of it decoded.
        OutputError: an output exists, is the source itself, or cannot be written.
    """
    refuse_bad_outputs(settings)
    started, writing_started = time.monotonic(), time.thread_time()
    frames, reused, interrupted = 0, 0, False
    source: Source | None = None
    pipeline = Pipeline()
    try:
        with ExitStack() as stack:
            source = stack.enter_context(_open(settings, model, stop, status))
            if on_open:
                on_open(source.info)
            model.prepare(batch_size(model, settings.batch), network_size(model, source.info))
            sinks = [stack.enter_context(sink) for sink in chain(_sinks(settings, source.info, model), also)]
            stack.enter_context(pipeline)
            for result in _results(source, model, pipeline, settings):
                for sink in sinks:
                    sink.write(result)
                frames += 1
                reused += result.frame.unchanged
                if status:
                    status.count_written(result.frame.arrived)
                if on_frame:
                    on_frame(frames)
                _end_if_set(stop)
            _end_if_set(stop)  # a camera's frames end then, too
    except KeyboardInterrupt:
        if stop is None or not stop.is_set():
            raise
        interrupted = True
    processor_s = pipeline.processor_s | {"write": time.thread_time() - writing_started}
    seconds = time.monotonic() - started
    if source is None:
        return Report(0, 0, 0, seconds, interrupted, processor_s)
    return Report(frames, source.dropped, source.undecodable, seconds, interrupted, processor_s, reused, source.failure)


def segment_video(
    source: str | Path | Camera,
    *,
    model: Model | Path | str | None = None,
    device: str = "auto",
    start: Fraction | None = None,
    end: Fraction | None = None,
    stride: int = 1,
    max_frames: int | None = None,
    batch: int | None = None,
    smooth: bool = True,
    reuse: bool = False,
) -> Iterator[SegmentedFrame]:
    """Each frame of a video with its mask, in order, in bounded memory however long the video is.

    Args:
        source: a video file, or a camera from `parse_camera`, whose frames go on until the generator is closed.
        model: a loaded model, a model file, or `None` for the model in the box.
        device: where to run a model that is not loaded yet: "auto", "cpu", "cuda", ...
        start: seconds from the first frame; `end` likewise, and not included.
        end: see `start`.
        stride: take every n-th frame.
        max_frames: stop after so many.
        batch: frames a call of the network; `None` chooses by the device.
        smooth: blend the scores over time, so that masks are steady; without, each frame stands for itself.
        reuse: keep a mask while the picture stays as it is, for a second at most. `result.frame.unchanged` says for
            which frames; `result.mask` is then the very array of the frame before.
    """
    loaded = model if isinstance(model, Model) else Model.load(model, device=device)
    settings = SegmentSettings(
        source if isinstance(source, Camera) else Path(source),
        start=start,
        end=end,
        stride=stride,
        max_frames=max_frames,
        batch=batch,
        smooth=smooth,
        reuse=reuse,
    )
    stop = Event()
    with _open(settings, loaded, stop, None) as opened, Pipeline() as pipeline:
        try:
            yield from _results(opened, loaded, pipeline, settings)
        finally:
            stop.set()


def batch_size(model: Model, batch: int | None) -> int:
    """What `--batch auto` means: what suits the device."""
    return batch or model.default_batch


def network_size(model: Model, info: VideoInfo) -> tuple[int, int]:
    """The network's (height, width) for a video, as it is shown: pixels may be wider than high."""
    return model.spec.input_size(info.height, round(info.width * info.sample_aspect_ratio))


def refuse_bad_outputs(settings: SegmentSettings) -> None:
    """Look at every path before anything is opened: a file opened for writing is lost already.

    Raises:
        OutputError: an output is the source or another output, or exists and may not be replaced.
    """
    seen: set[Path] = set()
    for output in settings.outputs:
        if output.exists() and settings.file and settings.file.exists() and output.samefile(settings.file):
            raise OutputError(f"{output}: is the source itself; choose another name for the output")
        if output.resolve() in seen:
            raise OutputError(f"{output}: named for two outputs")
        seen.add(output.resolve())
        if output.exists() and not settings.overwrite and not settings.is_endless:  # parts have names of their own
            raise OutputError(f"{output}: exists; pass --overwrite to replace it")


def _open(settings: SegmentSettings, model: Model, stop: Event | None, status: CameraStatus | None) -> Source:
    if isinstance(settings.source, Camera):
        selection = Selection(settings.start or Fraction(0), settings.end, settings.stride, settings.max_frames)
        status = status or CameraStatus(settings.name)
        return LiveSource(settings.source, status=status, stop=stop or Event(), selection=selection)
    return open_source(
        settings.source,
        start=settings.start,
        end=settings.end,
        stride=settings.stride,
        max_frames=settings.max_frames,
        hardware=decoder_for(settings.decode, model.device),
    )


def _end_if_set(stop: Event | None) -> None:
    if stop is not None and stop.is_set():
        raise KeyboardInterrupt  # tells the sinks to finish early, but well


def _results(source: Source, model: Model, pipeline: Pipeline, settings: SegmentSettings) -> Iterator[SegmentedFrame]:
    """Decoding, inference and deciding, each on threads of their own."""
    if source.info.live:
        return _results_at_once(source, model, pipeline, settings)
    frames = pipeline.stage("decode", source.frames(partial(network_size, model)), depth=_AHEAD)
    # Marked before workers share them out, so that their number and the batch change no mask.
    batches = batched(marked(frames) if settings.reuse else frames, batch_size(model, settings.batch))
    scored = pipeline.parallel("infer", model.scored, batches, workers=model.workers, depth=_AHEAD)
    return pipeline.stage("decide", _decided(scored, model, smooth=settings.smooth), depth=_AHEAD)


def _results_at_once(
    source: Source, model: Model, pipeline: Pipeline, settings: SegmentSettings
) -> Iterator[SegmentedFrame]:
    """As `_results`, for a camera: it decodes by itself, and a frame that waits anywhere after that is late."""
    frames = source.frames(partial(network_size, model))
    batches = batched(marked(frames) if settings.reuse else frames, 1)
    scored = pipeline.parallel("infer", model.scored, batches, workers=model.workers, depth=1)
    return pipeline.stage("decide", _decided(scored, model, smooth=settings.smooth), depth=1)


def most_waiting(model: Model, batch: int | None) -> tuple[int, int, int]:
    """How many frames there are at most between decoder and outputs; of them, how many have scores, and masks.

    It is what bounds a run's memory, whatever the length of the video.
    """
    size = batch_size(model, batch)
    decoded = _AHEAD + 1  # one more is in the hands of the thread that waits for room
    scored = size * (model.workers + _AHEAD + 2)  # worked on and waiting, taken in advance, being decided
    decided = _AHEAD + 2  # and one being written
    return decoded + scored + decided, scored, decided


def _decided(scored: Iterable[ScoredFrames], model: Model, *, smooth: bool) -> Iterator[SegmentedFrame]:
    decider = Decider(len(model.spec.classes))
    smoother, clock = Smoother() if smooth else None, StillClock()
    for frame, scores in chain.from_iterable(scored):
        time = clock.time(frame)
        if scores is not None:
            if smoother:
                scores = smoother.blend(scores, frame.input, time=time)
            mask = decider.mask(scores, frame.picture.height, frame.picture.width)
        yield SegmentedFrame(frame, mask)


def _sinks(settings: SegmentSettings, info: VideoInfo, model: Model) -> Iterator[Sink]:
    """The outputs; those of a camera are recorded in parts."""
    for path, make in _makers(settings, model):
        if settings.is_endless:
            yield PartsSink(path, make, segment_time_s=settings.segment_s, keep_s=settings.keep_s)
        else:
            yield make(path, info)


def _makers(settings: SegmentSettings, model: Model) -> Iterator[tuple[Path, Callable[[Path, VideoInfo], Sink]]]:
    """Each output's path, and what makes a sink for such a path."""
    if settings.overlay is not None:
        yield settings.overlay, partial(_overlay_sink, settings, model)
    if settings.masks is not None:
        yield settings.masks, partial(_masks_sink, settings, model)
    if settings.stats is not None:
        yield settings.stats, lambda path, _: StatsSink(path, model.spec, overwrite=settings.overwrite)


def _overlay_sink(settings: SegmentSettings, model: Model, path: Path, info: VideoInfo) -> Sink:
    return OverlayVideoSink(
        path,
        info,
        overlay_of(settings, model).render,
        source=settings.file,
        overwrite=settings.overwrite,
        encoder=settings.encoder,
        device=model.device,
        crf=settings.crf,
        preset=settings.preset,
    )


def overlay_of(settings: SegmentSettings, model: Model) -> Overlay:
    """What draws as the settings say, for one output."""
    drawn = select_classes(model.spec.classes, only=settings.classes, exclude=settings.exclude)
    return Overlay(model.spec.classes, alpha=settings.alpha, drawn=drawn, legend=settings.legend)


def _masks_sink(settings: SegmentSettings, model: Model, path: Path, info: VideoInfo) -> Sink:
    return open_archive_sink(
        path,
        info,
        model.spec,
        source=settings.name,
        model=model.path.name,
        model_sha256=model.sha256(),
        smoothed=settings.smooth,
        overwrite=settings.overwrite,
    )
