"""The stages between a source and its masks: what each frame goes through, and on which threads."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice

from ..deciding_state import DecidingState
from ..decode.place import Place
from ..decode.source import Source
from ..frames import Frame, SegmentedFrame, VideoInfo, batched
from ..masks.deciding import Deciding
from ..masks.reuse import mark_unchanged
from ..network.model import Model
from ..pipeline import Pipeline
from .progress import EVERY_S, Saved
from .settings import SegmentSettings

AHEAD = 4  # items that wait between two stages: enough to even out, little enough to forget about memory
SEEN_AGAIN = 8  # frames by which a run that goes on makes sure that it has found its place in the video


def masks_of(
    source: Source, model: Model, pipeline: Pipeline, settings: SegmentSettings, saved: Saved | None, begin: int
) -> Iterator[SegmentedFrame]:
    """Decoding, inference and deciding, each on threads of their own. What was saved is not worked out again."""
    if source.info.live:
        yield from _masks_at_once(source, model, pipeline, settings)
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
        frames = mark_unchanged(frames, first=first, known=state.known if state else None)
    scored = pipeline.parallel(
        "infer", model.scored, batched(frames, batch_size(model, settings.batch)), workers=model.workers, depth=AHEAD
    )
    every_s = EVERY_S if settings.outputs else None
    deciding = Deciding(
        len(model.spec.classes), smooth=settings.smooth, first=first, begin=begin, state=state, every_s=every_s
    )
    return pipeline.stage("decide", deciding.results(scored), depth=AHEAD)


def _place(saved: Saved, begin: int) -> Place:
    logged = list(islice(saved.logged(begin), SEEN_AGAIN))
    return Place(begin, logged[0].index, logged[0].pts, tuple((frame.index, frame.pts, frame.look) for frame in logged))


def _masks_at_once(
    source: Source, model: Model, pipeline: Pipeline, settings: SegmentSettings
) -> Iterator[SegmentedFrame]:
    """As `masks_of`, for a camera: it decodes by itself, and a frame that waits anywhere after that is late."""
    frames = source.frames(partial(network_size, model))
    batches = batched(mark_unchanged(frames) if settings.reuse else frames, 1)
    scored = pipeline.parallel("infer", model.scored, batches, workers=model.workers, depth=1)
    deciding = Deciding(len(model.spec.classes), smooth=settings.smooth)
    return pipeline.stage("decide", deciding.results(scored), depth=1)


def batch_size(model: Model, batch: int | None) -> int:
    """What `--batch auto` means: what suits the device."""
    return batch or model.default_batch


def network_size(model: Model, info: VideoInfo) -> tuple[int, int]:
    """The network's (height, width) for a video, as it is shown: pixels may be wider than high."""
    return model.spec.input_size(info.height, round(info.width * info.sample_aspect_ratio))


def most_waiting(model: Model, batch: int | None) -> tuple[int, int, int]:
    """How many frames there are at most between decoder and outputs; of them, how many have scores, and masks.

    It is what bounds a run's memory, whatever the length of the video.
    """
    size = batch_size(model, batch)
    decoded = AHEAD + 1  # one more is in the hands of the thread that waits for room
    scored = size * (model.workers + AHEAD + 2)  # worked on and waiting, taken in advance, being decided
    decided = AHEAD + 2  # and one being written
    return decoded + scored + decided, scored, decided
