"""Pictures of a run: how it learnt, and what it sees now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure  # without pyplot: no window, no global state
from matplotlib.ticker import MaxNLocator
from PIL import Image

from . import checkpoint as checkpoints
from .batches import steps_in
from .checkpoint import Checkpoint
from .evaluate import of_shape, predict
from .history import Row
from .labels import Labels
from .layouts import Example
from .lr_find import Point, Suggestions
from .mixture import Part, open_mixture
from .run_folder import BEST, LAST, STEPS
from .schedule import one_cycle_rate
from .settings import SettledSettings, from_plain, settled
from .sheet import Cell, draw_sheet, paint
from .split import evenly
from .step_log import StepRow, read_steps

LOSS, RATE, IOU, PREDICTIONS = "loss_and_miou.png", "learning_rate.png", "iou_per_class.png", "predictions.png"
_DOTS_PER_INCH = 150
_MINUTES_FROM_S = 600  # of a budget: a longer one is drawn in minutes
_PREDICTIONS = 4  # validation pictures on the sheet


def draw_run(run: Path) -> tuple[Path, ...]:
    """Draw the plots of the run in this folder into it; the paths written.

    Raises:
        TrainingError: the folder holds no run, or its data set is no longer there.
    """
    last, best = checkpoints.load(run / LAST), checkpoints.load(run / BEST)
    settings = settled(from_plain(last.settings))
    mixture = open_mixture(settings)
    first = mixture.parts[0]
    history = (last.progress or {}).get("history", [])
    steps_per_epoch = steps_in(sum(len(part.split.train) for part in mixture.parts) * settings.passes, settings.batch)
    _save(loss_and_miou(history, read_steps(run / STEPS)), run / LOSS)
    _save(learning_rate(settings, steps_per_epoch, history), run / RATE)
    _save(iou_per_class(best), run / IOU)
    predictions(best, mixture.labels, first, evenly(first.split.valid, _PREDICTIONS)).save(run / PREDICTIONS)
    return run / LOSS, run / RATE, run / IOU, run / PREDICTIONS


def draw_lr_find(points: Sequence[Point], found: Suggestions, path: Path) -> None:
    """The loss over the rate, with what `found` suggests."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    rates = [point.lr for point in points]
    axes.plot(rates, [point.loss for point in points], color="lightgray", label="loss")
    axes.plot(rates, [point.smoothed_loss for point in points], label="smoothed")
    for point, name, marker in ((found.steepest, "steepest descent", "o"), (found.valley, "valley", "s")):
        axes.plot(point.lr, point.smoothed_loss, marker, label=f"{name}: {point.lr:.2g}")
    axes.set(title="Loss while the rate rises", xlabel="rate of the decoder", xscale="log")
    before_the_explosion = max(point.smoothed_loss for point in points[: len(points) // 2 + 1])
    axes.set_ylim(0.95 * min(point.loss for point in points), 1.3 * before_the_explosion)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    _save(figure, path)


def loss_and_miou(history: Sequence[Row], step_rows: Sequence[StepRow] = ()) -> Figure:
    """Losses on the left; on the right what the averaged weights score on the validation pictures."""
    figure = Figure(figsize=(8.8, 3.6), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    marker = "o" if len(epochs) < 3 else ""  # a line needs two points to be seen
    of_others = [name for name in history[0] if name.endswith("_miou")]
    if step_rows:
        each = [row.loss for row in step_rows]
        losses.plot(_in_epochs(step_rows), each, color="lightgray", linewidth=0.8, label="train, each step")
    for axes, names in ((losses, ["train_loss", "valid_loss"]), (scores, ["miou", "accuracy", *of_others])):
        for name in names:
            label = _LABELS.get(name, f"mean IoU, {name.removesuffix('_miou')}").replace("$", r"\$")
            style = "--" if name in of_others else "-"  # where one data set is nearly all, its line is the mean's
            axes.plot(epochs, [row[name] for row in history], style, marker=marker, label=label)
        axes.set_xlim(0, 1.03 * epochs[-1])
        _finish(axes, "epoch")
    losses.set(title="Loss", ylim=(0, None))
    scores.set(title="On the validation pictures", ylim=(0, 1))
    return figure


def _in_epochs(step_rows: Sequence[StepRow]) -> list[float]:
    """Where each step ends; epochs may be of different lengths, as the last one of a budget is."""
    in_epoch = Counter(row.epoch for row in step_rows)
    taken: Counter[int] = Counter()
    ends = []
    for row in step_rows:
        taken[row.epoch] += 1
        ends.append(row.epoch - 1 + taken[row.epoch] / in_epoch[row.epoch])
    return ends


def learning_rate(settings: SettledSettings, steps_per_epoch: int, history: Sequence[Row] = ()) -> Figure:
    """The rates of decoder and encoder over the whole run; none for the encoder while it is frozen.

    Over the steps, or over the time of a budget: `history` says how many of them the encoder is frozen for.
    """
    if settings.budget_s is None:
        unit, units, step_count = "step", 1, settings.epochs * steps_per_epoch
        frozen: float = settings.frozen_epochs * steps_per_epoch
    else:
        unit, units = ("minute", 600) if settings.budget_s > _MINUTES_FROM_S else ("second", 10)
        step_count = round(10 * settings.budget_s)
        frozen = 10 * sum(row["seconds"] for row in history[: settings.frozen_epochs])
    steps = np.unique(np.linspace(0, step_count - 1, min(step_count, 1000)).astype(int))
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, peak, first in (("decoder", settings.lr, 0), ("encoder", settings.encoder_lr, frozen)):
        shown = steps[steps >= first]
        rates = [one_cycle_rate(int(step), step_count, peak=peak, pct_start=settings.pct_start) for step in shown]
        axes.plot(shown / units, rates, label=name)
    _finish(axes, unit)
    axes.set(title="Learning rate", ylim=(0, None))
    return figure


def iou_per_class(checkpoint: Checkpoint) -> Figure:
    """A bar a class in its colour; the dashed line is the mean."""
    names = checkpoint.class_names
    values = [float(checkpoint.scores[f"iou_{name}"]) for name in names]
    figure = Figure(figsize=(7, 1.2 + 0.32 * len(names)), layout="constrained")
    axes = figure.subplots()
    colors = [tuple(channel / 255 for channel in color) for color in checkpoint.class_colors]
    bars = axes.barh(range(len(names)), np.nan_to_num(values), color=colors, edgecolor="gray")
    over_the_line = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    axes.bar_label(bars, [_figure_text(value) for value in values], padding=4, bbox=over_the_line)
    axes.axvline(float(checkpoint.scores["miou"]), color="black", linestyle="--", linewidth=1)
    axes.set(title=f"IoU per class, mean {checkpoint.scores['miou']:.3f}", xlim=(0, 1.08))
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def predictions(checkpoint: Checkpoint, labels: Labels, part: Part, examples: Sequence[Example]) -> Image.Image:
    """A row an example: the picture, the truth over it, the prediction over it."""
    network = checkpoint.build()
    size = (checkpoint.input_height, checkpoint.input_width)
    rows = []
    for example in examples:
        picture, mask = part.read(example)
        predicted = predict(network, picture, of_shape(size, picture.shape))
        rows.append(
            [
                Cell(example.name, picture),
                Cell("truth (void is uncoloured)", paint(picture, mask, labels.colors)),
                Cell("prediction", paint(picture, predicted, labels.class_colors)),
            ]
        )
    shown = sorted({*range(len(labels.class_names)), *part.codes})
    return draw_sheet(rows, [labels.names[code] for code in shown], [labels.colors[code] for code in shown])


_LABELS = {"train_loss": "train", "valid_loss": "validation", "miou": "mean IoU", "accuracy": "pixel accuracy"}


def _finish(axes: Axes, x_label: str) -> None:
    axes.set_xlabel(x_label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)


def _figure_text(value: float) -> str:
    return "absent" if np.isnan(value) else f"{value:.3f}"


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=_DOTS_PER_INCH)
