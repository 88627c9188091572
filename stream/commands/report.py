"""`roadmask report`: options in, talk out; the work is in `report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cv2
import typer

from ..masks.familiar import warning_of
from ..report.report import write_report
from ..report.run import ReportSettings
from ..system.talk import number_of, progress_bar, write_result, write_talk
from . import options as of


def report(
    masks: Annotated[
        list[Path], typer.Argument(metavar="MASKS...", help="Mask archives of any kind, or a folder of them.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The page.")] = Path("report.html"),
    video: Annotated[
        Path | None, typer.Option(help="The video, for overlays and flicker; of several runs, the folder of videos.")
    ] = None,
    stats: Annotated[Path | None, typer.Option(help="The run's statistics, to see whether they agree.")] = None,
    palette: of.Colors = "clear",  # type: ignore[assignment]
    style: of.DrawnAs = "fill",
    mapped: of.Mapped = "",
    overwrite: of.Overwrite = False,
    quiet: of.Quiet = False,
) -> None:
    """Make a page of a run, from its masks: shares over time, keyframes, flicker, problems.

    One HTML file that opens anywhere, without network.

    \b
    roadmask report results/drive_masks --video drive.mp4
    roadmask report masks.zip --stats shares.csv -o drive.html
    roadmask report results/ --video dashcam/              all runs of a folder on one page
    """  # noqa: D301 - Typer needs the character itself, to leave the lines after it as they are
    if not output.name:
        raise typer.BadParameter("name a file for the page", param_hint="-o")
    cv2.setNumThreads(1)  # every stage has a thread already
    if style != "fill" and video is None:
        raise typer.BadParameter("--style is for overlays; pass --video, too")
    settings = ReportSettings(tuple(masks), output, video, stats, palette, style, of.renamed_of(mapped), overwrite)
    with progress_bar(quiet=quiet) as progress:
        task = progress.add_task("", total=None)

        def told(name: str, what: str, done: int, total: int) -> None:
            progress.update(task, description=f"{name}: {what}", completed=done, total=total)

        runs = write_report(settings, on_progress=told)
    if not quiet:
        for run in runs:
            serious = [item.text for item in run.problems if item.is_serious]
            state = f"{number_of(len(serious), 'problem')}: {serious[0]}" if serious else "files whole"
            warning = f"; {warning}" if (warning := warning_of(run.unlike)) else ""
            write_talk(f"{run.name}: {len(run.scan.indices)} masks, {state}{warning}")
    write_result(output)
