"""Train the network: settings, data, network, optimiser, epochs, checkpoint. Reads top to bottom."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from . import checkpoint as checkpoints
from .average import update_average, with_weights
from .batches import Crops, train_batches
from .checkpoint import Checkpoint, finished
from .encoder import INPUT_MEAN, INPUT_STD, STRIDE
from .errors import TrainingError
from .evaluate import evaluate
from .history import EpochScores, scores_in, write_history
from .job import Job, OnMessage, prepare
from .learner import Learner, restore, start
from .loss import segmentation_loss
from .optimizer import DECODER, set_rates, set_training
from .run_folder import BEST, HISTORY, LAST, check_same_data, load_previous, make_folder
from .settings import TrainSettings, check, plain

OnStep = Callable[[int, int, float], None]  # steps done, steps in all, mean loss of the epoch so far
OnEpoch = Callable[[EpochScores], None]


def train(
    settings: TrainSettings,
    run: Path,
    *,
    resume: bool = False,
    on_step: OnStep | None = None,
    on_epoch: OnEpoch | None = None,
    on_message: OnMessage | None = None,
) -> Checkpoint:
    """Train by `settings`; `run` gets `last.pt`, `best.pt` (by validation mIoU), `history.csv` and `settings.json`.

    A run killed at any moment goes on with `resume` from its last whole epoch, to the same result.

    Raises:
        DataError: the data set is unusable; found before the first step.
        CheckpointError: `run` already holds a run and `resume` is off, or its settings differ.
        TrainingError: a setting is out of range, the device is not there, or the loss is no number any more.
    """
    say = on_message or (lambda _message: None)
    check(settings)
    previous = load_previous(run, settings, resume=resume)
    job = prepare(settings, previous, say)
    if previous is None:
        learner = start(job)
        make_folder(run, settings)
    else:
        check_same_data(previous, job.dataset)
        learner = restore(job, previous)
        write_history(learner.history, run / HISTORY)  # a kill may have come between checkpoint and table
        say(f"resuming after epoch {learner.epoch} of {settings.epochs}")

    checkpoint = previous
    while learner.epoch < settings.epochs:
        started = time.monotonic()
        train_loss = _train_epoch(job, learner, on_step)
        scores = _score_epoch(job, learner, train_loss, started)
        is_best = learner.add(scores, job.dataset.class_names)
        checkpoint = _checkpoint(job, learner)
        if is_best:  # before `last.pt`: a kill between the two repeats the epoch, and nothing is lost
            checkpoints.save(finished(checkpoint), run / BEST)
        checkpoints.save(checkpoint, run / LAST)
        write_history(learner.history, run / HISTORY)
        if on_epoch:
            on_epoch(scores)
    assert checkpoint is not None  # there is an epoch at least
    return checkpoint


def _train_epoch(job: Job, learner: Learner, on_step: OnStep | None) -> float:
    """One pass over the training pictures; the mean loss."""
    settings, network, epoch = job.settings, learner.network, learner.epoch
    torch.manual_seed(settings.seed * 1_000_003 + epoch)  # dropout: the same whether resumed or not
    set_training(network, encoder_frozen=epoch < settings.frozen_epochs)
    crops = Crops(job.dataset, job.split.train, job.crop, settings.augment, settings.seed, epoch)
    batches = train_batches(crops, settings.batch, workers=settings.workers, device=job.device)
    loss_sum = 0.0
    for index, (pictures, masks) in enumerate(batches):
        step = epoch * job.steps_per_epoch + index
        set_rates(learner.optimizer, step, job.step_count, settings.pct_start)
        learner.optimizer.zero_grad(set_to_none=True)
        with job.autocast:
            scores = network(pictures)
        loss = segmentation_loss(scores, masks, job.class_weights, label_smoothing=settings.label_smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        learner.optimizer.step()
        update_average(learner.average, network, settings.average, step)
        loss_sum += float(loss.detach())
        if not math.isfinite(loss_sum):
            raise TrainingError(f"the loss is {loss_sum} in step {step + 1} of {job.step_count}; lower --lr")
        if on_step:
            on_step(step + 1, job.step_count, loss_sum / (index + 1))
    return loss_sum / job.steps_per_epoch


def _score_epoch(job: Job, learner: Learner, train_loss: float, started: float) -> EpochScores:
    """Score the averaged weights on the validation pictures; `started` is when the epoch did, for its seconds."""
    valid_loss, confusion = evaluate(
        with_weights(learner.network, learner.average),
        job.dataset,
        job.split.valid,
        job.size,
        job.class_weights,
        label_smoothing=job.settings.label_smoothing,
        autocast=job.autocast,
    )
    return EpochScores(
        epoch=learner.epoch + 1,
        train_loss=train_loss,
        valid_loss=valid_loss,
        confusion=confusion,
        lr=float(learner.optimizer.param_groups[DECODER]["lr"]),
        seconds=time.monotonic() - started,
        peak_memory_mb=_peak_memory_mb(),
    )


def _checkpoint(job: Job, learner: Learner) -> Checkpoint:
    return Checkpoint(
        network=learner.network.settings,
        weights={name: value.detach().cpu().clone() for name, value in learner.average.items()},
        class_names=job.dataset.class_names,
        class_colors=job.dataset.class_colors,
        input_mean=INPUT_MEAN,
        input_std=INPUT_STD,
        input_height=job.size[0],
        input_width=job.size[1],
        stride=STRIDE,
        settings=plain(job.settings),
        provenance=job.provenance,
        scores=scores_in(learner.history[-1]),
        progress=learner.progress(),
    )


def _peak_memory_mb() -> int | None:
    """Of this process so far; None where the system does not say."""
    if sys.platform == "win32":
        return None
    import resource  # Unix only

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10))  # macOS counts bytes, Linux KiB
