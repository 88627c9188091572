"""`roadmask train`: options to settings."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from . import options as of
from .errors import TrainingError
from .settings import AugmentSettings, SettledSettings, TrainSettings
from .shape import Context, Convolution, EncoderName, UNetSettings

ERRORS: tuple[type[Exception], ...] = (TrainingError,)  # their messages are for the user
OPTION_GROUPS = {
    "Options": "output epochs budget batch size crop lr start_from valid_list split device resume help",
    "Pictures": "unlabelled shares passes learn_all valid_drive folds scale flip brightness contrast saturation hue "
    "harsh",
    "The network": "encoder context decoder convolution dropout weights",
    "The steps": "encoder_lr seed pct_start frozen_epochs frozen_scales layer_decay clip weight_decay label_smoothing "
    "average class_weight_offset lovasz lovasz_from precision loaders stop_after",
    "Teachers": "teacher teacher_scales of_set distill",
    "What the model says": "license_note",
}
Folds = Literal["drives"]

_D = TrainSettings(())  # the defaults
_A = AugmentSettings()
_TEACHER_SCALES = ",".join(f"{scale:g}" for scale in _D.teacher_scales)


def train(
    data: of.DataFolders,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the run.")],
    epochs: Annotated[
        int | None, typer.Option(help=f"Rounds, each with a checkpoint and scores at its end. {_by_count('epochs')}")
    ] = None,
    passes: Annotated[
        int | None, typer.Option(help=f"How often an epoch sees every picture. {_by_count('passes')}")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Train this long from the first step on, in place of --epochs: 8m or 1.5h."),
    ] = None,
    batch: of.Batch = _D.batch,
    size: of.Size = None,
    crop: of.Crop = None,
    lr: Annotated[float | None, typer.Option(help=f"Peak rate of the decoder. {_by_count('lr')}")] = None,
    encoder_lr: Annotated[
        float | None, typer.Option(help=f"Peak rate of the encoder. {_by_count('encoder_lr')}")
    ] = None,
    pct_start: Annotated[float, typer.Option(help="Share of the steps in which the rate rises.")] = _D.pct_start,
    frozen_epochs: Annotated[
        int, typer.Option(help="First train the decoder alone for so many epochs.")
    ] = _D.frozen_epochs,
    frozen_scales: Annotated[
        int | None,
        typer.Option(
            help=f"Of the encoder's five, from the input, stay as they came: faster. {_by_count('frozen_scales')}"
        ),
    ] = None,
    layer_decay: Annotated[
        float, typer.Option(help="Rate of an encoder scale, relative to the one behind it.")
    ] = _D.layer_decay,
    clip: Annotated[float, typer.Option(help="Largest norm of the gradients; 0: any.")] = _D.clip,
    weight_decay: Annotated[float, typer.Option(help="Of AdamW.")] = _D.weight_decay,
    label_smoothing: Annotated[float, typer.Option(help="Of the cross-entropy.")] = _D.label_smoothing,
    average: Annotated[float, typer.Option(help="Decay of the running mean of the weights; 0: none.")] = _D.average,
    weights: of.StartWeights = _D.weights,
    start_from: of.StartFrom = None,
    class_weight_offset: Annotated[
        float | None,
        typer.Option(help=f"Nearer to 1, rare classes weigh more in the loss. {_by_count('class_weight_offset')}"),
    ] = None,
    lovasz: Annotated[float, typer.Option(help="Weight of the Lovasz loss beside the cross-entropy.")] = _D.lovasz,
    lovasz_from: Annotated[
        float, typer.Option(help="Share of the run after which the Lovasz loss counts.")
    ] = _D.lovasz_from,
    unlabelled: Annotated[
        list[str] | None, typer.Option(metavar="FOLDER", help="Pictures that the teacher labels; repeatable.")
    ] = None,
    shares: Annotated[
        str, typer.Option(metavar="A,B,...", help="Of each batch, by data set, unlabelled last; default: by pictures.")
    ] = "",
    teacher: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL", help="Learn what this network thinks too; as --start-from; repeatable."),
    ] = None,
    teacher_scales: Annotated[
        str, typer.Option(metavar="A,B,...", help="Sizes at which teachers look, relative to --size; their mean.")
    ] = _TEACHER_SCALES,
    of_set: Annotated[
        float, typer.Option(help="The teacher's share where a label stands for several classes.")
    ] = _D.of_set,
    distill: Annotated[float, typer.Option(help="The teacher's share elsewhere.")] = _D.distill,
    learn_all: Annotated[
        bool, typer.Option("--learn-all", help="Learn from the validation pictures too; scores then say little.")
    ] = _D.learn_all,
    encoder: Annotated[
        EncoderName | None, typer.Option(help=f"EfficientNet-Lite0, 1 or 2. {_shape_default('encoder')}")
    ] = None,
    context: Annotated[
        Context | None,
        typer.Option(help=f"wide: the deepest features see rows and the whole. {_shape_default('context')}"),
    ] = None,
    decoder: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C,D",
            help=f"Channels of the decoder at strides 16, 8, 4, 2. {_shape_default('decoder_channels')}",
        ),
    ] = None,
    convolution: Annotated[
        Convolution | None, typer.Option(help=f"Of the decoder. {_shape_default('convolution')}")
    ] = None,
    dropout: Annotated[float, typer.Option(help="Share of channels dropped before the classifier.")] = _D.dropout,
    scale: Annotated[
        str, typer.Option(metavar="LEAST,MOST", help="Random enlargement of the pictures.")
    ] = f"{_A.scale_min},{_A.scale_max:g}",
    flip: Annotated[float, typer.Option(help="Probability of mirroring left and right.")] = _A.flip,
    brightness: Annotated[float, typer.Option(help="Largest relative change.")] = _A.brightness,
    contrast: Annotated[float, typer.Option(help="Largest relative change.")] = _A.contrast,
    saturation: Annotated[float, typer.Option(help="Largest relative change.")] = _A.saturation,
    hue: Annotated[float, typer.Option(help="Largest change in degrees.")] = _A.hue_degrees,
    harsh: Annotated[float, typer.Option(help="Probability of night, bad weather, a bad camera.")] = _A.harsh,
    valid_list: of.ValidList = None,
    valid_drive: of.ValidDrive = None,
    split: of.SplitShare = None,
    folds: Annotated[
        Folds | None, typer.Option(help="'drives': a run for each drive, which is held out of it; then their mean.")
    ] = None,
    seed: of.Seed = _D.seed,
    device: of.Device = _D.device,
    precision: of.Precise = _D.precision,
    loaders: Annotated[
        int | None, typer.Option(help="Processes that load pictures; default: 0 on a CPU, up to 16 on a GPU.")
    ] = None,
    license_note: Annotated[str, typer.Option(help="About the data; goes into the model.")] = _D.license_note,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    stop_after: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="End after the epoch in which it is over: 90m or 2h; see --resume."),
    ] = None,
) -> None:
    """Train a U-Net on labelled driving pictures.

    The run's folder gets last.pt, best.pt (by validation mIoU: the one to export), history.csv (a row an epoch),
    steps.csv (a row a step), settings.json and plots. A run that was stopped, or killed, goes on with --resume to the
    very result it would have had. Fewer than 300 pictures have other defaults, by their number, which are told.

    Several data sets are learnt together. DATA:MAP says what the classes of one are in those of the first: cityscapes,
    bdd100k, idd, camvid32 and others, or a .json file such as {"bus": "Car", "verge": ["Sidewalk", "Tree"]}. Of a label
    that is one of several classes, and of --unlabelled pictures, a --teacher says which.

    With --folds drives, RUN/fold-DRIVE is a run on all but that drive, and RUN/folds.csv the scores of their last
    epochs, so that no drive chooses the weights that it judges, and the mean.

    \b
    roadmask train camvid -o runs/first
    roadmask train camvid -o runs/held-out --valid-drive 0006R0 --epochs 120
    roadmask train camvid -o runs/folds --folds drives --epochs 20
    roadmask train mine -o runs/mine --start-from camvid-lite0
    roadmask train camvid idd:idd-lite -o runs/two --teacher runs/first/best.pt --shares 1,1 --budget 2h
    """  # noqa: D301 - Typer does not wrap a paragraph after this character
    settings = TrainSettings(
        data=tuple(data),
        unlabelled=tuple(unlabelled or ()),
        shares=of.parse_numbers(shares, "--shares"),
        valid_list=str(valid_list) if valid_list else None,
        valid_drives=tuple(valid_drive or ()),
        split=split,
        learn_all=learn_all,
        budget_s=of.parse_duration(budget, "--budget"),
        epochs=epochs,
        passes=passes,
        batch=batch,
        size=of.parse_size(size, "--size"),
        crop=of.parse_size(crop, "--crop"),
        lr=lr,
        encoder_lr=encoder_lr,
        pct_start=pct_start,
        frozen_epochs=frozen_epochs,
        frozen_scales=frozen_scales,
        layer_decay=layer_decay,
        weight_decay=weight_decay,
        clip=clip,
        label_smoothing=label_smoothing,
        average=average,
        class_weight_offset=class_weight_offset,
        lovasz=lovasz,
        lovasz_from=lovasz_from,
        teachers=tuple(teacher or ()),
        teacher_scales=of.parse_numbers(teacher_scales, "--teacher-scales"),
        of_set=of_set,
        distill=distill,
        encoder=encoder,
        weights=weights,
        start_from=start_from,
        decoder=_parse_decoder(decoder),
        convolution=convolution,
        context=context,
        dropout=dropout,
        augment=AugmentSettings(*_parse_scale(scale), flip, brightness, contrast, saturation, hue, harsh),
        seed=seed,
        device=device,
        precision=precision,
        loaders=loaders,
        license_note=license_note,
    )
    _train(settings, output, folds=folds, resume=resume, stop_after=of.parse_duration(stop_after, "--stop-after"))


def _shape_default(field: str) -> str:
    """For help: of a network's shape."""
    value = getattr(UNetSettings(class_count=1), field)
    text = ",".join(map(str, value)) if isinstance(value, tuple) else value
    return f"Default: {text}, or as --start-from has it."


def _by_count(field: str) -> str:
    """For help: fewer pictures have other defaults, which are told."""
    return f"Default: {getattr(SettledSettings(()), field):g}, or as told."


def _train(
    settings: TrainSettings, output: Path, *, folds: Folds | None, resume: bool, stop_after: float | None
) -> None:
    from .folds import train_in_folds  # and torch, which --help must do without
    from .session import train_once

    stop_at = None if stop_after is None else time.monotonic() + stop_after
    if folds is None:
        train_once(settings, output, resume=resume, stop_at=stop_at)
    else:
        train_in_folds(settings, output, resume=resume, stop_at=stop_at)


def _parse_decoder(text: str | None) -> tuple[int, int, int, int] | None:
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 4 or not all(re.fullmatch(r"\s*\d{1,6}\s*", part, re.ASCII) for part in parts):
        raise typer.BadParameter(f"{text!r:.40} is not four numbers, such as 128,64,48,32", param_hint="--decoder")
    first, second, third, fourth = map(int, parts)
    return first, second, third, fourth


def _parse_scale(text: str) -> tuple[float, float]:
    try:
        least, most = map(float, text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not two numbers, such as 0.75,2", param_hint="--scale") from None
    return least, most
