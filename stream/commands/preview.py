"""`roadmask preview`: options in, talk out; the work is in `preview`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cv2
import typer

from ..archive.archive import MaskArchive
from ..archive.masked_frames import Gaps
from ..encode.h264 import DEFAULT_CRF, DEFAULT_PRESET, Encoding
from ..frames import VideoInfo
from ..preview.preview import PreviewReport, PreviewSettings, View, preview_video
from ..system.stop import Stop, stop_on_signal
from ..system.talk import printable, progress_bar, write_result, write_talk
from . import options as of

OPTION_GROUPS = {
    "Options": "output view alpha classes exclude palette style legend ignore blur start end overwrite quiet help",
    "How it is written": "gaps deinterlace encoder crf preset no_metadata",
}
as_typer_takes_them = of.with_legend_placed


def preview(
    masks: of.MaskArchiveFile,
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="The video that the masks were made from.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="FILE.mp4, .mov or .mkv; default: VIDEO_preview.mp4 here.")
    ] = None,
    view: Annotated[View, typer.Option(help="What to show.")] = "overlay",
    alpha: of.Alpha = 0.5,
    classes: of.DrawnClasses = "",
    exclude: of.ClassesNotDrawn = "",
    palette: of.Colors = "clear",  # type: ignore[assignment]
    style: of.DrawnAs = "fill",
    legend: of.Legend = "off",
    ignore: of.Ignoring = None,
    blur: of.Blurred = "",
    start: of.Start = None,
    end: of.End = None,
    deinterlace: of.Deinterlacing = "auto",
    gaps: Annotated[
        Gaps, typer.Option(help="Frames between two masks (run --stride): hold the one before, or skip the frames.")
    ] = "hold",
    encoder: of.Encoder = "auto",
    crf: of.Crf = DEFAULT_CRF,
    preset: of.X264Preset = DEFAULT_PRESET,
    overwrite: of.Overwrite = False,
    no_metadata: of.NoMetadata = False,
    quiet: of.Quiet = False,
) -> None:
    """Draw an overlay video from saved masks, without the model.

    Each mask is drawn over the frame that it was made from; another video than that is refused. With the options of
    the run that made the masks, it is the overlay of that run.

    \b
    roadmask preview results/drive_masks drive.mp4 -o seen.mp4 --legend
    roadmask preview masks.mkv drive.mp4 --classes car,pedestrian --start 1:00 --end 1:30
    roadmask preview masks.zip drive.mp4 -o both.mp4 --view side-by-side
    """  # noqa: D301 - Typer needs the character itself, to leave the lines after it as they are
    of.refuse_empty_part(start, end)
    settings = PreviewSettings(
        masks=masks,
        video=video,
        output=output or Path(f"{video.stem}_preview.mp4"),
        view=view,
        gaps=gaps,
        alpha=alpha,
        classes=of.names_of(classes),
        exclude=of.names_of(exclude),
        palette=palette,
        style=style,
        legend=legend,
        ignore=of.ignored_of(ignore),
        blur=of.names_of(blur),
        start=start,
        end=end,
        deinterlace=deinterlace,
        encoding=Encoding(encoder, crf, preset),
        overwrite=overwrite,
        metadata=not no_metadata,
    )
    cv2.setNumThreads(1)  # its threads would only be in the way: every stage has one
    with stop_on_signal() as stop:
        report = _preview(settings, stop, quiet=quiet)
    if report.frames:
        write_result(settings.output)
    if report.interrupted:
        raise typer.Exit(130 if stop.by is not None else 0)


def _preview(settings: PreviewSettings, stop: Stop, *, quiet: bool) -> PreviewReport:
    with progress_bar(quiet=quiet) as progress:
        task = progress.add_task(settings.output.name, total=None)

        def opened(info: VideoInfo, masks: MaskArchive) -> None:
            if not quiet:
                made_from = masks.header.source
                other_name = f", made from {made_from}" if made_from and made_from != settings.video.name else ""
                told = f"{settings.video.name}: {info.width}x{info.height}; {len(masks)} masks of {settings.masks.name}"
                progress.console.print(printable(told + other_name), soft_wrap=True, markup=False)
            if not (settings.start or settings.end):
                progress.update(task, total=len(masks) if settings.gaps == "skip" else info.frame_count)

        report = preview_video(
            settings, stop=stop, on_open=opened, on_frame=lambda done: progress.update(task, completed=done)
        )
    if not quiet:
        write_talk(f"{settings.output.name}: {report}")
    return report
