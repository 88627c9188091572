"""`roadmask train` and `roadmask data`: options to settings, and what people see."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .augment import AugmentSettings
from .camvid import Dataset, open_dataset, split
from .checkpoint import load
from .command import train_command
from .console import Talk, print_class_table, print_line
from .encoder import Weights
from .errors import DataError, TrainingError
from .run_folder import BEST, HISTORY, LAST, SETTINGS
from .settings import Precision, TrainSettings
from .sheet import evenly, label_sheet
from .survey import Survey, survey
from .train import train as train_network
from .unet import Convolution

ERRORS: tuple[type[Exception], ...] = (TrainingError,)  # their messages are for the user

_INTERRUPTED = 130
_SHEET_PICTURES = 12
_D = TrainSettings("")  # the defaults
_A = AugmentSettings()


def train(
    data: Annotated[Path, typer.Argument(help="Data set: images/, labels/ and codes.txt; or train/ and trainannot/.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the run.")],
    epochs: Annotated[int, typer.Option(help="How often every picture is seen.")] = _D.epochs,
    batch: Annotated[int, typer.Option(help="Pictures a step.")] = _D.batch,
    size: Annotated[
        str | None,
        typer.Option(metavar="HxW", help="What the network sees at validation; default: the pictures' size."),
    ] = None,
    crop: Annotated[str | None, typer.Option(metavar="HxW", help="Training crops; default: as --size.")] = None,
    lr: Annotated[float, typer.Option(help="Peak learning rate of the decoder.")] = _D.lr,
    encoder_lr: Annotated[float, typer.Option(help="Peak learning rate of the encoder.")] = _D.encoder_lr,
    pct_start: Annotated[float, typer.Option(help="Share of the steps in which the rate rises.")] = _D.pct_start,
    frozen_epochs: Annotated[
        int, typer.Option(help="First train the decoder alone for so many epochs.")
    ] = _D.frozen_epochs,
    weight_decay: Annotated[float, typer.Option(help="Of AdamW.")] = _D.weight_decay,
    label_smoothing: Annotated[float, typer.Option(help="Of the cross-entropy.")] = _D.label_smoothing,
    average: Annotated[float, typer.Option(help="Decay of the running mean of the weights; 0: none.")] = _D.average,
    weights: Annotated[Weights, typer.Option(help="What the encoder starts from.")] = _D.weights,
    start_from: Annotated[
        Path | None,
        typer.Option(metavar="CHECKPOINT", help="Begin with another run's weights; classes may differ."),
    ] = None,
    class_weight_offset: Annotated[
        float, typer.Option(help="Nearer to 1, rare classes weigh more in the loss.")
    ] = _D.class_weight_offset,
    decoder: Annotated[
        str, typer.Option(metavar="A,B,C,D", help="Channels of the decoder at strides 16, 8, 4, 2.")
    ] = ",".join(map(str, _D.decoder)),
    convolution: Annotated[Convolution, typer.Option(help="Of the decoder.")] = _D.convolution,
    dropout: Annotated[float, typer.Option(help="Share of channels dropped before the classifier.")] = _D.dropout,
    scale: Annotated[
        str, typer.Option(metavar="LEAST,MOST", help="Random enlargement of the pictures.")
    ] = f"{_A.scale_min},{_A.scale_max:g}",
    flip: Annotated[float, typer.Option(help="Probability of mirroring left and right.")] = _A.flip,
    brightness: Annotated[float, typer.Option(help="Largest relative change.")] = _A.brightness,
    contrast: Annotated[float, typer.Option(help="Largest relative change.")] = _A.contrast,
    saturation: Annotated[float, typer.Option(help="Largest relative change.")] = _A.saturation,
    hue: Annotated[float, typer.Option(help="Largest change in degrees.")] = _A.hue_degrees,
    valid_list: Annotated[
        Path | None, typer.Option(help="File that names the validation pictures; default: valid.txt or val/.")
    ] = None,
    valid_drive: Annotated[
        list[str] | None, typer.Option(metavar="DRIVE", help="Hold out this drive for validation; repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same machine: same result.")] = _D.seed,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = _D.device,
    precision: Annotated[Precision, typer.Option(help="auto: bf16 where the hardware has it.")] = _D.precision,
    workers: Annotated[
        int | None, typer.Option(help="Processes that load pictures; default: 0 on a CPU, up to 8 on a GPU.")
    ] = None,
    license_note: Annotated[str, typer.Option(help="About the data; goes into the model.")] = _D.license_note,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
) -> None:
    """Train a U-Net on labelled driving pictures.

    The run's folder gets last.pt, best.pt (by validation mIoU: the one to export), history.csv, settings.json and
    plots. A run that was stopped, or killed, goes on with --resume to the very result it would have had.

    \b
    roadmask train camvid -o runs/first
    roadmask train camvid -o runs/first --resume
    roadmask train camvid -o runs/held-out --valid-drive 0006R0 --epochs 120
    roadmask train mine -o runs/mine --start-from runs/first/best.pt --lr 1e-3 --epochs 20
    roadmask train camvid -o runs/small --crop 288x384 --decoder 64,48,32,24 --license-note "for research only"
    """  # noqa: D301 - Typer does not wrap a paragraph after this character
    settings = TrainSettings(
        data=str(data),
        valid_list=str(valid_list) if valid_list else None,
        valid_drives=tuple(valid_drive or ()),
        epochs=epochs,
        batch=batch,
        size=_parse_size(size, "--size"),
        crop=_parse_size(crop, "--crop"),
        lr=lr,
        encoder_lr=encoder_lr,
        pct_start=pct_start,
        frozen_epochs=frozen_epochs,
        weight_decay=weight_decay,
        label_smoothing=label_smoothing,
        average=average,
        class_weight_offset=class_weight_offset,
        weights=weights,
        start_from=str(start_from) if start_from else None,
        decoder=_parse_decoder(decoder),
        convolution=convolution,
        dropout=dropout,
        augment=AugmentSettings(*_parse_scale(scale), flip, brightness, contrast, saturation, hue),
        seed=seed,
        device=device,
        precision=precision,
        workers=workers,
        license_note=license_note,
    )
    _train(settings, output, resume=resume)


def data(
    data: Annotated[Path, typer.Argument(help="Data set: images/, labels/ and codes.txt; or train/ and trainannot/.")],
    sheet: Annotated[
        Path | None, typer.Option("-o", "--sheet", help="Draw a sheet of frames with their labels into this file.")
    ] = None,
    valid_list: Annotated[Path | None, typer.Option(help="As in 'roadmask train'.")] = None,
    valid_drive: Annotated[
        list[str] | None, typer.Option(metavar="DRIVE", help="As in 'roadmask train'; repeatable.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a sheet that exists.")] = False,
) -> None:
    """Look through a data set: drives, classes, sizes, the validation split, and all that is wrong with it.

    The exit code is 1 if anything is.

    \b
    roadmask data camvid
    roadmask data camvid -o sheet.png
    roadmask data camvid --valid-drive 0006R0
    """  # noqa: D301
    if sheet is not None and sheet.exists() and not overwrite:
        raise TrainingError(f"{sheet}: exists; pass --overwrite to replace it")
    dataset = open_dataset(data)
    with Talk("reading") as talk:
        total = len(dataset.examples)
        found = survey(dataset, valid_list=valid_list, on_example=lambda done: talk.step(done, total))
    _print_survey(dataset, found)
    problems = [*found.problems, *_print_split(dataset, valid_list, valid_drive or [])]
    for problem in found.problems:
        print_line(f"problem: {problem}")
    if sheet is not None and found.usable:
        _save_sheet(dataset, found, sheet)
        print_line(f"sheet: {sheet}")
    if problems:
        print_line(f"{len(problems)} problem{'s' if len(problems) > 1 else ''} found")
        raise typer.Exit(1)


def _train(settings: TrainSettings, run: Path, *, resume: bool) -> None:
    try:
        with Talk("training") as talk:
            train_network(
                settings,
                run,
                resume=resume,
                on_step=lambda done, total, loss: talk.step(done, total, f"loss {loss:.4f}"),
                on_epoch=talk.epoch,
                on_message=talk.say,
            )
            paths = [run / name for name in (LAST, BEST, HISTORY, SETTINGS)] + _draw(run, talk)
    except KeyboardInterrupt:
        talk.say(f"roadmask: interrupted; go on with\n  {train_command(settings, run)} --resume")
        raise typer.Exit(_INTERRUPTED) from None
    _print_result(run)
    for path in paths:
        print_line(f"wrote {path}")
    print_line(f"next: roadmask export {run / BEST} -o model.onnx")


def _draw(run: Path, talk: Talk) -> list[Path]:
    """The plots; a run without them is still a run, so a failure is told and no more."""
    try:
        from .plots import draw_run

        return list(draw_run(run))
    except Exception as exc:  # noqa: BLE001 - whatever it is: the weights are safe on disk, and the user is told
        talk.say(f"roadmask: the plots could not be drawn ({type(exc).__name__}: {exc})")
        return []


def _print_result(run: Path) -> None:
    best = load(run / BEST)
    values = [f"{best.scores[f'iou_{name}']:.4f}" for name in best.class_names]
    title = f"best epoch: mIoU {best.scores['miou']:.4f}, accuracy {best.scores['accuracy']:.4f}"
    print_class_table(title, "IoU", best.class_names, best.class_colors, values)


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
    try:
        label_sheet(dataset, evenly(found.usable, _SHEET_PICTURES)).save(path)
    except (OSError, ValueError) as exc:  # ValueError: a suffix that Pillow does not know
        raise TrainingError(f"{path}: cannot be written ({exc})") from exc


def _parse_size(text: str | None, option: str) -> tuple[int, int] | None:
    if text is None:
        return None
    height, x, width = text.lower().partition("x")
    if not (x and height.isdecimal() and width.isdecimal()):
        raise typer.BadParameter(f"{text!r} is not HEIGHTxWIDTH, such as 352x480", param_hint=option)
    return int(height), int(width)


def _parse_decoder(text: str) -> tuple[int, int, int, int]:
    parts = text.split(",")
    if len(parts) != 4 or not all(part.strip().isdecimal() for part in parts):
        raise typer.BadParameter(f"{text!r} is not four numbers, such as 128,64,48,32", param_hint="--decoder")
    first, second, third, fourth = map(int, parts)
    return first, second, third, fourth


def _parse_scale(text: str) -> tuple[float, float]:
    try:
        least, most = map(float, text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not two numbers, such as 0.75,2", param_hint="--scale") from None
    return least, most
