"""`roadmask data`: what a data set holds, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from .classmap import class_names, one_class, read_map, split_map
from .console import Talk, print_class_table, print_line
from .dataset import Dataset, open_dataset
from .errors import DataError, TrainingError
from .options import SplitShare, ValidDrive, ValidList
from .split import split
from .survey import Survey, survey
from .told import Told, keep, merged, told_of

ERRORS: tuple[type[Exception], ...] = (TrainingError,)  # their messages are for the user

_SHEET_PICTURES = 12
_SHOWN = 12  # drives and sizes that are named
_SHEETS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".pdf")


def data(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Folder of labelled pictures, as most tools and data sets have them. DATA:MAP shows what a map makes "
            "of its classes.",
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Draw a sheet of frames with their labels into this file.")
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            metavar="PICTURES:LABELS", help="Folders of pictures and labels, where their names do not tell: frames:gt"
        ),
    ] = None,
    codes: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Classes in the order of their ids: other,road; a file; cityscapes, idd, mapillary, ...",
        ),
    ] = None,
    void: Annotated[str | None, typer.Option(metavar="IDS", help="Ids that nobody is to learn: 255, or 0,255")] = None,
    background: Annotated[
        str | None, typer.Option(metavar="NAME", help="Learn what nobody labelled as a class of this name.")
    ] = None,
    valid_list: ValidList = None,
    valid_drive: ValidDrive = None,
    split_share: SplitShare = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Look through a data set: what it was taken for, its validation split, and all that is wrong with it.

    The exit code is 1 if anything is. What --layout, --codes, --void and --background say is kept in the data set's
    folder (roadmask-data.json), where train, eval and export read it.

    \b
    roadmask data camvid
    roadmask data camvid -o sheet.png
    roadmask data camvid --valid-drive 0006R0
    roadmask data idd:idd-lite
    roadmask data mine --codes other,road --void 255
    roadmask data mine --layout frames:gt --codes cityscapes --split 0.2
    """  # noqa: D301
    if output is not None and output.exists() and not overwrite:
        raise TrainingError(f"{output}: exists; pass --overwrite to replace it")
    if output is not None and output.suffix.lower() not in _SHEETS:
        raise TrainingError(f"{output}: cannot be written; a sheet is one of {', '.join(_SHEETS)}", usage=True)
    root, mapped = split_map(data)
    told = told_of(layout, codes, void, background)
    dataset = _opened(root, told)
    given = read_map(mapped, dataset) if mapped else {}
    with Talk("reading") as talk:
        total = len(dataset.examples)
        found = survey(dataset, valid_list=valid_list, on_example=lambda done: talk.step(done, total))
    _print_survey(dataset, found)
    for name, text in given.items():
        print_line(f"{name} is {text.replace('|', ' or ')}")
    hindrances = _print_split(dataset, valid_list, valid_drive or [], split_share)
    names = class_names(dataset, given)
    problems = [*found.problems, *([one_class(dataset, names)] if len(names) < 2 else [])]
    for problem in problems:
        print_line(f"problem: {problem}")
    problems += hindrances
    if output is not None and found.usable:
        _save_sheet(dataset, found, output)
        print_line(f"sheet: {output}")
    if problems:
        print_line(f"{len(problems)} problem{'s' if len(problems) > 1 else ''} found")
        raise typer.Exit(1)


def _opened(root: Path, told: Told) -> Dataset:
    """With what was told before, and now, which is kept if the data set can be opened by it."""
    if told == Told():
        return open_dataset(root)
    dataset = open_dataset(root, merged(root, told))
    print_line(f"kept for train, eval and export: {keep(root, told)}")
    return dataset


def _print_survey(dataset: Dataset, found: Survey) -> None:
    """In four lines; the fifth is that of the split."""
    place, taken = dataset.described
    count = len(dataset.examples)
    print_line(f"{dataset.root}: {count} picture{'s' if count > 1 else ''} {place}")
    print_line(taken)
    sizes = [f"{width}x{height} ({count})" for (height, width), count in found.sizes.most_common()]
    print_line(f"sizes: {_first(sizes) or 'none'}")
    drives = [f"{drive} ({count})" for drive, count in sorted(found.frames_per_drive.items())]
    if len(drives) == count > 1:
        print_line("drives: none that names tell, as DRIVE_NUMBER would")
    else:
        print_line(f"{len(drives)} drive{'s' if len(drives) > 1 else ''}: {_first(drives)}")
    _print_note(found.strays, "are in colours of no class, and void")
    _print_note(found.shades, "are a shade off the colour of a class, and taken for it")
    if not found.usable:
        return
    shares = [f"{share:.2%}" for share in found.class_shares]
    title = f"{len(shares)} class{'es' if len(shares) > 1 else ''}; {found.void_share:.2%} of the pixels are void"
    print_class_table(title, "share", dataset.class_names, dataset.class_colors, shares)


def _print_note(pixels: Mapping[Path, int], what: str) -> None:
    if pixels:
        files = _first([str(path) for path in pixels], 3)
        print_line(f"note: {sum(pixels.values())} pixels of {len(pixels)} labels {what}: {files}")


def _first(items: Sequence[str], count: int = _SHOWN) -> str:
    return ", ".join(items[:count]) + (f" and {len(items) - count} more" if len(items) > count else "")


def _print_split(dataset: Dataset, valid_list: Path | None, valid_drives: list[str], share: float | None) -> list[str]:
    """Say how `roadmask train` would split; what hinders it, if anything."""
    try:
        chosen = split(dataset, valid_list=valid_list, valid_drives=valid_drives, share=share)
    except DataError as exc:
        print_line(f"validation split: not possible ({exc})")
        return [str(exc)]
    print_line(
        f"validation split by {chosen.valid_by}: {len(chosen.train)} to train on, {len(chosen.valid)} to score on"
    )
    return []


def _save_sheet(dataset: Dataset, found: Survey, path: Path) -> None:
    from .sheet import label_sheet  # and Pillow, which --help must do without
    from .split import evenly

    try:
        label_sheet(dataset, evenly(found.usable, _SHEET_PICTURES)).save(path)
    except (OSError, ValueError) as exc:  # ValueError: more pixels than such a file can have
        raise TrainingError(f"{path}: cannot be written ({exc})") from exc
