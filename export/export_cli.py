"""`roadmask export`: its options; what they ask for is done in `make`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ..stream import RoadmaskError
from ..stream.commands import options as of
from ..stream.network.model import bundled_models
from ..stream.system.talk import printable
from ..training.errors import TrainingError
from ..training.options import parse_size
from .calibration import PICTURE_COUNT
from .errors import ExportError
from .pictures import find_pictures

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
            "-o", "--output", help="Model file; default: beside the checkpoint, as .onnx, -int8.onnx or -fp16.onnx."
        ),
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder or data set to compare on; default: frames of the training data.")
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
        ),
    ] = None,
    calibrate_pictures: Annotated[
        int, typer.Option(min=1, metavar="N", help="At most so many of them, spread evenly.")
    ] = PICTURE_COUNT,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Picture size it asks for, about: larger is finer and slower.")
    ] = None,
    layout: Annotated[
        Literal["nhwc", "nchw"], typer.Option(help="nchw for other runtimes: cv2.dnn, TensorRT, DeepStream's nvinfer.")
    ] = "nhwc",
    numbers: Annotated[
        Literal["uint8", "float32"] | None,
        typer.Option("--input", help="Of its pictures; default: uint8, and float32 with nchw."),
    ] = None,
    normalised: Annotated[
        bool, typer.Option("--normalised/--raw", help="With nchw: of pictures less their mean, or from 0 to 255.")
    ] = False,
    familiar: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DATA",
            help="Data set or folder of pictures that it knows: runs then tell of drives unlike them; repeatable.",
        ),
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
    roadmask export street.onnx --layout nchw --size 640x480   for other runtimes, with nvinfer's configuration
    roadmask export best.pt --familiar camvid/               and notes what it knows
    roadmask export best.onnx --familiar camvid/ --familiar idd/ -o street.onnx
    roadmask run drive.mp4 --model street.onnx               and uses it
    """  # noqa: D301 - Typer needs the character, to leave the lines after it as they are
    if int8 != (calibrate is not None):
        raise typer.BadParameter("--int8 and --calibrate DATA go together")
    if int8 and fp16:
        raise typer.BadParameter("--int8 and --fp16 are twins, not one model; make them one after the other")
    is_plain = layout == "nchw"
    makes_twin = int8 or fp16
    _refuse_odd_forms(numbers, is_plain=is_plain, normalised=normalised, is_twin=makes_twin, notes=bool(familiar))
    is_model = checkpoint.suffix.lower() == ".onnx" or str(checkpoint) in bundled_models()
    if is_model and not (makes_twin or is_plain or familiar):
        raise typer.BadParameter(
            f"{checkpoint} is a model file already; --int8 --calibrate DATA or --fp16 makes a twin of it, "
            "--familiar DATA notes what it knows"
        )
    if is_model and size and not is_plain:
        raise typer.BadParameter("a model file keeps the size it asks for; give its checkpoint", param_hint="--size")
    asked = parse_size(size, "--size")
    twin = "-int8" if int8 else "-fp16" if fp16 else "-nchw" if is_plain else ""
    output = output or checkpoint.with_name(f"{checkpoint.stem}{twin}.onnx")
    given = find_pictures(pictures) if pictures else None
    known = [find_pictures(data) for data in familiar or ()]

    # With torch and onnx, which --help must do without.
    from .make import make_familiar, make_half, make_int8, make_model, make_plain

    if is_plain:
        make_plain(
            checkpoint,
            output,
            "normalised" if normalised else "raw",
            is_model=is_model,
            size=asked,
            overwrite=overwrite,
            pictures=given,
        )
    elif fp16:
        make_half(checkpoint, output, is_model=is_model, size=asked, overwrite=overwrite, pictures=given)
    elif calibrate is None and not is_model:
        make_model(checkpoint, output, size=asked, overwrite=overwrite, pictures=given)
    elif calibrate is not None:
        make_int8(
            checkpoint,
            output,
            calibrate,
            calibrate_pictures,
            is_model=is_model,
            size=asked,
            overwrite=overwrite,
            pictures=given,
        )
    if known:
        make_familiar(checkpoint, output, known, is_made=makes_twin or not is_model, overwrite=overwrite)
    typer.echo(f"{printable(output)} ({output.stat().st_size / 1e6:.1f} MB)")


def _refuse_odd_forms(numbers: str | None, *, is_plain: bool, normalised: bool, is_twin: bool, notes: bool) -> None:
    if numbers and (numbers == "float32") != is_plain:
        raise typer.BadParameter("float32 goes with --layout nchw, and uint8 with nhwc", param_hint="--input")
    if normalised and not is_plain:
        raise typer.BadParameter("goes with --layout nchw; else it is in the graph", param_hint="--normalised")
    if is_plain and notes:
        raise typer.BadParameter("nchw is for runtimes that do not look at it", param_hint="--familiar")
    if is_plain and is_twin:
        raise typer.BadParameter("nchw is for runtimes that round by themselves", param_hint="--layout")
