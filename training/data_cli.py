"""`roadmask data`: what a data set holds, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .camvid import Dataset, open_dataset, split
from .classmap import read_map, split_map
from .console import Talk, print_class_table, print_line
from .errors import DataError, TrainingError
from .options import ValidDrive, ValidList
from .survey import Survey, survey

ERRORS: tuple[type[Exception], ...] = (TrainingError,)  # their messages are for the user

_SHEET_PICTURES = 12
_SHEETS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".pdf")


def data(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Data set: images/, labels/ and codes.txt; or train/ and trainannot/. DATA:MAP shows what a map makes "
            "of its classes.",
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Draw a sheet of frames with their labels into this file.")
    ] = None,
    valid_list: ValidList = None,
    valid_drive: ValidDrive = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Look through a data set: drives, classes, sizes, the validation split, and all that is wrong with it.

    The exit code is 1 if anything is.

    \b
    roadmask data camvid
    roadmask data camvid -o sheet.png
    roadmask data camvid --valid-drive 0006R0
    roadmask data idd:idd-lite
    """  # noqa: D301
    if output is not None and output.exists() and not overwrite:
        raise TrainingError(f"{output}: exists; pass --overwrite to replace it")
    if output is not None and output.suffix.lower() not in _SHEETS:
        raise TrainingError(f"{output}: cannot be written; a sheet is one of {', '.join(_SHEETS)}", usage=True)
    root, mapped = split_map(data)
    dataset = open_dataset(root)
    given = read_map(mapped, dataset) if mapped else {}
    with Talk("reading") as talk:
        total = len(dataset.examples)
        found = survey(dataset, valid_list=valid_list, on_example=lambda done: talk.step(done, total))
    _print_survey(dataset, found)
    for name, text in given.items():
        print_line(f"{name} is {text.replace('|', ' or ')}")
    problems = [*found.problems, *_print_split(dataset, valid_list, valid_drive or [])]
    for problem in found.problems:
        print_line(f"problem: {problem}")
    if output is not None and found.usable:
        _save_sheet(dataset, found, output)
        print_line(f"sheet: {output}")
    if problems:
        print_line(f"{len(problems)} problem{'s' if len(problems) > 1 else ''} found")
        raise typer.Exit(1)


def _print_survey(dataset: Dataset, found: Survey) -> None:
    print_line(f"{dataset.root}: {len(dataset.examples)} pictures in the layout of {dataset.layout}")
    sizes = (f"{width}x{height} ({count})" for (height, width), count in found.sizes.most_common())
    print_line(f"sizes: {', '.join(sizes) or 'none'}")
    for drive, count in sorted(found.frames_per_drive.items()):
        print_line(f"drive {drive}: {count} frames")
    shares = [f"{share:.2%}" for share in found.class_shares]
    title = f"{len(shares)} classes; {found.void_share:.2%} of the pixels are void"
    print_class_table(title, "share", dataset.class_names, dataset.class_colors, shares)


def _print_split(dataset: Dataset, valid_list: Path | None, valid_drives: list[str]) -> list[str]:
    """Say how `roadmask train` would split; what hinders it, if anything."""
    try:
        chosen = split(dataset, valid_list=valid_list, valid_drives=valid_drives)
    except DataError as exc:
        print_line(f"validation split: not possible ({exc})")
        return [str(exc)]
    print_line(
        f"validation split by {chosen.valid_by}: {len(chosen.train)} to train on, {len(chosen.valid)} to score on"
    )
    return []


def _save_sheet(dataset: Dataset, found: Survey, path: Path) -> None:
    from .sheet import evenly, label_sheet  # and Pillow, which --help must do without

    try:
        label_sheet(dataset, evenly(found.usable, _SHEET_PICTURES)).save(path)
    except (OSError, ValueError) as exc:  # ValueError: more pixels than such a file can have
        raise TrainingError(f"{path}: cannot be written ({exc})") from exc
