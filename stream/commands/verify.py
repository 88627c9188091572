"""`roadmask verify`: whether a mask archive is whole, and fits a video."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import cv2
import typer
from rich.console import Console

from ..archive.archive import MaskArchive, open_masks
from ..archive.verify import VideoCheck, archive_problems, told_ranges
from ..system.talk import number_of, printable, progress_bar
from . import options as of

_talk = Console(stderr=True, highlight=False)


def verify(
    masks: of.MaskArchiveFile,
    video: Annotated[Path | None, typer.Argument(metavar="VIDEO", help="The video that they are of.")] = None,
    any_name: Annotated[
        bool, typer.Option("--any-name", help="The video may have another name than when the masks were made.")
    ] = False,
    quiet: of.Quiet = False,
) -> None:
    """Check that a mask archive is whole, and that its masks are those of a video's frames.

    Every mask is read: none may be missing, damaged, extra, renamed, out of order, or of unknown classes. With a video,
    each must have the index and the time of one of its frames, and the video the name it had. Frames without a mask
    are told, and are no problem.
    The exit code is 1 if there are problems; each is a line.

    \b
    roadmask verify results/drive_masks
    roadmask verify masks.mkv drive.mp4
    """  # noqa: D301 - Typer needs the character itself, to leave the lines after it as they are
    cv2.setNumThreads(1)
    with open_masks(masks) as archive, progress_bar(quiet=quiet) as progress:
        reading = progress.add_task(masks.name, total=len(archive))
        problems = list(archive_problems(archive, lambda done: progress.update(reading, completed=done)))
        coverage = ""
        if video is not None:
            decoding = progress.add_task(video.name, total=None)
            check = VideoCheck(
                archive, video, any_name=any_name, on_frame=lambda done: progress.update(decoding, completed=done)
            )
            problems += check.problems()
            coverage = _coverage(archive, check, video)
        count = len(archive)
        told = number_of(count, "mask")
        lost = archive.ending.lost if archive.ending else ""
    sys.stdout.writelines(printable(f"{masks}: {problem}") + "\n" for problem in problems)
    if problems:
        sys.stdout.write(f"{told}, {number_of(len(problems), 'problem')}\n")
        raise typer.Exit(1)
    sys.stdout.write(f"{told}, {'' if count == 1 else 'all '}whole{printable(coverage)}\n")
    if lost:
        sys.stdout.write(f"the video could not be had in full: {printable(lost)}\n")


def _coverage(archive: MaskArchive, check: VideoCheck, video: Path) -> str:
    missing = check.frames - len(archive)
    if not missing:
        return f", one for each frame of {video.name}"
    return (
        f" and of {video.name}; {missing} of its {check.frames} frames have none: {told_ranges(check.without_mask())}"
    )
