"""The whole job: open, decode, batch, infer, write, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Event

from .archive.manifest import Ending
from .camera.camera import Camera
from .camera.camera_status import CameraStatus
from .camera.live import LiveSource
from .deciding_state import DecidingState
from .decode.hardware_decode import decoder_for
from .decode.selection import Place, Selection
from .decode.source import Source, open_source
from .errors import OutputError
from .frames import Frame, SegmentedFrame, VideoInfo, batched
from .masks.deciding import Deciding
from .masks.reuse import marked
from .network.model import Model
from .outputs import Outputs, camera_sinks, file_outputs, refuse_bad_outputs
from .pipeline import Pipeline
from .resume.progress import EVERY_S, Progress, Saved
from .resume.run_identity import run_identity
from .segment_settings import Report, SegmentSettings
from .sink import Sink

__all__ = ["Report", "SegmentSettings", "process_video", "segment_video"]

AHEAD = 4  # items that wait between two stages: enough to even out, little enough to forget about memory
_SEEN_AGAIN = 8  # frames by which a run that goes on makes sure that it has found its place in the video


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
    frames, kept, reused, undecodable, damaged = 0, 0, 0, 0, 0
    known = 0  # packets that could not be decoded before the frames that an earlier run has written
    source: Source | None = None
    saved: Saved | None = None
    pipeline = Pipeline()

    def report(*, interrupted: bool) -> Report:
        return Report(
            frames,
            source.dropped if source else 0,
            undecodable + (source.undecodable - known if source else 0),
            time.monotonic() - started,
            interrupted,
            pipeline.processor_s | {"write": time.thread_time() - writing_started},
            reused,
            kept,
            source.failure if source else None,
            damaged,
            float(source.missing_s) if source else 0.0,
        )

    try:
        with ExitStack() as stack:
            progress = _progress(settings, model, stack)
            saved = progress.saved if progress else None
            if saved:
                frames = kept = saved.frames
                undecodable, damaged = saved.undecodable, saved.damaged
            source = stack.enter_context(open_video(settings, model, stop, status))
            if on_open:
                on_open(source.info)
            model.prepare(batch_size(model, settings.batch), network_size(model, source.info))
            outputs = stack.enter_context(_outputs(settings, source.info, model, also, progress))
            stack.enter_context(pipeline)
            begin = _begin(saved, outputs.first)
            try:
                for number, result in enumerate(_results(source, model, pipeline, settings, saved, begin), begin):
                    if number < kept:
                        known = result.frame.undecodable
                    damaged += result.frame.damaged and number >= kept
                    outputs.write(number, result, undecodable + result.frame.undecodable - known, damaged)
                    if number >= kept:
                        frames += 1
                        reused += result.frame.unchanged
                        _tell(frames, result, status, on_frame)
                    end_if_set(stop)
                end_if_set(stop)  # a camera's frames end then, too
            except KeyboardInterrupt:
                outputs.tell(ending_of(report(interrupted=True)))
                raise
            outputs.tell(ending_of(report(interrupted=False)))
    except KeyboardInterrupt:
        if stop is None or not stop.is_set():
            raise
        return report(interrupted=True)
    return report(interrupted=False)


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
    with open_video(settings, loaded, stop) as opened, Pipeline() as pipeline:
        try:
            yield from _results(opened, loaded, pipeline, settings, None, 0)
        finally:
            stop.set()


def batch_size(model: Model, batch: int | None) -> int:
    """What `--batch auto` means: what suits the device."""
    return batch or model.default_batch


def network_size(model: Model, info: VideoInfo) -> tuple[int, int]:
    """The network's (height, width) for a video, as it is shown: pixels may be wider than high."""
    return model.spec.input_size(info.height, round(info.width * info.sample_aspect_ratio))


def open_video(
    settings: SegmentSettings, model: Model, stop: Event | None = None, status: CameraStatus | None = None
) -> Source:
    """The source of a run, as its settings say. Raises `SourceError`."""
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
        max_pixels=settings.max_pixels,
        stream=settings.stream,
    )


def ending_of(report: Report) -> Ending:
    missing_s = round(report.missing_s, 3)
    return Ending(report.state, report.frames, report.undecodable, report.damaged, missing_s, report.lost)


def end_if_set(stop: Event | None) -> None:
    """Raises `KeyboardInterrupt`, which tells sinks to finish early, but well."""
    if stop is not None and stop.is_set():
        raise KeyboardInterrupt


def _progress(settings: SegmentSettings, model: Model, stack: ExitStack) -> Progress | None:
    """What keeps a file's run from being lost; `None` for what cannot be begun in the middle."""
    if settings.file is None or not settings.file.is_file() or not settings.outputs:
        return None
    identity = run_identity(settings, model)
    progress = Progress(settings.outputs, identity, resume=settings.resume, overwrite=settings.overwrite)
    return stack.enter_context(progress)


