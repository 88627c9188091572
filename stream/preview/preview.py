"""Draw saved masks over their video, without the model: open both, match, draw, encode."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from threading import Event
from typing import Literal

import av
import numpy as np
from av.video.reformatter import ColorRange

from ..archive.archive import MaskArchive, open_masks
from ..archive.masked_frames import Gaps, MaskedVideo
from ..decode.deinterlace import Deinterlace
from ..decode.pixels import color_range, planes_of
from ..decode.source import Source, open_source
from ..encode.blur import Blur
from ..encode.h264 import ANY_ENCODING, Encoding
from ..encode.legend import LegendPlace
from ..encode.overlay import Overlay, Style
from ..encode.palette import CLEAR, Palette
from ..encode.video_sink import OverlayVideoSink, refuse_no_video
from ..errors import ArchiveError, Stopped
from ..frames import SegmentedFrame, VideoInfo
from ..masks.deciding import Decided
from ..masks.ignore import Ignored
from ..pipeline import Pipeline
from ..spec import PixelClass, select_classes
from ..system.hold import held_to_make, refuse_inputs
from ..system.stop import end_if_set
from ..system.talk import number_of

_AHEAD = 4  # items that wait between two stages
_NO_INPUT = (2, 2)  # size of the network's input, which nobody looks at; interlaced, 1 row cannot be made

View = Literal["overlay", "mask", "side-by-side"]
Draw = Callable[[SegmentedFrame], av.VideoFrame]

_BLACK = {ColorRange.MPEG: 16, ColorRange.JPEG: 0}  # luma
_NO_COLOR = 128  # the middle of both chromas


@dataclass(frozen=True, slots=True)
class PreviewSettings:
    """What to draw."""

    masks: Path  # an archive of any kind
    video: Path
    output: Path  # .mp4, .mov or .mkv
    view: View = "overlay"
    gaps: Gaps = "hold"
    alpha: float = 0.5  # share of the class colour
    classes: tuple[str, ...] = ()  # drawn; empty for all
    exclude: tuple[str, ...] = ()  # not drawn
    palette: Palette = CLEAR
    style: Style = "fill"
    legend: LegendPlace = "off"
    ignore: Ignored | None = None  # what is left out, besides what was when the masks were made
    blur: tuple[str, ...] = ()  # classes that are hidden in the pictures
    start: Fraction | None = None  # seconds from the video's first frame
    end: Fraction | None = None
    deinterlace: Deinterlace = "auto"  # as the run that made the masks
    encoding: Encoding = ANY_ENCODING
    overwrite: bool = False
    metadata: bool = True  # the result keeps the video's tags, chapters, subtitles and data


@dataclass(frozen=True, slots=True)
class PreviewReport:
    """What became of it."""

    frames: int
    seconds: float
    interrupted: bool
    processor_s: dict[str, float] = field(default_factory=dict)  # a core's time by stage, without libraries' threads
    sound: str = ""  # what became of it, in words; empty where it is as it was

    def __str__(self) -> str:
        rate, rest = self.frames / (self.seconds or 1), ", interrupted" if self.interrupted else ""
        told = f"; sound: {self.sound}" if self.sound else ""
        return f"{number_of(self.frames, 'frame')}, {self.seconds:.1f} s, {rate:.1f} fps{rest}{told}"


def preview_video(
    settings: PreviewSettings,
    *,
    stop: Event | None = None,
    on_open: Callable[[VideoInfo, MaskArchive], None] | None = None,
    on_frame: Callable[[int], None] | None = None,
) -> PreviewReport:
    """Draw the masks of an archive over the frames that they were made from.

    Set `stop` to end early; the output is then whole up to the last frame written. `on_open` is told what is drawn,
    before the first frame, `on_frame` the number of frames written, after each.

    Raises:
        ArchiveError: the masks cannot be read, or are of another video: the frame where they part is named.
        SourceError: the video cannot be read.
        OutputError: the output exists, is the video itself, or cannot be written.
        RoadmaskError: a class that was named is none of the archive's.
    """
    refuse_no_video(settings.output)
    refuse_inputs(settings.output, settings.video, settings.masks)
    started, writing_started = time.monotonic(), time.thread_time()
    frames, interrupted, sound = 0, False, ""
    pipeline = Pipeline()
    try:
        with ExitStack() as stack:
            stack.enter_context(held_to_make([settings.output], settings.masks))
            pair = MaskedVideo(stack.enter_context(open_masks(settings.masks, ignore=settings.ignore)), settings.video)
            source = stack.enter_context(
                open_source(
                    settings.video,
                    start=settings.start,
                    end=settings.end,
                    stream=pair.masks.header.stream,
                    picture_rate=pair.masks.picture_rate,
                    deinterlace=settings.deinterlace,
                )
            )
            pair.refuse_other_size(source.info)
            blur = Blur(pair.masks.classes, settings.blur) if settings.blur else None
            draw = _draw(settings, pair.masks.classes)
            sink = stack.enter_context(_sink(settings, source.info))
            if on_open:  # now that nothing is refused any more
                on_open(source.info, pair.masks)
            stack.enter_context(pipeline)
            for result in _results(settings, pair, source, blur, draw, pipeline):
                sink.write(result)
                frames, sound = frames + 1, sink.sound
                if on_frame:
                    on_frame(frames)
                end_if_set(stop)
            if not frames:
                what = "holds no mask of what was asked for; roadmask info says what it holds"
                raise ArchiveError(f"{settings.masks}: {what}")
    except Stopped:
        interrupted = True
    processor_s = pipeline.processor_s | {"write": time.thread_time() - writing_started}
    return PreviewReport(frames, time.monotonic() - started, interrupted, processor_s, sound)


def _sink(settings: PreviewSettings, info: VideoInfo) -> OverlayVideoSink:
    return OverlayVideoSink(
        settings.output,
        shown_info(settings.view, info),
        lambda result: result.frame.picture,  # drawn by the stage before
        source=settings.video,
        end=settings.end,
        metadata=settings.metadata,
        hides=bool(settings.blur),
        overwrite=settings.overwrite,
        encoding=settings.encoding,
    )


def _results(
    settings: PreviewSettings, pair: MaskedVideo, source: Source, blur: Blur | None, draw: Draw, pipeline: Pipeline
) -> Iterator[SegmentedFrame]:
    """Decoding, reading masks, and drawing, each on a thread of its own beside the encoder's."""
    # Of a run that began later, only walking there tells whether there is a mask before `end`.
    is_known = settings.end is None or any(record.index == 0 for record in pair.masks.records[:1])
    place = pair.place(settings.start, source.info) if is_known else None
    frames = pipeline.stage("decode", source.frames(lambda _: _NO_INPUT, place=place), depth=_AHEAD)
    matched = pair.frames(frames, gaps=settings.gaps, to_the_end=settings.end is None)
    masked = pipeline.stage("masks", matched, depth=_AHEAD)
    shown: Iterable[SegmentedFrame] = masked
    if blur:
        shown = (item.result for item in blur.over(Decided(*item) for item in enumerate(masked)))
    drawn = (replace(result, frame=replace(result.frame, picture=draw(result))) for result in shown)
    return pipeline.stage("draw", drawn, depth=_AHEAD)


