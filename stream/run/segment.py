"""The whole job: open, decode, batch, infer, write, report."""

from __future__ import annotations

import atexit
import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from threading import Event
from weakref import WeakSet

from ..camera.camera import Camera, parse_camera
from ..camera.status import CameraEvent, CameraState, CameraStatus
from ..decode.hardware_decode import decoder_for
from ..decode.opening import is_sequence
from ..decode.picture import PictureSource
from ..decode.place import Selection
from ..decode.source import Source, open_source
from ..errors import SourceError, Stopped, is_failure
from ..frames import Ending, Position, SegmentedFrame, Sink, VideoInfo
from ..masks.carry import every_given
from ..masks.deciding import Decided
from ..masks.ignore import Ignored
from ..network.model import Model
from ..pipeline import Pipeline
from ..stats.stats import PictureRow
from ..system.stop import end_if_set
from .claim import claimed
from .outputs import Output, Outputs, camera_outputs, file_outputs, keep_times, refuse_bad_outputs
from .progress import Lost, Progress, Saved
from .settings import Report, SegmentSettings, run_identity
from .stages import batch_size, blurred, masks_of, network_size

_log = logging.getLogger(__name__)


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

    >>> from pathlib import Path
    >>> from roadmask import Model, SegmentSettings, process_video
    >>> settings = SegmentSettings(Path("drive.mp4"), overlay=Path("seen.mp4"), stats=Path("shares.csv"))
    >>> report = process_video(settings, Model.load())
    >>> report.frames, report.state, report.lost
    (3, 'done', '')
    """
    pipeline = Pipeline()
    tally = _Tally(pipeline)
    try:
        with ExitStack() as stack:
            settings = stack.enter_context(claimed(settings))
            refuse_bad_outputs(settings)
            progress = _progress(settings, model)
            if progress and progress.done:
                return _done_before(progress.done)
            saved = progress.saved if progress else None
            tally.go_on_from(saved)
            tally.source = source = stack.enter_context(open_video(settings, model, stop, status))
            if settings.ignore:
                settings.ignore.refuse_misfitting(source.info, settings.name)
            if progress:
                stack.enter_context(progress)
                settings = replace(settings, overwrite=settings.overwrite or progress.is_ours)
            stack.push(lambda _, exc, __: None if is_failure(exc) else keep_times(settings))
            outputs = Outputs(_outputs(settings, source.info, model, also, saved), progress, tally.ending)
            tally.outputs = outputs
            if on_open:  # now that nothing is refused any more
                on_open(source.info)
            if not settings.picture:  # each may be of another size
                model.prepare(batch_size(model, settings.batch), network_size(model, source.info))
            stack.enter_context(outputs)
            stack.enter_context(pipeline)
            place = saved.place_for(outputs.position) if saved else None
            results = masks_of(source, model, pipeline, settings, saved, place)
            for decided in blurred(results, model, pipeline, settings):
                tally.look_at(decided)
                outputs.write(decided, tally.lost)
                if decided.position >= tally.position:
                    tally.count(decided.result)
                    if settings.picture:
                        tally.picture = _row(decided.result, model)
                    _tell(tally.frames, decided.result, status, on_frame)
                end_if_set(stop)
            end_if_set(stop)  # a camera's frames end then, too
    except Stopped:
        return tally.report(interrupted=True)
    return tally.report(interrupted=False)


class _Tally:
    """Counts what a run writes and loses; what an earlier run had written counts, too."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.frames = 0  # in every output
        self.position: Position = 0  # where this run goes on: what is before is in every output already
        self.source: Source | None = None  # once it is open
        self.outputs: Outputs | None = None  # likewise
        self.picture: PictureRow | None = None  # once it is written
        self._pipeline = pipeline
        self._reused = self._carried = 0
        self._before = Lost()  # by the earlier run
        self._undecodable_again = 0  # packets before the frames that the earlier run had written
        self.lost = Lost()  # up to the frame that was looked at last
        self._unlike: float | None = None  # likewise
        self._started, self._writing_started = time.monotonic(), time.thread_time()

    def go_on_from(self, saved: Saved | None) -> None:
        if saved:
            self.frames = self.position = saved.position
            self._before = self.lost = saved.lost

    def look_at(self, decided: Decided) -> None:
        """A frame that is about to be written: what was lost before it is known."""
        frame, damaged = decided.result.frame, self.lost.damaged
        if decided.position < self.position:
            self._undecodable_again = frame.undecodable
        else:
            damaged += frame.damaged
        self.lost = Lost(self._undecodable(frame.undecodable), damaged)
        self._unlike = decided.familiarity.share

    def count(self, result: SegmentedFrame) -> None:
        """It is in every output now."""
        self.frames += 1
        self._reused += result.frame.unchanged
        self._carried += result.frame.carried

    def report(self, *, interrupted: bool) -> Report:
        source = self.source
        return Report(
            frames=self.frames,
            dropped=source.dropped if source else 0,
            undecodable=self._undecodable(source.undecodable) if source else self._before.undecodable,
            seconds=time.monotonic() - self._started,
            interrupted=interrupted,
            processor_s=self._pipeline.processor_s | {"write": time.thread_time() - self._writing_started},
            reused=self._reused,
            carried=self._carried,
            resumed=self.position,
            failure=source.failure if source else None,
            damaged=self.lost.damaged,
            missing_s=float(source.missing_s) if source else 0.0,
            sound=self.outputs.sound if self.outputs else "",
            picture=self.picture,
            unlike=self._unlike,
        )

    def ending(self, interrupted: bool) -> Ending:
        return ending_of(self.report(interrupted=interrupted))

    def _undecodable(self, now: int) -> int:
        """Packets of the whole run, where this one has met so many by now."""
        return self._before.undecodable + now - self._undecodable_again


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
    every: int | str | None = None,
    ignore: Ignored | None = None,
) -> Iterator[SegmentedFrame]:
    """Each frame of a video with its mask, in order, in bounded memory however long the video is.

    Args:
        source: a video file, or a camera's address or `parse_camera` of it: frames then go on until the generator is
            closed.
        model: a loaded model, a model file, or `None` for the model in the box.
        device: where to run a model that is not loaded yet: "auto", "cpu", "openvino", "cuda", ...
        start: seconds from the first frame; `end` likewise, and not included.
        end: see `start`.
        stride: take every n-th frame.
        max_frames: stop after so many.
        batch: frames a call of the network; `None` chooses by the device.
        smooth: blend the scores over time, so that masks are steady; without, each frame stands for itself.
        reuse: keep a mask while the picture stays as it is, for a second at most. `result.frame.unchanged` says for
            which frames; `result.mask` is then the very array of the frame before.
        every: the network sees every n-th frame, or one about every "66ms", and sooner where the picture changes much;
            masks between are carried along with what moves. `result.frame.carried` says which.
        ignore: what is left out, from `parse_ignored`: these pixels are 255 in every mask.

    Raises:
        RoadmaskError: at once, where a number means nothing (a ValueError, too); it names the argument.
        SourceError: the source cannot be opened, or not one frame of it decoded; or a camera is given up.
        RoadmaskError: what is to be left out does not fit its pictures.
        ModelError, DeviceError: as `Model.load`.

    >>> from roadmask import segment_video
    >>> for result in segment_video("drive.mp4", device="cpu"):
    ...     print(float(result.frame.time), result.mask.shape, result.mask.dtype)
    0.0 (96, 128) uint8
    0.04 (96, 128) uint8
    0.08 (96, 128) uint8
    """
    if isinstance(source, str) and "://" in source:
        source = parse_camera(source)
    settings = SegmentSettings(
        source if isinstance(source, Camera) else Path(source),
        start=start,
        end=end,
        stride=stride,
        max_frames=max_frames,
        batch=batch,
        smooth=smooth,
        reuse=reuse,
        every=every_given(every),
        ignore=ignore or None,
    )
    frames = results_of(settings, model, device)
    _unclosed.add(frames)
    return frames


