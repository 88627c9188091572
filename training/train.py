"""Train the network: settings, data, network, optimiser, epochs, checkpoint. Reads top to bottom."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch

from . import checkpoint as checkpoints
from .allocator import keep_freed_memory
from .average import update_average, with_weights
from .batches import Batch, Crops, draw, train_batches
from .checkpoint import Checkpoint, finished
from .encoder import INPUT_MEAN, INPUT_STD
from .errors import TrainingError
from .evaluate import evaluate
from .history import EpochScores, PartScores, scores_in, write_history
from .job import Job, OnMessage, prepare
from .learner import Learner, restore, start
from .optimizer import rates, set_rates, set_training
from .run_folder import BEST, HISTORY, LAST, STEPS, load_previous, make_folder
from .settings import SettledSettings, TrainSettings, check, plain
from .shape import SCALES, STRIDE
from .step import take_step
from .step_log import StepLog, StepRow
from .teacher import soft_labels

_LEAST_EPOCHS_LEFT = 1.5  # of a budget: its scores, too, take time

OnStep = Callable[[int, int, float], None]  # steps done (or tenths of seconds), of how many, mean loss of the epoch
OnEpoch = Callable[[EpochScores], None]


def train(
    settings: TrainSettings,
    run: Path,
    *,
    resume: bool = False,
    stop_at: float | None = None,
    on_step: OnStep | None = None,
    on_epoch: OnEpoch | None = None,
    on_message: OnMessage | None = None,
) -> Checkpoint:
    """Train by `settings`; `run` gets `last.pt`, `best.pt` (by validation mIoU), `history.csv`, `steps.csv` and
    `settings.json`.

    A run killed at any moment goes on with `resume` from its last whole epoch, to the same result. So does one that
    ended after the first epoch to be over at `stop_at`, on the clock of `time.monotonic`. With a budget its schedule
    follows the time spent, so that it ends when that is over, and no two runs are quite the same.

    Raises:
        DataError: the data set is unusable; found before the first step.
        CheckpointError: `run` already holds a run and `resume` is off, or its settings differ.
        TrainingError: a setting is out of range, the device is not there, or the loss is no number any more.
    """
    say = on_message or (lambda _message: None)
    check(settings)
    keep_freed_memory()
    previous = load_previous(run, settings, resume=resume)
    job = prepare(settings, previous, say)
    if previous is None:
        learner = start(job)
        make_folder(run, settings, job.settings)
    else:
        learner = restore(job, previous)
        write_history(learner.history, run / HISTORY)  # a kill may have come between checkpoint and table
        say(f"resuming after {how_far(job.settings, learner.epoch, learner.seconds)}")
    if job.teachers and not is_over(job.settings, learner.epoch, learner.seconds):
        job = replace(job, soft=soft_labels(job, say))

    checkpoint = previous
    with StepLog(run / STEPS, done=learner.steps) as log:
        while not is_over(job.settings, learner.epoch, learner.seconds):
            started = time.monotonic()
            train_loss = _train_epoch(job, learner, run, log, on_step)
            scores = _score_epoch(job, learner, train_loss, started)
            if not math.isfinite(scores.valid_loss):
                raise _diverged(learner, run, f"validation loss is {scores.valid_loss} after epoch {scores.epoch}")
            is_best = learner.add(scores, job.labels.class_names)
            checkpoint = _checkpoint(job, learner)
            if is_best:  # before `last.pt`: a kill between the two repeats the epoch, and nothing is lost
                checkpoints.save(finished(checkpoint), run / BEST)
            checkpoints.save(checkpoint, run / LAST)
            write_history(learner.history, run / HISTORY)
            if on_epoch:
                on_epoch(scores)
            if stop_at is not None and time.monotonic() >= stop_at:
                break
    assert checkpoint is not None  # there is an epoch at least
    return checkpoint


def is_over(settings: SettledSettings, epochs: int, seconds: float) -> bool:
    """Whether a run that has come so far is whole."""
    return epochs >= settings.epochs if settings.budget_s is None else seconds >= settings.budget_s


def how_far(settings: SettledSettings, epochs: int, seconds: float) -> str:
    """For people."""
    if settings.budget_s is None:
        return f"epoch {epochs} of {settings.epochs}"
    return f"epoch {epochs}, {seconds:.0f} of {settings.budget_s:.0f} seconds"


def _train_epoch(job: Job, learner: Learner, run: Path, log: StepLog, on_step: OnStep | None) -> float:
    """One epoch; the mean loss. The last one of a budget goes on until that is spent."""
    settings, epoch = job.settings, learner.epoch
    torch.manual_seed(settings.seed * 1_000_003 + epoch)  # dropout: the same whether resumed or not
    frozen_scales = SCALES if epoch < settings.frozen_epochs else settings.frozen_scales
    set_training(learner.network, frozen_scales=frozen_scales)
    loss_sum = 0.0
    started = first = time.monotonic()
    for taken_count, batch in enumerate(epoch_batches(job, epoch), start=1):
        position, length = _position(job, learner, started - first)
        set_rates(learner.optimizer, position, length, settings.pct_start)
        taken = take_step(job, learner, batch, position / length)
        learner.steps += 1
        now = time.monotonic()
        lr, encoder_lr = rates(learner.optimizer)
        seconds, started = round(now - started, 3), now
        log.write(StepRow(learner.steps, epoch + 1, taken.loss, lr, encoder_lr, taken.gradient_norm, seconds))
        if not taken.is_finite:
            what = f"loss is {taken.loss:g} and the gradient's norm {taken.gradient_norm:g}"
            of = "" if settings.budget_s else f" of {length}"
            raise _diverged(learner, run, f"{what} in step {learner.steps}{of}")
        update_average(learner.average, learner.network, settings.average, learner.steps - 1)
        loss_sum += taken.loss
        if on_step:
            on_step(position + 1, length, loss_sum / taken_count)
        if _ends(job, learner, taken_count, now - first):
            return loss_sum / taken_count
    raise AssertionError("batches have no end")


def _position(job: Job, learner: Learner, seconds: float) -> tuple[int, int]:
    """Where in the schedule the next step is, and how long that is: in steps, or in tenths of a budget's seconds."""
    settings = job.settings
    if settings.budget_s is None:
        return learner.steps, job.steps_per_epoch * settings.epochs
    length = round(10 * settings.budget_s)
    return min(round(10 * (learner.seconds + seconds)), length - 1), length


