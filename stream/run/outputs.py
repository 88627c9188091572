"""The outputs of a run: which paths may be written, and what writes them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import av

from ..archive.manifest import ArchiveHeader, mask_format
from ..archive.mask_sink import PIECE_SUFFIX as _MASKS
from ..archive.mask_sink import MaskPieceSink, archive_sink, written_kind
from ..archive.png import png
from ..camera.parts import PartsSink
from ..decode.gps import GpsTrack, read_gps
from ..decode.source import open_source
from ..encode.overlay import Overlay
from ..encode.picture_sink import MASK_COMMENT, PictureSink, marked, overlay_encoder
from ..encode.video_sink import PIECE_SUFFIX as _VIDEO
from ..encode.video_sink import OverlayVideoSink
from ..errors import OutputError, RoadmaskError, SourceError, is_failure
from ..frames import Ending, Piece, Place, Position, SegmentedFrame, Sink, VideoInfo
from ..masks.deciding import Decided
from ..network.model import Model
from ..spec import map_classes, select_classes
from ..stats.stats import PIECE_SUFFIX as _ROWS
from ..stats.stats import CsvStatsSink, open_stats_sink, refuse_bad_stats
from ..system.disk import NAME_BYTES
from .claim import has_trace
from .done import find_done
from .progress import Lost, Progress, Saved
from .settings import SegmentSettings

log = logging.getLogger(__name__)

_PART_BYTES = 40  # that a part's name has more: its time, a number, and what it is


def refuse_bad_outputs(settings: SegmentSettings) -> None:
    """Look at every path before anything is opened: a file opened for writing is lost already.

    Raises:
        OutputError: an output is the source or another output, exists and may not be replaced, or has too long a name.
        SourceError: the system does not say whether the source is there.
    """
    if settings.stats is not None:
        refuse_bad_stats(settings.stats)
    if settings.masks is not None and not settings.picture:
        written_kind(settings.masks)
    if settings.file is not None:
        _refuse_out_of_reach(settings.file)
    # Whether the earlier run was the same one is looked at when the model is there.
    goes_on = settings.resume and (has_trace(settings.outputs) or find_done(settings.outputs) is not None)
    seen: set[str] = set()
    for output in settings.outputs:
        most = NAME_BYTES - (_PART_BYTES if settings.is_endless else 0)
        if (size := len(os.fsencode(output.name))) > most:
            raise OutputError(
                f"{output}: this name has {size} bytes, and may have at most {most}; "
                "name each output: --overlay FILE --masks FILE --stats FILE"
            )
        if output.exists() and settings.file and settings.file.exists() and output.samefile(settings.file):
            raise OutputError(f"{output}: is the source itself; choose another name for the output")
        real = os.path.realpath(output)
        if real in seen:
            raise OutputError(f"{output}: named for two outputs; give each a name of its own")
        seen.add(real)
        may_exist = settings.overwrite or settings.is_endless or goes_on  # a camera's parts have names of their own
        if output.exists() and not may_exist:
            finished = ", and no run is left to go on with: it is finished" if settings.resume else ""
            raise OutputError(f"{output}: exists{finished}; pass --overwrite to replace it")


def refuse_unknown_classes(settings: SegmentSettings, model: Model, *, counted: bool) -> None:
    """Raises `RoadmaskError` where one is none of the model's, or is renamed and not `counted` in any statistics."""
    classes = model.spec.classes
    overlay_of(settings, model)
    select_classes(classes, only=settings.blur)
    map_classes(classes, settings.renamed)
    if settings.renamed and not counted:
        raise RoadmaskError("--map is for statistics; pass --stats FILE or -o DIR/", usage=True)


def _refuse_out_of_reach(source: Path) -> None:
    """Not one that is not there: that is told by who opens it."""
    try:
        source.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as exc:  # in a folder that nobody may look into, a loop of links, a name that is too long
        raise SourceError(f"{source}: cannot be read ({exc.strerror})") from exc


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """A sink, and where it goes on."""

    sink: Sink
    position: Position = 0  # of the first frame that it is to be given