_unclosed: WeakSet[Generator[SegmentedFrame, None, None]] = WeakSet()


@atexit.register
def _close_all() -> None:
    """What a program has left in the middle: where Python ends around a thread that is in a runtime, it aborts."""
    for frames in list(_unclosed):
        with suppress(ValueError):  # it is at work on another thread
            frames.close()


def results_of(
    settings: SegmentSettings, model: Model | Path | str | None, device: str = "auto"
) -> Generator[SegmentedFrame, None, None]:
    """As `segment_video`, of a source as a run's settings name it; their outputs are not made."""
    loaded = model if isinstance(model, Model) else Model.load(model, device=device)
    stop = Event()
    status = CameraStatus(settings.name, on_event=_log_trouble)
    with open_video(settings, loaded, stop, status) as opened, Pipeline() as pipeline:
        if settings.ignore:
            settings.ignore.refuse_misfitting(opened.info, settings.name)
        if not settings.picture:
            loaded.prepare(batch_size(loaded, settings.batch), network_size(loaded, opened.info))
        try:
            for decided in masks_of(opened, loaded, pipeline, settings):
                yield decided.result
            if opened.failure:
                raise SourceError(f"{settings.name}: {opened.failure}")
        finally:
            stop.set()


def _log_trouble(event: CameraEvent) -> None:
    """A loop that waits for a camera would say nothing: Python shows warnings that nobody handles."""
    if event.state in (CameraState.STALLED, CameraState.RECONNECTING):
        _log.warning("%s", event)


