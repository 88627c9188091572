"""`roadmask eval`: options in, tables and files out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..stream import RoadmaskError
from ..stream.commands import options as of
from ..stream.system.talk import counted, printable, progress_bar
from ..training.errors import TrainingError
from ..training.options import SplitShare
from .choice import Choice, Folder, everything, in_folder, in_stretches, of_drive, on_list, own_choice
from .errors import ExportError
from .eval_folder import result_folder, result_paths, write_results
from .eval_report import plain, show
from .evaluate import evaluate_model

ERRORS: tuple[type[Exception], ...] = (ExportError, TrainingError, RoadmaskError)


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="Model file, written by 'roadmask export', or the name of one in the box."
        ),
    ],
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Labelled data set, as for 'roadmask train'.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder for scores.json, frames.csv, confusion.csv and .png, worst.png."),
    ] = None,
    drive: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DRIVE",
            help="Score this drive, as train --valid-drive holds it out; * stands for any characters; repeatable.",
        ),
    ] = None,
    list_file: Annotated[
        Path | None, typer.Option("--list", metavar="FILE", help="Score the pictures that it names, as valid.txt does.")
    ] = None,
    folder: Annotated[
        Folder | None, typer.Option(help="Score this part of a data set that has folders of them.")
    ] = None,
    split: SplitShare = None,
    every: Annotated[bool, typer.Option("--all", help="Score every picture there is.")] = False,
    class_map: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="CLASS=CLASS",
            help="A class of the data as one of the model's, as void, or as A|B: one of several; also cityscapes, "
            "bdd100k, idd, camvid32, ... (as CamVid's 11), or a .json file; repeatable, the last one counts.",
        ),
    ] = None,
    smooth: of.Smooth = True,
    worst: Annotated[int, typer.Option(min=1, help="With -o: frames on the sheet of the worst.")] = 8,
    device: of.Device = "auto",
    size: of.Size = "auto",
    overwrite: of.Overwrite = False,
    as_json: of.AsJson = False,
) -> None:
    """Score a model file on labelled pictures.

    Mean intersection over union (mIoU), IoU of each class, and accuracy, over all and over each drive; void pixels
    do not count. Where the pictures are a video's (DRIVE_number, at most 3 apart), also flicker: the share of the
    points, followed from frame to frame, that change their class. Such pictures are decided as 'roadmask run' does,
    steadily over time; --no-smooth decides each by itself, as training does.

    \b
    roadmask eval street.onnx camvid/                        its validation pictures
    roadmask eval street.onnx camvid/ --drive 0016E5 --drive 0006R0 -o scores/
    roadmask eval camvid-lite0 segnet/ --folder test --no-smooth
    roadmask eval street.onnx camvid32/ --map camvid32 --map Tunnel=Building
    roadmask eval street.onnx idd/ --map idd-lite            in groups of classes, as its labels are sets of them
    roadmask eval street.onnx mine/ --all --json > scores.json
    """  # noqa: D301 - Typer needs the character, to leave the lines after it as they are
    from .worst import WorstFrames  # and Pillow, which --help must do without

    choice = _choice(drive or (), list_file, folder, split, every=every)
    worst_frames = WorstFrames(worst)
    with ExitStack() as stack:
        written = stack.enter_context(result_folder(output, overwrite=overwrite)) if output else None
        progress = stack.enter_context(progress_bar())
        evaluation = evaluate_model(
            model,
            data,
            choice=choice,
            class_map=class_map or (),
            smooth=smooth,
            device=device,
            size=size,
            on_frame=worst_frames.add if written else None,
            on_picture=counted(progress, "pictures"),
        )
        if written:
            write_results(written, evaluation, worst_frames)
    if as_json:
        typer.echo(json.dumps(plain(evaluation), indent=2))
    else:
        show(evaluation)
    for path in result_paths(output) if output else ():
        Console(stderr=True).print(printable(f"wrote {path}"), markup=False, highlight=False, soft_wrap=True)


def _choice(
    drives: Sequence[str], list_file: Path | None, folder: Folder | None, split: float | None, *, every: bool
) -> Choice:
    choices: dict[str, Choice] = {}
    if drives:
        choices["--drive"] = of_drive(drives)
    if list_file is not None:
        choices["--list"] = on_list(list_file)
    if folder is not None:
        choices["--folder"] = in_folder(folder)
    if split is not None:
        choices["--split"] = in_stretches(split)
    if every:
        choices["--all"] = everything
    if len(choices) > 1:
        raise typer.BadParameter(f"{' and '.join(choices)} exclude each other; choose the pictures in one way")
    return next(iter(choices.values()), own_choice)