def _ends(job: Job, learner: Learner, step_count: int, seconds: float) -> bool:
    """Whether the epoch does, that has come so far.

    With a budget, none begins for which no time is left: scoring would take the end of the schedule away, in which
    the rate falls to nothing.
    """
    is_whole = step_count % job.steps_per_epoch == 0
    if job.settings.budget_s is None:
        return is_whole
    left = job.settings.budget_s - learner.seconds - seconds
    return left <= 0 or (is_whole and left > _LEAST_EPOCHS_LEFT * seconds)


def epoch_batches(job: Job, epoch: int) -> Iterator[Batch]:
    """Without end, in an order and with changes of its own; `job.steps_per_epoch` of them are an epoch."""
    settings = job.settings
    crops = Crops(job.parts, job.pictures, job.soft, job.crop, job.size[0], settings.augment, settings.seed, epoch)
    drawn = draw(job.parts, job.batch, seed=settings.seed, epoch=epoch)
    while True:  # an epoch's worth at a time, so that no crop is made for nobody
        some = islice(drawn, job.steps_per_epoch)
        yield from train_batches(crops, some, loaders=settings.loaders, device=job.device)


def _diverged(learner: Learner, run: Path, what: str) -> TrainingError:
    """`last.pt` is sound: it is only written where the validation loss is a number."""
    lr, encoder_lr = rates(learner.optimizer)
    message = f"the {what}, at a rate of {lr:.3g} (encoder {encoder_lr:.3g}); lower --lr and --encoder-lr"
    if not learner.epoch:
        return TrainingError(f"{message}, and start again")
    last = run / LAST
    return TrainingError(f"{message}, and go on in another folder from epoch {learner.epoch}: --start-from {last}")


def _score_epoch(job: Job, learner: Learner, train_loss: float, started: float) -> EpochScores:
    """Score the averaged weights on the validation pictures; `started` is when the epoch did, for its seconds."""
    network = with_weights(learner.network, learner.average)
    losses, parts = [], []
    for number, part in enumerate(job.parts):
        if part.split.valid:
            pairs = (job.pictures.read(number, example) for example in part.split.valid)
            loss, confusion = evaluate(network, pairs, job.size, job.loss_weights, autocast=job.autocast)
            losses.append(loss)
            parts.append(PartScores(part.name, job.labels.groups(part.codes), confusion))
    return EpochScores(
        epoch=learner.epoch + 1,
        train_loss=train_loss,
        valid_loss=losses[0],
        parts=tuple(parts),
        lr=rates(learner.optimizer)[0],
        seconds=time.monotonic() - started,
        peak_memory_mb=_peak_memory_mb(),
    )


def _checkpoint(job: Job, learner: Learner) -> Checkpoint:
    return Checkpoint(
        network=learner.network.settings,
        weights={name: value.detach().cpu().clone() for name, value in learner.average.items()},
        class_names=job.labels.class_names,
        class_colors=job.labels.class_colors,
        input_mean=INPUT_MEAN,
        input_std=INPUT_STD,
        input_height=job.size[0],
        input_width=job.size[1],
        stride=STRIDE,
        settings=plain(job.settings),
        provenance=job.provenance,
        scores=scores_in(learner.history[-1]),
        progress={**learner.progress(), "meanings": job.meanings},
    )


def _peak_memory_mb() -> int | None:
    """Of this process so far; None where the system does not say."""
    if sys.platform == "win32":
        return None
    import resource  # Unix only

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10))  # macOS counts bytes, Linux KiB
