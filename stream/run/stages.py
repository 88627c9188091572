"""The stages between a source and its masks: what each frame goes through, and on which threads."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from ..decode.source import Source
from ..encode.blur import Blur
from ..frames import Frame, Place, Position, SegmentedFrame, VideoInfo, batched
from ..masks.carry import mark_carried
from ..masks.deciding import Decided, Deciding
from ..masks.deciding_state import DecidingState
from ..masks.reuse import mark_unchanged
from ..network.model import Model
from ..pipeline import Pipeline
from .progress import EVERY_S, Saved
from .settings import SegmentSettings

AHEAD = 4  # items that wait between two stages: enough to even out, little enough to forget about memory


def masks_of(
    source: Source,
    model: Model,
    pipeline: Pipeline,
    settings: SegmentSettings,
    saved: Saved | None = None,
    place: Place | None = None,
) -> Iterator[Decided]:
    """Decoding, inference and deciding, each on threads of their own; what was saved is not worked out again.

    Args:
        source: of the run.
        model: for all frames.
        pipeline: gets stages for the work.
        settings: of the run.
        saved: by an earlier run, which this one goes on with.
        place: to begin at, from `saved.place_for`.
    """
    if source.info.live:
        yield from decided(source.frames(partial(network_size, model)), model, pipeline, settings, live=True)
        return
    frames = pipeline.stage("decode", source.frames(partial(network_size, model), place=place), depth=AHEAD)
    if saved and place:
        known = zip(saved.logged(place.position), frames, strict=False)
        for position, (logged, frame) in enumerate(known, place.position):
            result = SegmentedFrame(frame, logged.mask, ignores=settings.ignore is not None)
            yield Decided(position, result, None, saved.state.familiarity)
    position, state = (saved.position, saved.state) if saved else (0, None)
    yield from decided(frames, model, pipeline, settings, first=position, begin=position, state=state)


def decided(
    frames: Iterator[Frame],
    model: Model,
    pipeline: Pipeline,
    settings: SegmentSettings,
    *,
    first: Position = 0,
    begin: Position = 0,
    state: DecidingState | None = None,
    live: bool = False,
) -> Iterator[Decided]:
    """Frames with their masks.

    Args:
        frames: of a run, from the one at position `first` on.
        model: for all of them.
        pipeline: gets stages for the work.
        settings: of the run.
        first: see `frames`.
        begin: position of the first frame that is given out; those before warm the smoother up.
        state: of the frame before the first.
        live: a camera's; it decodes by itself, and a frame that waits anywhere after that is late.
    """
    depth, batch = (1, 1) if live else (AHEAD, batch_size(model, settings.batch))
    known = state.known if state else None
    if settings.reuse:
        # Marked before workers share them out, so that their number and the batch change no mask.
        frames = mark_unchanged(frames, first=first, known=known, ignored=settings.ignore)
    if settings.every:
        frames = mark_carried(frames, settings.every, first=first, known=known)
        if not live:
            frames = pipeline.stage("follow", frames, depth=depth)
    scored = pipeline.parallel("infer", model.scored, batched(frames, batch), workers=model.workers, depth=depth)
    goes_on = settings.outputs and not settings.picture and settings.file is not None and settings.file.is_file()
    deciding = Deciding(
        len(model.spec.classes),
        smooth=settings.smooth,
        carries=settings.every is not None,
        ignored=settings.ignore,
        least_lead=model.spec.least_lead,
        first=first,
        begin=begin,
        state=state,
        every_s=EVERY_S if goes_on else None,
        pieces=not live,
    )
    return pipeline.stage("decide", deciding.results(scored), depth=depth)


def blurred(
    decided: Iterator[Decided], model: Model, pipeline: Pipeline, settings: SegmentSettings
) -> Iterator[Decided]:
    """The same, with what the settings name hidden in the pictures, on a thread of its own."""
    if not settings.blur:
        return decided
    live = settings.file is None
    blur = Blur(model.spec.classes, settings.blur, live=live)
    return pipeline.stage("blur", blur.over(decided), depth=1 if live else AHEAD)


def batch_size(model: Model, batch: int | None) -> int:
    """What `--batch auto` means: what suits the device."""
    return batch or model.default_batch


def network_size(model: Model, info: VideoInfo) -> tuple[int, int]:
    """The network's (height, width) for a video, as it is shown: pixels may be wider than high."""
    return model.spec.input_size(info.height, info.shown_width)


def most_waiting(model: Model, batch: int | None) -> tuple[int, int, int]:
    """How many frames there are at most between decoder and outputs; of them, how many have scores, and masks.

    It is what bounds a run's memory, whatever the length of the video.
    """
    size = batch_size(model, batch)
    decoded = AHEAD + 1  # one more is in the hands of the thread that waits for room
    scored = size * (model.workers + AHEAD + 2)  # worked on and waiting, taken in advance, being decided
    decided = AHEAD + 2  # and one being written
    return decoded + scored + decided, scored, decided
