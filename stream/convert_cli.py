"""`roadmask convert`: a mask archive into one of another kind."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import cv2
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .archive_convert import convert_archive
from .errors import RoadmaskError

ERRORS: tuple[type[Exception], ...] = (RoadmaskError,)
_talk = Console(stderr=True, highlight=False)


def convert(
    masks: Annotated[Path, typer.Argument(metavar="MASKS", help="A folder, .zip, .mkv, .npz or .zarr of masks.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The new archive: a folder, .zip, .mkv, .npz or .zarr.")
    ],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress bar.")] = False,
) -> None:
    """Turn a mask archive into one of another kind, without loss.

    What a killed run left can be converted, too: what is whole in it is then an archive of its own.

    \b
    roadmask convert masks.mkv -o masks.zarr
    roadmask convert masks.partial.zip -o rescued.npz
    """  # noqa: D301 - Typer needs the character itself, to leave the lines after it as they are
    cv2.setNumThreads(1)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=_talk,
        disable=quiet or not _talk.is_terminal,
        transient=True,
    ) as progress:
        task = progress.add_task(masks.name, total=None)
        count = convert_archive(
            masks,
            output,
            overwrite=overwrite,
            on_mask=lambda done, total: progress.update(task, completed=done, total=total),
        )
    if not quiet:
        _talk.print(f"{masks}: {count} masks", soft_wrap=True)
    sys.stdout.write(f"{output}\n")
