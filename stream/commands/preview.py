"""`roadmask preview`: options in, talk out; the work is in `preview`."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Annotated

import cv2
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..archive.archive import MaskArchive
from ..archive.masked_frames import Gaps
from ..encode.h264 import DEFAULT_CRF, DEFAULT_PRESET, EncoderChoice, Preset
from ..errors import RoadmaskError
from ..frames import VideoInfo
from ..preview.preview import PreviewReport, PreviewSettings, preview_video
from ..preview.view import View
from ..process.stop import Stop, stop_on_signal
from ..talk.printable import printable, write_result
from .moment import parse_moment

ERRORS: tuple[type[Exception], ...] = (RoadmaskError,)
_talk = Console(stderr=True, highlight=False)


def _time(text: str) -> Fraction:
    try:
        return parse_moment(text)
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc


def preview(
    masks: Annotated[Path, typer.Argument(metavar="MASKS", help="A mask archive of any kind.")],
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="The video that the masks were made from.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="FILE.mp4, .mov or .mkv; without, VIDEO_preview.mp4 here.")
    ] = None,
    view: Annotated[View, typer.Option(help="What to show.")] = "overlay",
    alpha: Annotated[float, typer.Option(min=0, max=1, help="Share of the class colour in the overlay.")] = 0.5,
    classes: Annotated[str, typer.Option(help="Draw only these: road,car", show_default=False)] = "",
    exclude: Annotated[str, typer.Option(help="Do not draw these: sky", show_default=False)] = "",
    legend: Annotated[bool, typer.Option("--legend/--no-legend", help="Draw the classes' colours and names.")] = False,
    start: Annotated[
        Fraction | None,
        typer.Option(parser=_time, metavar="TIME", help="From here: seconds or 00:01:30.", show_default=False),
    ] = None,
    end: Annotated[
        Fraction | None,
        typer.Option(parser=_time, metavar="TIME", help="Up to here, without it.", show_default=False),
    ] = None,
    gaps: Annotated[
        Gaps, typer.Option(help="Frames between two masks (run --stride): hold the one before, or skip the frames.")
    ] = "hold",
    encoder: Annotated[EncoderChoice, typer.Option(help="Of the video.")] = "auto",
    crf: Annotated[int, typer.Option(min=0, max=51, help="Quality; 0 is lossless.")] = DEFAULT_CRF,
    preset: Annotated[Preset, typer.Option(help="x264's speed.")] = DEFAULT_PRESET,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress bar and no talk, errors alone.")] = False,
) -> None:
    """Draw an overlay video from saved masks, without the model.

    Each mask is drawn over the frame that it was made from; another video than that is refused. With the options of
    the run that made the masks, it is the overlay of that run.

    \b
    roadmask preview results/drive_masks drive.mp4 -o seen.mp4 --legend
    roadmask preview masks.mkv drive.mp4 --classes car,pedestrian --start 1:00 --end 1:30
    roadmask preview masks.zip drive.mp4 -o both.mp4 --view side-by-side
    """  # noqa: D301 - Typer needs the character itself, to leave the lines after it as they are
    if end is not None and end <= (start or 0):
        raise typer.BadParameter("--end must be later than --start")
    settings = PreviewSettings(
        masks=masks,
        video=video,
        output=output or Path(f"{video.stem}_preview.mp4"),
        view=view,
        gaps=gaps,
        alpha=alpha,
        classes=_names(classes),
        exclude=_names(exclude),
        legend=legend,
        start=start,
        end=end,
        encoder=encoder,
        crf=crf,
        preset=preset,
        overwrite=overwrite,
    )
    cv2.setNumThreads(1)  # its threads would only be in the way: every stage has one
    with stop_on_signal() as stop:
        report = _preview(settings, stop, quiet=quiet)
    if report.frames:
        write_result(settings.output)
    if report.interrupted:
        raise typer.Exit(130 if stop.by is not None else 0)


def _preview(settings: PreviewSettings, stop: Stop, *, quiet: bool) -> PreviewReport:
    with _progress(quiet=quiet) as progress:
        task = progress.add_task(settings.output.name, total=None)

        def opened(info: VideoInfo, masks: MaskArchive) -> None:
            if not quiet:
                progress.console.print(printable(_told(settings, info, masks)), soft_wrap=True, markup=False)
            if not (settings.start or settings.end):
                progress.update(task, total=len(masks) if settings.gaps == "skip" else info.frame_count)

        report = preview_video(
            settings,
            stop=stop,
            on_open=opened,
            on_frame=lambda frames: progress.update(task, completed=frames),
        )
    if not quiet:
        _talk.print(printable(f"{settings.output.name}: {report}"), soft_wrap=True, markup=False)
    return report


def _told(settings: PreviewSettings, info: VideoInfo, masks: MaskArchive) -> str:
    source = masks.header.source
    other_name = f", made from {source}" if source and source != settings.video.name else ""
    return f"{settings.video.name}: {info.width}x{info.height}; {len(masks)} masks of {settings.masks.name}{other_name}"


def _progress(*, quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=_talk,
        disable=quiet or not _talk.is_terminal,
        transient=True,
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
