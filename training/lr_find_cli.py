"""`roadmask lr-find`: its options, its table and its plot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from . import options as of
from .command import train_command
from .console import Talk, print_line
from .errors import TrainingError
from .settings import TrainSettings

ERRORS: tuple[type[Exception], ...] = (TrainingError,)  # their messages are for the user

_TABLE, _PLOT = "lr_find.csv", "lr_find.png"
_D = TrainSettings(())  # the defaults


def lr_find(
    data: of.DataFolders,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for lr_find.csv and lr_find.png.")],
    batch: of.Batch = _D.batch,
    size: of.Size = None,
    crop: of.Crop = None,
    weights: of.StartWeights = _D.weights,
    start_from: of.StartFrom = None,
    valid_list: of.ValidList = None,
    valid_drive: of.ValidDrive = None,
    split: of.SplitShare = None,
    seed: of.Seed = _D.seed,
    device: of.Device = _D.device,
    precision: of.Precise = _D.precision,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Find the learning rate to train with.

    Trains for up to 100 steps while the decoder's rate rises from 1e-7 to 10 (the encoder's a third of it), until the
    loss explodes, and throws the weights away. Suggests the rate at which the smoothed loss falls fastest, and the one
    of fastai's "valley" rule, half way down its longest fall. The last line is the command to train with the lower of
    the two: with few steps, the steepest descent may be a lucky batch. Look at the plot.

    \b
    roadmask lr-find camvid -o rates
    roadmask lr-find camvid -o rates --crop 384x288 --batch 8
    roadmask lr-find mine -o rates --start-from runs/first/best.pt
    """  # noqa: D301 - Typer does not wrap a paragraph after this character
    settings = TrainSettings(
        data=tuple(data),
        valid_list=str(valid_list) if valid_list else None,
        valid_drives=tuple(valid_drive or ()),
        split=split,
        batch=batch,
        size=of.parse_size(size, "--size"),
        crop=of.parse_size(crop, "--crop"),
        weights=weights,
        start_from=start_from,
        seed=seed,
        device=device,
        precision=precision,
    )
    _refuse_taken(output, overwrite=overwrite)
    _find(settings, output)


def _find(settings: TrainSettings, output: Path) -> None:
    from .lr_find import lr_find as find_rate  # and torch, which --help must do without
    from .lr_find import suggest, write_points
    from .plots import draw_lr_find  # matplotlib takes a second, and wrong usage should not

    is_new = not output.exists()
    _make_room(output)
    try:
        with Talk("raising the rate") as talk:
            points = find_rate(
                settings,
                on_point=lambda done, total, loss: talk.step(done, total, f"loss {loss:.4f}"),
                on_message=talk.say,
            )
    except BaseException:
        if is_new:
            output.rmdir()
        raise
    write_points(points, output / _TABLE)
    found = suggest(points)
    draw_lr_find(points, found, output / _PLOT)
    print_line(f"wrote {output / _TABLE}")
    print_line(f"wrote {output / _PLOT}")
    print_line(f"steepest descent: {found.steepest.lr:.2g} (encoder {found.steepest.encoder_lr:.2g})")
    print_line(f"valley:           {found.valley.lr:.2g} (encoder {found.valley.encoder_lr:.2g})")
    lr, encoder_lr = float(f"{found.careful.lr:.2g}"), float(f"{found.careful.encoder_lr:.2g}")
    print_line(f"next: {train_command(replace(settings, lr=lr, encoder_lr=encoder_lr), Path('RUN'))}")


def _refuse_taken(folder: Path, *, overwrite: bool) -> None:
    for path in (folder / _TABLE, folder / _PLOT):
        if path.exists() and not overwrite:
            raise TrainingError(f"{path}: exists; pass --overwrite to replace it")


def _make_room(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise TrainingError(f"{folder}: cannot be used as a folder ({exc.strerror})") from exc
