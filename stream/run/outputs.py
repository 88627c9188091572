"""The outputs of a run: which paths may be written, and what writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

from ..archive.manifest import Ending, mask_format
from ..archive.mask_piece import SUFFIX as _MASKS
from ..archive.mask_piece import MaskPieceSink
from ..archive.mask_sink import MaskSink, open_archive_sink
from ..camera.parts import PartsSink
from ..encode.overlay import Overlay
from ..encode.video_sink import OverlayVideoSink
from ..errors import OutputError
from ..frames import FileSink, SegmentedFrame, Sink, VideoInfo
from ..network.model import Model
from ..spec import select_classes
from ..stats.csv_stats import CsvStatsSink
from ..stats.stats import open_stats_sink, refuse_bad_stats
from .progress import Progress, Saved, progress_folder
from .settings import SegmentSettings

_VIDEO, _ROWS = ".mp4", ".csv"  # of stretches, whatever the outputs are


def refuse_bad_outputs(settings: SegmentSettings) -> None:
    """Look at every path before anything is opened: a file opened for writing is lost already.

    Raises:
        OutputError: an output is the source or another output, or exists and may not be replaced.
    """
    if settings.stats is not None:
        refuse_bad_stats(settings.stats)
    goes_on = settings.resume and bool(settings.outputs) and progress_folder(settings.outputs).exists()
    seen: set[Path] = set()
    for output in settings.outputs:
        if output.exists() and settings.file and settings.file.exists() and output.samefile(settings.file):
            raise OutputError(f"{output}: is the source itself; choose another name for the output")
        if output.resolve() in seen:
            raise OutputError(f"{output}: named for two outputs")
        seen.add(output.resolve())
        may_exist = settings.overwrite or settings.is_endless or goes_on  # a camera's parts have names of their own
        if output.exists() and not may_exist:
            finished = ", and no run is left to go on with: it is finished" if settings.resume else ""
            raise OutputError(f"{output}: exists{finished}; pass --overwrite to replace it")


def camera_sinks(settings: SegmentSettings, model: Model) -> list[PartsSink]:
    """A camera's outputs, recorded in parts."""
    return [
        PartsSink(path, make, segment_time_s=settings.segment_s, keep_s=settings.keep_s)
        for path, make, _ in _makers(settings, model)
    ]


@dataclass(frozen=True, slots=True, eq=False)
class FileOutput:
    """An output of a file's run."""

    sink: FileSink
    first: int  # number of the first frame that it is to be given
    piece: str  # suffix of the files that `piece_sinks` writes for it


def file_outputs(settings: SegmentSettings, info: VideoInfo, model: Model, saved: Saved | None) -> list[FileOutput]:
    """A file's outputs, ready to be entered; they go on from what was saved.

    Raises:
        OutputError: what an earlier run left is gone, or cannot be gone on with.
    """
    if saved is None:
        return [FileOutput(make(path, info), 0, piece) for path, make, piece in _makers(settings, model)]
    settings = replace(settings, overwrite=True)  # whatever has the final name, the earlier run was allowed to replace
    return [_gone_on_with(make(path, info), piece, saved) for path, make, piece in _makers(settings, model)]


def piece_sinks(
    settings: SegmentSettings, info: VideoInfo, model: Model, path: Path, *, began: tuple[int, int]
) -> list[Sink]:
    """What writes a stretch of a file's run, for the `append` of its outputs.

    Args:
        settings: of the run.
        info: of the file.
        model: of the run.
        path: of the files to write, without their suffixes.
        began: index and pts of the run's first frame.
    """
    sinks: list[Sink] = []
    if settings.overlay is not None:
        overlay = _overlay_sink(replace(settings, overwrite=True), model, Path(f"{path}{_VIDEO}"), info, sound=False)
        overlay.began_with(*began)
        sinks.append(overlay)
    if settings.masks is not None:
        sinks.append(MaskPieceSink(Path(f"{path}{_MASKS}"), mask_format(settings.masks)))
    if settings.stats is not None:
        sinks.append(CsvStatsSink(Path(f"{path}{_ROWS}"), model.spec, overwrite=True))
    return sinks


def _gone_on_with(sink: FileSink, piece: str, saved: Saved) -> FileOutput:
    first = saved.frames
    if isinstance(sink, OverlayVideoSink):
        first = sink.whole_pieces(saved.frames)
        sink.began_with(saved.first_index, saved.first_pts)
    sink.resume(first)
    return FileOutput(sink, first, piece)


class Outputs:
    """Everything that a run writes to, as a context manager.

    Args:
        files: the outputs of a file's run.
        others: what is to get every frame that is worked out, and no other.
        progress: to be kept of it; `None` for none.
    """

    def __init__(self, files: Sequence[FileOutput], others: Sequence[Sink], progress: Progress | None) -> None:
        self._files = files
        self._others = others
        self._progress = progress
        self._kept = progress.saved.frames if progress and progress.saved else 0
        self._stack = ExitStack()

    @property
    def first(self) -> int:
        """Number of the first frame that an output lacks."""
        return min([self._kept, *(output.first for output in self._files)])

    def write(self, number: int, result: SegmentedFrame, undecodable: int, damaged: int) -> None:
        """Frame `number` of the run; so many packets and frames were damaged up to now."""
        for output in self._files:
            if number >= output.first:
                output.sink.write(result)
        if number < self._kept:
            return
        for sink in self._others:
            sink.write(result)
        if self._progress:
            self._progress.note(result, [output.sink for output in self._files], undecodable, damaged)

    def append(self, path: Path, *, began: tuple[int, int]) -> None:
        """What `piece_sinks` has written under that name, in place of frames."""
        for output in self._files:
            if isinstance(output.sink, OverlayVideoSink):
                output.sink.began_with(*began)
            output.sink.append(Path(f"{path}{output.piece}"))

    def tell(self, ending: Ending) -> None:
        """How the run ended, to be told before leaving."""
        for output in self._files:
            if isinstance(output.sink, MaskSink):
                output.sink.ending = ending

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for sink in chain((output.sink for output in self._files), self._others):
                stack.enter_context(sink)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(exc_type, exc, traceback)


def _makers(
    settings: SegmentSettings, model: Model
) -> Iterator[tuple[Path, Callable[[Path, VideoInfo], FileSink], str]]:
    """Each output's path, what makes a sink for such a path, and the suffix of its pieces."""
    if settings.overlay is not None:
        yield settings.overlay, partial(_overlay_sink, settings, model), _VIDEO
    if settings.masks is not None:
        yield settings.masks, partial(_masks_sink, settings, model), _MASKS
    if settings.stats is not None:
        yield settings.stats, partial(_stats_sink, settings, model), _ROWS


def _overlay_sink(
    settings: SegmentSettings, model: Model, path: Path, info: VideoInfo, *, sound: bool = True
) -> OverlayVideoSink:
    return OverlayVideoSink(
        path,
        info,
        overlay_of(settings, model).render,
        source=settings.file if sound else None,
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


def _masks_sink(settings: SegmentSettings, model: Model, path: Path, info: VideoInfo) -> FileSink:
    return open_archive_sink(
        path,
        info,
        model.spec,
        source=settings.name,
        model=model.path.name,
        model_sha256=model.sha256(),
        smoothed=settings.smooth,
        stream=settings.stream,
        overwrite=settings.overwrite,
    )


def _stats_sink(settings: SegmentSettings, model: Model, path: Path, _: VideoInfo) -> FileSink:
    return open_stats_sink(
        path,
        model.spec,
        source=settings.name,
        model=model.path.name,
        model_sha256=model.sha256(),
        overwrite=settings.overwrite,
    )