def _draw(settings: PreviewSettings, classes: Sequence[PixelClass]) -> Draw:
    """What draws a frame: a new yuv420p frame of even size."""
    overlay = Overlay(
        settings.palette.colored(classes),
        alpha=1.0 if settings.view == "mask" else settings.alpha,
        style=settings.style,
        drawn=select_classes(classes, only=settings.classes, exclude=settings.exclude),
        legend=settings.legend,
    )
    match settings.view:
        case "overlay":
            return overlay.render
        case "mask":
            return lambda result: overlay.render(_on_black(result))
        case "side-by-side":
            plain = Overlay(classes, alpha=0)
            return lambda result: _beside(plain.render(result), overlay.render(result))


def shown_info(view: View, info: VideoInfo) -> VideoInfo:
    """Of the video that is drawn from one such as `info`."""
    return replace(info, width=2 * (info.width + info.width % 2)) if view == "side-by-side" else info


def _on_black(result: SegmentedFrame) -> SegmentedFrame:
    """So that classes which are not drawn leave nothing to see."""
    picture = result.frame.picture
    black = av.VideoFrame(picture.width, picture.height, "yuv420p")
    for plane, value in zip(planes_of(black), (_BLACK[color_range(picture)], _NO_COLOR, _NO_COLOR), strict=True):
        plane[:] = value
    black.colorspace, black.color_range = picture.colorspace, color_range(picture)
    return replace(result, frame=replace(result.frame, picture=black))


def _beside(left: av.VideoFrame, right: av.VideoFrame) -> av.VideoFrame:
    both = av.VideoFrame(left.width + right.width, left.height, "yuv420p")
    for target, one, other in zip(planes_of(both), planes_of(left), planes_of(right), strict=True):
        np.concatenate([one, other], axis=1, out=target)
    both.pts, both.time_base = right.pts, right.time_base
    both.colorspace, both.color_range = right.colorspace, right.color_range
    return both