def open_video(
    settings: SegmentSettings, model: Model, stop: Event | None = None, status: CameraStatus | None = None
) -> Source:
    """The source of a run, as its settings say. Raises `SourceError`."""
    hardware = decoder_for(settings.decode, model.device)
    if isinstance(settings.source, Camera):
        from ..camera.live import LiveSource  # and HTTP, for which no file should wait

        return LiveSource(
            settings.source,
            status=status or CameraStatus(settings.name),
            stop=stop or Event(),
            selection=Selection(settings.start or Fraction(0), settings.end, settings.stride, settings.max_frames),
            hardware=hardware,
            max_pixels=settings.max_pixels,
            deinterlace=settings.deinterlace,
        )
    if settings.picture:
        return PictureSource(settings.source, max_pixels=settings.max_pixels)
    return open_source(
        settings.source,
        start=settings.start,
        end=settings.end,
        stride=settings.stride,
        max_frames=settings.max_frames,
        hardware=hardware,
        max_pixels=settings.max_pixels,
        stream=settings.stream,
        picture_rate=settings.picture_rate,
        deinterlace=settings.deinterlace,
    )


def ending_of(report: Report) -> Ending:
    missing_s = round(report.missing_s, 3)
    lost, unlike = report.lost, report.unlike
    return Ending(report.state, report.frames, report.undecodable, report.damaged, missing_s, lost, unlike)


def _done_before(ending: Ending) -> Report:
    return Report(
        frames=ending.frames,
        dropped=0,
        undecodable=ending.undecodable,
        seconds=0.0,
        interrupted=False,
        resumed=ending.frames,
        damaged=ending.damaged,
        missing_s=ending.missing_s,
        unlike=ending.unlike,
        before=True,
    )


def _progress(settings: SegmentSettings, model: Model) -> Progress | None:
    """What keeps a run from being lost; `None` for what is not there a second time."""
    file = settings.file
    if file is None or not settings.outputs or not (file.is_file() or is_sequence(file)):
        return None
    if settings.picture and settings.noted:
        return None  # it is there or it is not, and of thousands a dozen syncs each are most of the time
    identity, inside = run_identity(settings, model), file.is_file() and not settings.picture
    return Progress(settings.outputs, identity, resume=settings.resume, overwrite=settings.overwrite, inside=inside)


def _outputs(
    settings: SegmentSettings, info: VideoInfo, model: Model, also: Sequence[Sink], saved: Saved | None
) -> list[Output]:
    """Those of the settings; then `also`, which are given what is worked out, and nothing that was saved."""
    outputs = camera_outputs(settings, model) if settings.is_endless else file_outputs(settings, info, model, saved)
    return [*outputs, *(Output(sink, saved.position if saved else 0) for sink in also)]


def _row(result: SegmentedFrame, model: Model) -> PictureRow:
    shares = tuple(round(float(share), 6) for share in result.shares(len(model.spec.classes)))
    return PictureRow(shares, result.frame.info.taken, result.frame.info.place)


def _tell(
    frames: int, result: SegmentedFrame, status: CameraStatus | None, on_frame: Callable[[int], None] | None
) -> None:
    if status:
        status.count_written(result.frame.arrived)
    if on_frame:
        on_frame(frames)