def camera_outputs(settings: SegmentSettings, model: Model) -> list[Output]:
    """A camera's outputs, recorded in parts."""
    return [
        Output(PartsSink(path, make, segment_time_s=settings.segment_s, keep_s=settings.keep_s))
        for path, make in _makers(settings, model)
    ]


def file_outputs(settings: SegmentSettings, info: VideoInfo, model: Model, saved: Saved | None) -> list[Output]:
    """A file's outputs, ready to be entered; they go on from what was saved.

    Raises:
        OutputError: what an earlier run left is gone, or cannot be gone on with.
    """
    if saved is None:
        return [Output(make(path, info)) for path, make in _makers(settings, model)]
    settings = replace(settings, overwrite=True)  # whatever has the final name, the earlier run was allowed to replace
    sinks = [make(path, info) for path, make in _makers(settings, model, began=saved.began)]
    return [Output(sink, sink.resume(saved.position)) for sink in sinks]


def piece_sinks(settings: SegmentSettings, info: VideoInfo, model: Model, piece: Piece) -> list[Sink]:
    """What writes a stretch of a file's run, for the `append` of its outputs.

    Args:
        settings: of the run.
        info: of the file.
        model: of the run.
        piece: to write.
    """
    sinks: list[Sink] = []
    if settings.overlay is not None:
        anew = replace(settings, overwrite=True)
        sinks.append(_overlay_sink(anew, model, piece.began, piece.file(_VIDEO), info, sound=False))
    if settings.masks is not None:
        sinks.append(MaskPieceSink(piece.file(_MASKS), mask_format(settings.masks)))
    if settings.stats is not None:
        track = _track(settings, info)
        carries = settings.every is not None
        path = piece.file(_ROWS)
        sinks.append(CsvStatsSink(path, model.spec, settings.renamed, carries=carries, track=track, overwrite=True))
    return sinks


class Outputs:
    """Everything that a run writes to, as a context manager.

    Args:
        outputs: each with its position.
        progress: to be kept of them; `None` for none.
        ending: of the run, which its outputs are told on leaving; it is asked whether the run was stopped.
    """

    def __init__(self, outputs: Sequence[Output], progress: Progress | None, ending: Callable[[bool], Ending]) -> None:
        self._outputs = outputs
        self._sinks = [output.sink for output in outputs]
        self._progress = progress
        self._ending = ending
        self._stack = ExitStack()

    @property
    def position(self) -> Position:
        """Of the first frame that an output lacks."""
        return min((output.position for output in self._outputs), default=0)

    @property
    def sound(self) -> str:
        """What became of it in them, in words."""
        return ", ".join(filter(None, (sink.sound for sink in self._sinks)))

    def write(self, decided: Decided, lost: Lost) -> None:
        """A frame, to the outputs that lack it; so much was lost up to there."""
        for output in self._outputs:
            if decided.position >= output.position:
                output.sink.write(decided.result)
        if self._progress:
            self._progress.note(decided, self._sinks, lost)

    def append(self, piece: Piece) -> None:
        """What `piece_sinks` has written, in place of frames."""
        for sink in self._sinks:
            sink.append(piece)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for sink in self._sinks:
                stack.enter_context(sink)
            stack.push(self._tell)
            self._stack = stack.pop_all()
        return self

    def _tell(self, _: type[BaseException] | None, exc: BaseException | None, __: TracebackType | None) -> None:
        if is_failure(exc):
            return
        ending = self._ending(exc is not None)
        for sink in self._sinks:
            sink.tell(ending)
            if self._progress:
                sink.sync()
        if self._progress:
            self._progress.tell(ending)

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        self._stack.__exit__(kind, exc, at)


def keep_times(settings: SegmentSettings) -> None:
    """Give what was made the times of the file, where the settings say so."""
    if not settings.keep_times or settings.file is None:
        return
    for output in filter(Path.exists, settings.outputs):  # all of them, unless it was stopped before the first frame
        try:
            times = settings.file.stat()
            os.utime(output, ns=(times.st_atime_ns, times.st_mtime_ns))
        except OSError as exc:
            log.warning("%s: its times are not those of its file (%s)", output, exc.strerror or exc)


