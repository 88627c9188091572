"""Everything that decides the result of a run, beside the data and the versions."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from .errors import TrainingError
from .shape import (
    MAX_CHANNELS,
    MAX_PIXELS,
    SCALES,
    STRIDE,
    Context,
    Convolution,
    EncoderName,
    Weights,
    nearest_multiple,
)

_MOST_SCALE = 100.0  # of a picture
_ANY = sys.float_info.max
Precision = Literal["auto", "fp32", "bf16"]
# Settings that may be left open.
OPEN = ("epochs", "passes", "lr", "encoder_lr", "frozen_scales", "class_weight_offset")


@dataclass(frozen=True, slots=True)
class AugmentSettings:
    scale_min: float = 0.75  # relative to the size at validation, a factor drawn log-uniformly from this range
    scale_max: float = 2.0
    flip: float = 0.5  # probability of mirroring left and right
    brightness: float = 0.3  # largest relative change; 0.3 means times 0.7 to 1.3
    contrast: float = 0.3
    saturation: float = 0.4
    hue_degrees: float = 8.0
    harsh: float = 0.0  # probability of night, bad weather, a bad camera


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """What `roadmask train` was asked for. What is left open, as None, goes by the number of pictures (`few.py`)."""

    data: tuple[str, ...]  # folders, each alone or as FOLDER:MAP; the first has the classes to learn
    unlabelled: tuple[str, ...] = ()  # folders of pictures that only a teacher labels
    shares: tuple[float, ...] = ()  # of each batch, by data set, the unlabelled last; (): by their pictures
    valid_list: str | None = None  # file with the names of the validation pictures of the first data set
    valid_drives: tuple[str, ...] = ()  # recordings held out for validation; with wildcards
    split: float | None = None  # share held out for validation, in stretches of names of the first data set
    learn_all: bool = False  # learn from the validation pictures too; their scores then say little
    epochs: int | None = None
    passes: int | None = None  # how often an epoch sees every picture
    budget_s: float | None = None  # let the schedule fill this time, however many epochs that is; not `epochs`
    batch: int = 8
    size: tuple[int, int] | None = None  # network input (height, width) at validation; None: that of the pictures
    crop: tuple[int, int] | None = None  # (height, width) of training crops; None: as `size`
    lr: float | None = None  # peak rate of the decoder
    encoder_lr: float | None = None  # peak rate of the encoder
    pct_start: float = 0.3  # share of the iterations in which the rate rises
    frozen_epochs: int = 0  # at the start, with the encoder as it came
    frozen_scales: int | None = None  # of the encoder's five, from the input, that stay as they came
    layer_decay: float = 1.0  # peak rate of an encoder scale, relative to the one behind it
    weight_decay: float = 1e-2
    clip: float = 0.0  # largest norm of all gradients together; 0: any
    label_smoothing: float = 0.05
    average: float = 0.99  # decay of the running mean of the weights; 0 for the last weights alone
    class_weight_offset: float | None = None  # of a class: 1 / log(this + share); nearer to 1, rare classes weigh more
    lovasz: float = 0.0  # weight of the Lovasz loss beside the cross-entropy
    lovasz_from: float = 0.0  # share of the run after which it counts
    teachers: tuple[str, ...] = ()  # checkpoints or models whose mean opinion is learnt too
    teacher_scales: tuple[float, ...] = (1.0,)  # of `size`, at which they see a picture; their mean
    of_set: float = 0.5  # the teachers' share where a label stands for a set of classes
    distill: float = 0.0  # the teachers' share elsewhere
    encoder: EncoderName | None = None  # None, for this and the next three: as `start_from` has it, or UNetSettings
    weights: Weights = "imagenet"
    start_from: str | None = None  # checkpoint or model to begin with, in place of `weights`
    decoder: tuple[int, int, int, int] | None = None
    convolution: Convolution | None = None
    context: Context | None = None
    dropout: float = 0.1
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    seed: int = 0
    device: str = "auto"
    precision: Precision = "auto"  # "fp32", "bf16" (autocast), or by the device
    loaders: int | None = None  # processes that load pictures; None: by the device
    license_note: str = ""  # about the data; goes into the model


@dataclass(frozen=True, slots=True)
class SettledSettings(TrainSettings):
    """With nothing left open; stored in every checkpoint and in the run's `settings.json`.

    The defaults are those for some hundred pictures or more.
    """

    epochs: int = 60
    passes: int = 1
    lr: float = 3e-3
    encoder_lr: float = 1e-3
    frozen_scales: int = 0
    class_weight_offset: float = 1.1


def settled(settings: TrainSettings, **chosen: float) -> SettledSettings:
    """What is open becomes what is chosen, or else the default."""
    asked = {item.name: getattr(settings, item.name) for item in fields(TrainSettings)}
    told = {name: value for name, value in asked.items() if name not in OPEN or value is not None}
    return SettledSettings(**{**chosen, **told})


def plain(settings: TrainSettings) -> dict[str, Any]:
    """Without tuples, as JSON and a loaded checkpoint have it."""
    content: dict[str, Any] = json.loads(json.dumps(asdict(settings)))
    return content


def from_plain(content: dict[str, Any]) -> TrainSettings:
    """The inverse of `plain`."""
    known: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
    if isinstance(known["data"], str):  # of 1.0: one folder
        known["data"] = (known["data"],)
    return TrainSettings(**{**known, "augment": AugmentSettings(**content["augment"])})


def check(asked: TrainSettings) -> None:
    """Refuse values that could only fail later, or never learn.

    Raises:
        TrainingError: names the setting, its value and its range.
    """
    settings = settled(asked)
    augment = settings.augment
    ranges: list[tuple[str, float, float, float]] = [
        ("epochs", settings.epochs, 1, 1_000_000),
        ("batch", settings.batch, 1, 1_000_000),
        ("pct_start", settings.pct_start, 0, 1),
        ("passes", settings.passes, 1, 1_000_000),
        ("frozen_epochs", settings.frozen_epochs, 0, settings.epochs),
        ("frozen_scales", settings.frozen_scales, 0, SCALES),
        ("layer_decay", settings.layer_decay, 0, 1),
        ("clip", settings.clip, 0, 1e6),
        ("lovasz", settings.lovasz, 0, 100),
        ("lovasz_from", settings.lovasz_from, 0, 1),
        ("of_set", settings.of_set, 0, 1),
        ("distill", settings.distill, 0, 1),
        ("budget_s", 1 if settings.budget_s is None else settings.budget_s, 1, 1e7),
        ("split", 0.2 if settings.split is None else settings.split, 0.01, 0.5),
        ("label_smoothing", settings.label_smoothing, 0, 1),
        ("average", settings.average, 0, 1),
        ("dropout", settings.dropout, 0, 1),
        ("class_weight_offset", settings.class_weight_offset, 1.001, 100),
        ("lr", settings.lr, 0, _ANY),
        ("encoder_lr", settings.encoder_lr, 0, _ANY),
        *(("decoder", channels, 1, MAX_CHANNELS) for channels in settings.decoder or ()),
        ("weight_decay", settings.weight_decay, 0, 1),
        ("seed", settings.seed, 0, 2**31 - 1),
        ("loaders", settings.loaders or 0, 0, 1024),
        ("flip", augment.flip, 0, 1),
        ("brightness", augment.brightness, 0, 1),
        ("contrast", augment.contrast, 0, 1),
        ("saturation", augment.saturation, 0, 1),
        ("hue", augment.hue_degrees, 0, 180),
        ("harsh", augment.harsh, 0, 1),
        *(("shares", share, 1e-6, 1e6) for share in settings.shares),
        *(("teacher_scales", scale, 0.25, 4) for scale in settings.teacher_scales or (0,)),
    ]
    for name, value, least, most in ranges:
        if not least <= value <= most:
            option = name.removesuffix("_s").replace("_", "-")
            span = f"{least:g} or more" if most == _ANY else f"between {least:g} and {most:,.10g}"
            raise TrainingError(f"--{option} {value:g} is not {span}", usage=True)
    if not 0 < augment.scale_min <= augment.scale_max <= _MOST_SCALE:
        raise TrainingError(
            f"--scale {augment.scale_min:g},{augment.scale_max:g}: give the least, then the most", usage=True
        )
    if settings.unlabelled and not settings.teachers:
        raise TrainingError("unlabelled pictures need a teacher to say what they show: --teacher MODEL", usage=True)
    if settings.split and (settings.valid_list or settings.valid_drives):
        raise TrainingError("--split, --valid-list and --valid-drive exclude each other; give one", usage=True)
    if settings.distill and not settings.teachers:
        raise TrainingError("--distill needs a teacher: --teacher MODEL", usage=True)
    for size in (settings.size, settings.crop):
        if size is not None:
            check_size(size)


def check_size(size: tuple[int, int]) -> None:
    height, width = size
    if height * width > MAX_PIXELS:
        raise TrainingError(f"{width}x{height}: the network takes pictures of {MAX_PIXELS} pixels at most", usage=True)
    if height % STRIDE or width % STRIDE or min(height, width) < STRIDE:
        nearest = f"{nearest_multiple(width)}x{nearest_multiple(height)}"
        raise TrainingError(
            f"{width}x{height}: the network's width and height must be multiples of {STRIDE}; the nearest is {nearest}",
            usage=True,
        )