def _outputs(
    settings: SegmentSettings, info: VideoInfo, model: Model, also: Sequence[Sink], progress: Progress | None
) -> Outputs:
    if settings.is_endless:
        return Outputs([], [*camera_sinks(settings, model), *also], progress)
    return Outputs(file_outputs(settings, info, model, progress.saved if progress else None), also, progress)


def _begin(saved: Saved | None, first: int) -> int:
    """Number of the frame that a run begins with: the `first` that an output lacks, or one that shows the place."""
    if saved is None:
        return 0
    begin = max(min(first, saved.frames - _SEEN_AGAIN), 0)
    if begin < saved.earliest:
        raise OutputError(
            f"{saved.folder}: frames before number {saved.earliest} are missing from the overlay; "
            "pass --overwrite without --resume to start anew"
        )
    return begin


def _tell(
    frames: int, result: SegmentedFrame, status: CameraStatus | None, on_frame: Callable[[int], None] | None
) -> None:
    if status:
        status.count_written(result.frame.arrived)
    if on_frame:
        on_frame(frames)


def _results(
    source: Source, model: Model, pipeline: Pipeline, settings: SegmentSettings, saved: Saved | None, begin: int
) -> Iterator[SegmentedFrame]:
    """Decoding, inference and deciding, each on threads of their own. What was saved is not worked out again."""
    if source.info.live:
        yield from _results_at_once(source, model, pipeline, settings)
        return
    size, place = partial(network_size, model), None if saved is None else _place(saved, begin)
    frames = pipeline.stage("decode", source.frames(size, place=place), depth=AHEAD)
    if saved:
        known = zip(saved.logged(begin), frames, strict=False)
        yield from (SegmentedFrame(frame, logged.mask) for logged, frame in known)
    first, state = (saved.frames, saved.state) if saved else (0, None)
    yield from decided(frames, model, pipeline, settings, first=first, begin=first, state=state)


def decided(
    frames: Iterator[Frame],
    model: Model,
    pipeline: Pipeline,
    settings: SegmentSettings,
    *,
    first: int,
    begin: int,
    state: DecidingState | None = None,
) -> Iterator[SegmentedFrame]:
    """Frames with their masks.

    Args:
        frames: of a run, from the one at position `first` on.
        model: for all of them.
        pipeline: gets stages for the work.
        settings: of the run.
        first: see `frames`.
        begin: position of the first frame that is given out; those before warm the smoother up.
        state: of the frame before the first.
    """
    if settings.reuse:
        # Marked before workers share them out, so that their number and the batch change no mask.
        frames = marked(frames, first=first, known=state.known if state else None)
    scored = pipeline.parallel(
        "infer", model.scored, batched(frames, batch_size(model, settings.batch)), workers=model.workers, depth=AHEAD
    )
    every_s = EVERY_S if settings.outputs else None
    deciding = Deciding(
        len(model.spec.classes), smooth=settings.smooth, first=first, begin=begin, state=state, every_s=every_s
    )
    return pipeline.stage("decide", deciding.results(scored), depth=AHEAD)


def _place(saved: Saved, begin: int) -> Place:
    logged = list(islice(saved.logged(begin), _SEEN_AGAIN))
    return Place(begin, logged[0].index, logged[0].pts, tuple((frame.index, frame.pts, frame.look) for frame in logged))


def _results_at_once(
    source: Source, model: Model, pipeline: Pipeline, settings: SegmentSettings
) -> Iterator[SegmentedFrame]:
    """As `_results`, for a camera: it decodes by itself, and a frame that waits anywhere after that is late."""
    frames = source.frames(partial(network_size, model))
    batches = batched(marked(frames) if settings.reuse else frames, 1)
    scored = pipeline.parallel("infer", model.scored, batches, workers=model.workers, depth=1)
    deciding = Deciding(len(model.spec.classes), smooth=settings.smooth)
    return pipeline.stage("decide", deciding.results(scored), depth=1)


def most_waiting(model: Model, batch: int | None) -> tuple[int, int, int]:
    """How many frames there are at most between decoder and outputs; of them, how many have scores, and masks.

    It is what bounds a run's memory, whatever the length of the video.
    """
    size = batch_size(model, batch)
    decoded = AHEAD + 1  # one more is in the hands of the thread that waits for room
    scored = size * (model.workers + AHEAD + 2)  # worked on and waiting, taken in advance, being decided
    decided = AHEAD + 2  # and one being written
    return decoded + scored + decided, scored, decided
