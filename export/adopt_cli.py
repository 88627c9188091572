"""`roadmask adopt`: its options; what they ask for is done in `adopt`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ..stream import RoadmaskError
from ..stream.commands import options as of
from ..stream.system.talk import printable, write_talk
from ..training.errors import TrainingError
from ..training.options import parse_numbers, parse_size
from .errors import ExportError
from .pictures import find_pictures

ERRORS: tuple[type[Exception], ...] = (ExportError, TrainingError, RoadmaskError)


def adopt(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="An ONNX file of a segmentation network.")],
    classes: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Its classes in their order: a name a line, R G B NAME, or JSON."),
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Model file; default: MODEL-roadmask.onnx."),
    ] = None,
    layout: Annotated[
        Literal["nchw", "nhwc"] | None, typer.Option(help="Of its pictures; default: as the file says.")
    ] = None,
    mean: Annotated[str, typer.Option(metavar="R,G,B", help="It sees (pixel * scale - mean) / std.")] = (
        "0.485,0.456,0.406"
    ),
    std: Annotated[str, typer.Option(metavar="R,G,B", help="In the order that it sees them, as is --mean.")] = (
        "0.229,0.224,0.225"
    ),
    scale: Annotated[float, typer.Option(help="1 where it takes pixels from 0 to 255.")] = 1 / 255,
    bgr: Annotated[bool, typer.Option("--bgr", help="It takes blue first, as networks fed by OpenCV.")] = False,
    output_name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of its outputs, the one to take; default: the first that fits."),
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Of pictures, where it takes any; default: 544x416.")
    ] = None,
    softmax: Annotated[bool, typer.Option("--softmax", help="Make probabilities of its scores.")] = False,
    argmax: Annotated[
        bool | None, typer.Option("--argmax/--scores", help="Its output holds labels, or scores.")
    ] = None,
    pictures: Annotated[Path | None, typer.Option(metavar="FOLDER", help="To compare on; default: drawn ones.")] = None,
    overwrite: of.Overwrite = False,
) -> None:
    """Make a model file of a network that was trained elsewhere, so that everything here runs it.

    What its pictures need goes into the graph, and is compared with the network as it came.

    \b
    roadmask adopt deeplab.onnx --classes cityscapes.txt
    roadmask adopt segformer.onnx --classes config.json --pictures frames/ -o street.onnx
    roadmask adopt old.onnx --classes names.txt --bgr --scale 1 --mean 104,117,123 --std 1,1,1
    roadmask run drive.mp4 --model street.onnx
    """  # noqa: D301 - Typer needs the character, to leave the lines after it as they are
    means, deviations = (parse_numbers(text, option) for text, option in ((mean, "--mean"), (std, "--std")))
    if len(means) != 3:
        raise typer.BadParameter(f"{mean} is not three numbers", param_hint="--mean")
    if len(deviations) != 3 or not all(deviations):
        raise typer.BadParameter(f"{std} is not three numbers, none of them 0", param_hint="--std")
    if not scale:
        raise typer.BadParameter("0 leaves nothing of a picture; give a number that is not 0", param_hint="--scale")
    sides = parse_size(size, "--size")
    given = find_pictures(pictures) if pictures else None

    from .adopt import adopt as make  # and onnx, which --help must do without
    from .adopt import read_classes
    from .calibration import given_samples
    from .foreign import Adoption

    adoption = Adoption(
        read_classes(classes),
        layout=layout,
        mean=means,
        std=deviations,
        scale=scale,
        bgr=bgr,
        output=output_name,
        size=sides,
        softmax=softmax,
        argmax=argmax,
    )
    output = output or model.with_name(f"{model.stem}-roadmask.onnx")
    samples = given_samples(given) if given else None
    found, equal, origin = make(model, output, adoption, samples=samples, overwrite=overwrite)
    for line in found.told(adoption):
        write_talk(line)
    write_talk(f"{equal:.3%} of the labels are those of {model.name} on {origin}")
    typer.echo(f"{printable(output)} ({output.stat().st_size / 1e6:.1f} MB)")