def _makers(
    settings: SegmentSettings, model: Model, *, began: Place | None = None
) -> Iterator[tuple[Path, Callable[[Path, VideoInfo], Sink]]]:
    """Each output's path, and what makes a sink for such a path."""
    if settings.picture:
        yield from _picture_makers(settings, model)
        return
    if settings.overlay is not None:
        yield settings.overlay, partial(_overlay_sink, settings, model, began)
    if settings.masks is not None:
        yield settings.masks, partial(_masks_sink, settings, model)
    if settings.stats is not None:
        yield settings.stats, partial(_stats_sink, settings, model)


def _picture_makers(
    settings: SegmentSettings, model: Model
) -> Iterator[tuple[Path, Callable[[Path, VideoInfo], Sink]]]:
    def sink(path: Path, _: VideoInfo, *, encode: Callable[[SegmentedFrame], bytes]) -> Sink:
        return PictureSink(path, encode, overwrite=settings.overwrite)

    if settings.overlay is not None:
        assert settings.file is not None
        draw = overlay_of(settings, model).picture
        encode = overlay_encoder(settings.overlay, draw, settings.file, noted=settings.metadata and not settings.blur)
        yield settings.overlay, partial(sink, encode=encode)
    if settings.masks is not None:
        yield settings.masks, partial(sink, encode=lambda result: marked(png(result.mask), MASK_COMMENT))


def _overlay_sink(
    settings: SegmentSettings, model: Model, began: Place | None, path: Path, info: VideoInfo, *, sound: bool = True
) -> OverlayVideoSink:
    overlay = overlay_of(settings, model)
    if began and settings.file and settings.legend == "auto":
        overlay.place_legend(_first_picture(settings, settings.file))
    return OverlayVideoSink(
        path,
        info,
        overlay.render,
        source=settings.file if sound else None,
        began=began,
        end=_end(settings, info),
        metadata=settings.metadata,
        hides=bool(settings.blur),
        overwrite=settings.overwrite,
        encoding=settings.encoding(model.device),
    )


def _end(settings: SegmentSettings, info: VideoInfo) -> Fraction | None:
    """Where the run is to end, in seconds from the first frame, as far as that is known beforehand."""
    ends = [settings.end]
    if settings.max_frames and info.rate:
        ends.append((settings.start or 0) + settings.max_frames * settings.stride / info.rate)
    return min((end for end in ends if end is not None), default=None)


def overlay_of(settings: SegmentSettings, model: Model) -> Overlay:
    """What draws as the settings say, for one output.

    Raises:
        RoadmaskError: a class that was named, or that the palette's file names, is none of the model's.
    """
    drawn = select_classes(model.spec.classes, only=settings.classes, exclude=settings.exclude)
    classes = settings.palette.colored(model.spec.classes)
    return Overlay(classes, alpha=settings.alpha, style=settings.style, drawn=drawn, legend=settings.legend)


def _first_picture(settings: SegmentSettings, file: Path) -> av.VideoFrame:
    """Of the run, by which a legend chooses its place, wherever this part of the run begins."""
    with open_source(
        file,
        start=settings.start,
        max_pixels=settings.max_pixels,
        stream=settings.stream,
        picture_rate=settings.picture_rate,
        deinterlace=settings.deinterlace,
    ) as source:
        return next(source.frames(lambda _: (2, 2))).picture


def _masks_sink(settings: SegmentSettings, model: Model, path: Path, info: VideoInfo) -> Sink:
    header = ArchiveHeader(
        model.spec.classes,
        info.width,
        info.height,
        source=settings.name,
        model=model.path.name,
        model_sha256=model.sha256,
        smoothed=settings.smooth,
        stream=settings.stream,
        ignored=str(settings.ignore) if settings.ignore else None,
    )
    return archive_sink(path, header, overwrite=settings.overwrite)


def _stats_sink(settings: SegmentSettings, model: Model, path: Path, info: VideoInfo) -> Sink:
    return open_stats_sink(
        path,
        model.spec,
        settings.renamed,
        source=settings.name,
        model=model.path.name,
        model_sha256=model.sha256,
        carries=settings.every is not None,
        track=_track(settings, info),
        overwrite=settings.overwrite,
    )


def _track(settings: SegmentSettings, info: VideoInfo) -> GpsTrack | None:
    return read_gps(settings.file) if settings.file and info.carried.has_tracks else None
