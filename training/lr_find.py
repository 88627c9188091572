"""Which learning rate to train with: raise it step by step until the loss explodes (Smith, 2015), as fastai does.

Rates, smoothing, the end and both suggestions are those of fastai's `lr_find`, so that what its users know holds.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import torch

from .allocator import keep_freed_memory
from .errors import TrainingError
from .job import Job, OnMessage, prepare
from .learner import start
from .optimizer import set_training
from .settings import TrainSettings, check
from .step import take_step
from .train import epoch_batches

STEPS = 100
_FIRST, _LAST = 1e-7, 10.0
_SMOOTHING = 0.98  # of the running mean of the loss
_EXPLODED = 4.0  # times the best smoothed loss
_LEAD_IN, _TAIL = STEPS // 10, 5  # points that say nothing yet, and points in the explosion

OnPoint = Callable[[int, int, float], None]  # points done, points in all, smoothed loss


@dataclass(frozen=True, slots=True)
class Point:
    lr: float  # of the decoder
    encoder_lr: float
    loss: float
    smoothed_loss: float


@dataclass(frozen=True, slots=True)
class Suggestions:
    """Points to read a rate off."""

    steepest: Point  # where the smoothed loss falls fastest
    valley: Point  # half way down its longest fall: fastai's default

    @property
    def careful(self) -> Point:
        """The lower rate: the steepest descent can be a single lucky batch far to the right."""
        return min(self.steepest, self.valley, key=lambda point: point.lr)


def lr_find(
    settings: TrainSettings, *, on_point: OnPoint | None = None, on_message: OnMessage | None = None
) -> tuple[Point, ...]:
    """Train for up to 100 steps, each at a higher rate; the weights are thrown away.

    The encoder's rate is to the decoder's as in `settings`.

    Raises:
        DataError, TrainingError: as in `train`.
    """
    check(settings)
    keep_freed_memory()
    job = prepare(settings, None, on_message or (lambda _message: None))
    points: list[Point] = []
    for point in _points(job):
        points.append(point)
        if on_point:
            on_point(len(points), STEPS, point.smoothed_loss)
        if point.smoothed_loss > _EXPLODED * min(seen.smoothed_loss for seen in points):
            break
    return tuple(points)


def suggest(points: Sequence[Point]) -> Suggestions:
    """Read off the curve.

    Raises:
        TrainingError: the loss never falls, or explodes at once.
    """
    curve = points[_LEAD_IN:-_TAIL]
    if len(curve) < 2:
        raise TrainingError(
            f"the loss exploded after {len(points)} steps, at a rate of {points[-1].lr if points else _FIRST:.2g}: "
            "too early to read a rate off; are the weights of --start-from sound?"
        )
    losses = [point.smoothed_loss for point in curve]
    # Rates grow by a factor, so differences of the loss are its slope over the logarithm of the rate.
    falls = [before - after for before, after in pairwise(losses)]
    if max(falls) <= 0:
        raise TrainingError("the loss falls at no rate; look at the data set with 'roadmask data DATA -o sheet.png'")
    return Suggestions(curve[falls.index(max(falls))], curve[_valley(losses)])


def write_points(points: Sequence[Point], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Point.__slots__)
        writer.writerows([point.lr, point.encoder_lr, point.loss, point.smoothed_loss] for point in points)


def rate_at(step: int) -> float:
    """The decoder's, of steps 0 to 99: from 1e-7 to 10, by the same factor each."""
    return _FIRST * math.pow(_LAST / _FIRST, step / (STEPS - 1))


def _points(job: Job) -> Iterator[Point]:
    """Ends early where the loss is no number any more."""
    learner = start(job)
    set_training(learner.network, frozen_scales=job.settings.frozen_scales)
    torch.manual_seed(job.settings.seed)  # dropout
    mean = 0.0
    for step, batch in enumerate(islice(epoch_batches(job, 0), STEPS)):
        lr = rate_at(step)
        for group in learner.optimizer.param_groups:
            group["lr"] = lr * group["peak"] / job.settings.lr
        taken = take_step(job, learner, batch)
        if not taken.is_finite:
            return
        mean = _SMOOTHING * mean + (1 - _SMOOTHING) * taken.loss
        encoder_lr = lr * job.settings.encoder_lr / job.settings.lr
        yield Point(lr, encoder_lr, taken.loss, mean / (1 - _SMOOTHING ** (step + 1)))


def _valley(losses: Sequence[float]) -> int:
    """Half way along the longest run of ever smaller losses, others between them left out.

    The length of that run counts as its extent, as in fastai's rule, where one third and half of another are rounded
    down one by one.
    """
    lengths = [1] * len(losses)
    for index, loss in enumerate(losses):
        lengths[index] += max((lengths[before] for before in range(index) if loss < losses[before]), default=0)
    longest = max(lengths)
    third = longest / 3
    first = lengths.index(longest) - longest
    return max(first + math.floor(third) + math.floor(third / 2), 0)
