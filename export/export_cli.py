"""`roadmask export`: options in, a table out."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ..stream import RoadmaskError
from ..stream.commands import options as of
from ..stream.network.model import bundled_models, find_model
from ..stream.system.talk import counted, printable, progress_bar
from ..training.checkpoint import load
from ..training.errors import TrainingError
from ..training.options import parse_size
from .calibration import PICTURE_COUNT, given_samples
from .convert import export_model
from .errors import ExportError
from .half import halve_model
from .model_file import check_output
from .pictures import find_pictures, samples
from .quantize import quantize_model
from .verify import ParityReport

ERRORS: tuple[type[Exception], ...] = (ExportError, TrainingError, RoadmaskError)


def export(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT",
            help="Written by 'roadmask train', as in runs/first/best.pt. For a twin also a model file.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="Model file; by default beside the checkpoint, as .onnx, -int8.onnx or -fp16.onnx."
        ),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(help="Folder or data set to compare on; by default frames of the training data."),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Smaller and faster on CPUs, for nearly the same labels; needs --calibrate.")
    ] = False,
    fp16: Annotated[
        bool, typer.Option("--fp16", help="Smaller, and faster on GPUs, for nearly the same labels.")
    ] = False,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA",
            help="For --int8: a data set (its training pictures), a folder of pictures or a video, as it will see.",
            show_default=False,
        ),
    ] = None,
    calibrate_pictures: Annotated[
        int, typer.Option(min=1, metavar="N", help="At most so many of them, spread evenly.")
    ] = PICTURE_COUNT,
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Picture size it asks for, about: larger is finer and slower."),
    ] = None,
    overwrite: of.Overwrite = False,
) -> None:
    """Turn a checkpoint into a model file.

    The model is run beside its checkpoint on real pictures first, and written only if the two agree.

    \b
    roadmask export runs/first/best.pt                       writes runs/first/best.onnx
    roadmask export runs/first/best.pt -o street.onnx
    roadmask export best.pt -o street.onnx --pictures frames/
    roadmask export best.pt -o fine.onnx --size 544x416
    roadmask export best.pt --int8 --calibrate camvid/       writes best-int8.onnx
    roadmask export street.onnx --int8 --calibrate drive.mp4
    roadmask export best.pt --fp16                           writes best-fp16.onnx
    roadmask export street.onnx --fp16 --pictures frames/
    roadmask run drive.mp4 --model street.onnx               and uses it
    """  # noqa: D301 - Typer needs the character, to leave the lines after it as they are
    if int8 != (calibrate is not None):
        raise typer.BadParameter("--int8 and --calibrate DATA go together")
    if int8 and fp16:
        raise typer.BadParameter("--int8 and --fp16 are twins, not one model; make them one after the other")
    is_model = checkpoint.suffix.lower() == ".onnx" or str(checkpoint) in bundled_models()
    if is_model and not (int8 or fp16):
        raise typer.BadParameter(
            f"{checkpoint} is a model file already; --int8 --calibrate DATA or --fp16 makes a twin of it"
        )
    if is_model and size:
        raise typer.BadParameter("a model file keeps the size it asks for; give its checkpoint", param_hint="--size")
    asked = parse_size(size, "--size")
    output = output or _default_output(checkpoint, "-int8" if int8 else "-fp16" if fp16 else "")
    paths = find_pictures(pictures) if pictures else None
    if fp16:
        _halve(checkpoint, output, is_model=is_model, size=asked, overwrite=overwrite, pictures=paths)
    elif calibrate is None:
        _show_parity(
            "checkpoint (torch) against model (ONNX Runtime)",
            export_model(checkpoint, output, overwrite=overwrite, pictures=paths, size=asked),
        )
    elif is_model:
        _quantize(find_model(checkpoint), output, calibrate, calibrate_pictures, overwrite=overwrite, pictures=paths)
    else:
        check_output(output, checkpoint, source_kind="checkpoint", overwrite=overwrite)
        with TemporaryDirectory() as folder:
            model = Path(folder, output.name)
            report = export_model(checkpoint, model, pictures=paths, size=asked)
            _show_parity("checkpoint (torch) against model (ONNX Runtime)", report)
            _quantize(model, output, calibrate, calibrate_pictures, overwrite=overwrite, pictures=paths)
    typer.echo(f"{printable(output)} ({output.stat().st_size / 1e6:.1f} MB)")


def _default_output(source: Path, twin: str) -> Path:
    """Beside its source; for a model in the box, in the working folder."""
    return source.with_name(f"{source.stem}{twin}.onnx")


def _halve(
    source: Path,
    output: Path,
    *,
    is_model: bool,
    size: tuple[int, int] | None,
    overwrite: bool,
    pictures: list[Path] | None,
) -> None:
    what = "float32 model against fp16 model"
    compared = given_samples(pictures) if pictures else None
    if is_model:
        _show_parity(what, halve_model(find_model(source), output, samples=compared, overwrite=overwrite))
        return
    check_output(output, source, source_kind="checkpoint", overwrite=overwrite)
    with TemporaryDirectory() as folder:
        model = Path(folder, output.name)
        report = export_model(source, model, pictures=pictures, size=size)
        _show_parity("checkpoint (torch) against model (ONNX Runtime)", report)
        compared = samples(load(source), pictures)
        _show_parity(what, halve_model(model, output, samples=compared, overwrite=overwrite))


def _quantize(
    model: Path, output: Path, data: Path, count: int, *, overwrite: bool, pictures: list[Path] | None
) -> None:
    with progress_bar() as progress:
        report = quantize_model(
            model,
            output,
            data,
            count=count,
            overwrite=overwrite,
            pictures=pictures,
            on_picture=counted(progress, "calibrating"),
        )
    _show_parity("float32 model against int8 model", report)


def _show_parity(what: str, report: ParityReport) -> None:
    table = Table("pictures", "batch", "network input", "mean difference", "largest", "scores span", "equal labels")
    for case in report.cases:
        table.add_row(
            str(case.picture_count),
            str(case.batch),
            f"{case.width}x{case.height}",
            f"{case.mean_difference:.1e}",
            f"{case.max_difference:.1e}",
            f"{case.score_range:.1f}",
            f"{case.equal_labels:.4%}",
        )
    console = Console(stderr=True)
    console.print(printable(f"{what} on {report.origin}:"), markup=False, highlight=False)
    console.print(table)
