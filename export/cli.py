"""`roadmask export` and `roadmask eval`: options in, tables out."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from stream.errors import RoadmaskError
from training.errors import TrainingError

from .convert import export_model
from .errors import ExportError
from .evaluate import Evaluation, evaluate_model
from .pictures import find_pictures
from .verify import ParityReport

ERRORS: tuple[type[Exception], ...] = (ExportError, TrainingError, RoadmaskError)


def export(
    checkpoint: Annotated[Path, typer.Argument(help="Written by 'roadmask train', as in runs/first/best.pt.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Model file; by default beside the checkpoint, .onnx.")
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(help="Folder or data set to compare on; by default frames of the training data."),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="HxW", help="Picture size it asks for, about: larger is finer and slower."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the model file if it is there.")] = False,
) -> None:
    """Turn a checkpoint into a model file.

    The model is run beside its checkpoint on real pictures first, and written only if the two agree.

    \b
    roadmask export runs/first/best.pt                       writes runs/first/best.onnx
    roadmask export runs/first/best.pt -o street.onnx
    roadmask export best.pt -o street.onnx --pictures frames/
    roadmask export best.pt -o fine.onnx --size 416x544
    roadmask run drive.mp4 --model street.onnx               and uses it
    """  # noqa: D301 - Typer needs the character, to leave the lines after it as they are
    output = output or checkpoint.with_suffix(".onnx")
    paths = find_pictures(pictures) if pictures else None
    report = export_model(checkpoint, output, overwrite=overwrite, pictures=paths, size=_size(size))
    _show_parity(report)
    typer.echo(f"{output} ({output.stat().st_size / 1e6:.1f} MB)")


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    height, x, width = text.lower().partition("x")
    if not (x and height.isdecimal() and width.isdecimal()):
        raise typer.BadParameter(f"{text!r} is not HEIGHTxWIDTH, such as 416x544", param_hint="--size")
    return int(height), int(width)


def evaluate(
    model: Annotated[Path, typer.Argument(help="Model file, written by 'roadmask export'.")],
    data: Annotated[Path, typer.Argument(help="Labelled data set, laid out as for 'roadmask train'.")],
    valid_drive: Annotated[
        list[str] | None,
        typer.Option(help="Score this recording instead of the data set's choice; may be repeated."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Score every picture there is.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Score a model file on labelled pictures.

    Mean intersection over union (mIoU), IoU of each class, and accuracy; void pixels do not count.

    \b
    roadmask eval street.onnx camvid/                        its validation pictures
    roadmask eval street.onnx camvid/ --valid-drive 0016E5
    roadmask eval street.onnx mine/ --all --json > scores.json
    """  # noqa: D301 - as above
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("pictures", total=None)
        evaluation = evaluate_model(
            model,
            data,
            valid_drives=valid_drive or (),
            every=every,
            device=device,
            on_picture=lambda done, total: progress.update(task, completed=done, total=total),
        )
    if as_json:
        typer.echo(json.dumps(_plain(evaluation), indent=2))
    else:
        _show_scores(evaluation)


def _show_parity(report: ParityReport) -> None:
    table = Table("pictures", "batch", "network input", "largest difference", "scores span", "equal labels")
    for case in report.cases:
        table.add_row(
            str(case.picture_count),
            str(case.batch),
            f"{case.width}x{case.height}",
            f"{case.max_difference:.1e}",
            f"{case.score_range:.1f}",
            f"{case.equal_labels:.4%}",
        )
    console = Console(stderr=True)
    console.print(f"checkpoint (torch) against model (ONNX Runtime) on {report.origin}:", markup=False, highlight=False)
    console.print(table)


def _show_scores(evaluation: Evaluation) -> None:
    table = Table("class", "IoU")
    for name, value in evaluation.iou.items():
        table.add_row(name, "-" if math.isnan(value) else f"{value:.4f}")
    table.add_section()
    table.add_row("mIoU", f"{evaluation.mean_iou:.4f}")
    table.add_row("accuracy", f"{evaluation.accuracy:.4f}")
    console = Console()
    console.print(f"pictures: {evaluation.picture_count} ({evaluation.chosen_by})", markup=False, highlight=False)
    console.print(table)


def _plain(evaluation: Evaluation) -> dict[str, object]:
    """For JSON, which has no nan: null is a class that neither occurs nor is predicted."""
    return {
        "pictures": evaluation.picture_count,
        "chosen_by": evaluation.chosen_by,
        "miou": _or_null(evaluation.mean_iou),
        "accuracy": _or_null(evaluation.accuracy),
        "iou": {name: _or_null(value) for name, value in evaluation.iou.items()},
    }


def _or_null(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)
