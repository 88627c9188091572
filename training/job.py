"""What stays the same from the first step of a run to the last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from .batches import Pictures, Soft, steps_in
from .camvid import VOID
from .checkpoint import Checkpoint
from .device import Autocast, choose_autocast, choose_device, precision_name
from .encoder import STRIDE
from .errors import DataError
from .labels import Labels
from .loss import LossWeights, class_weights
from .mixture import Mixture, Part, open_mixture
from .provenance import provenance
from .settings import TrainSettings
from .teacher import load_teachers, soft_labels

OnMessage = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A run before its first step: settings, pictures, sizes, device."""

    settings: TrainSettings
    labels: Labels
    parts: tuple[Part, ...]
    pictures: Pictures
    soft: dict[tuple[int, str], Soft] | None  # the teachers' opinion of each training picture
    size: tuple[int, int]  # (height, width) at validation
    crop: tuple[int, int]  # in training
    device: torch.device
    autocast: Autocast
    loss_weights: LossWeights
    provenance: dict[str, str]

    @property
    def steps_per_epoch(self) -> int:
        total = sum(len(part.split.train) for part in self.parts)
        return steps_in(total * self.settings.passes, self.settings.batch)

    @property
    def step_count(self) -> int:
        """Of the whole run; a run with a budget may end before."""
        return self.steps_per_epoch * self.settings.epochs


def prepare(settings: TrainSettings, previous: Checkpoint | None, say: OnMessage) -> Job:
    """Check and choose everything before the first step; a resumed run keeps the provenance that it began with.

    Raises:
        DataError: a data set is unusable.
        CheckpointError: a teacher is unusable.
        TrainingError: the device is not there.
    """
    device = choose_device(settings.device)
    autocast = choose_autocast(settings.precision, device)
    mixture = open_mixture(settings)
    labels, parts = mixture.labels, mixture.parts
    teachers = load_teachers(settings.teachers, labels.class_names, device)
    pictures = Pictures(parts)
    shares = _read_all(parts, pictures, len(labels.class_names))
    size = settings.size or _network_size(parts[0], pictures)
    crop = settings.crop or size
    total = sum(len(part.split.train) for part in parts)
    _check_batch_norm(crop, min(settings.batch, total * settings.passes))
    for line in _described(mixture, device, autocast):
        say(line)
    soft = None
    if teachers:
        soft = soft_labels(
            teachers,
            parts,
            pictures,
            height=size[0],
            scales=settings.teacher_scales,
            device=device,
            autocast=autocast,
            on_picture=lambda done, of: (
                say(f"asked the teachers about {done} of {of} pictures") if done == of or done % 500 == 0 else None
            ),
        )
    weights = LossWeights(
        members=torch.from_numpy(labels.members).to(device),
        classes=class_weights(torch.from_numpy(shares).float(), settings.class_weight_offset).to(device),
        label_smoothing=settings.label_smoothing,
        of_set=settings.of_set,
        distill=settings.distill,
    )
    made_from = previous.provenance if previous else provenance(settings, parts)
    return Job(settings, labels, parts, pictures, soft, size, crop, device, autocast, weights, made_from)


def _read_all(parts: tuple[Part, ...], pictures: Pictures, class_count: int) -> NDArray[np.float64]:
    """Every picture and label once, so that bad ones are found before training.

    Returns:
        The share of each class among the training pixels of the first data set that show one class for certain.
    """
    counts = np.zeros(256, np.int64)
    for number, part in enumerate(parts):
        for examples in (part.split.train, part.split.valid):
            known = np.zeros(256, np.int64)
            for example in examples:
                known += np.bincount(pictures.read(number, example)[1].ravel(), minlength=256)
            if examples and not known[:VOID].any():
                raise DataError(f"{part.dataset.root}: every pixel of the labels is void")
            if number == 0 and examples is part.split.train:
                counts = known
    return np.asarray(counts[:class_count] / max(counts[:class_count].sum(), 1), np.float64)


def _described(mixture: Mixture, device: torch.device, autocast: Autocast) -> list[str]:
    """For people: what is learnt from, and where."""
    what = f"{len(mixture.labels.class_names)} classes; {device.type}, {precision_name(autocast)}"
    first, *others = mixture.parts
    if not others:
        return [f"{_counted(first)}; {what}"]
    return [*(f"{part.share:.0%} of each batch from {part.name}: {_counted(part)}" for part in mixture.parts), what]


def _counted(part: Part) -> str:
    if part.horizon is not None:
        return f"{len(part.split.train)} pictures without labels"
    by = f" (by {part.split.valid_by})" if part.split.valid else ""
    return f"{len(part.split.train)} pictures to train on, {len(part.split.valid)} to score on{by}"


def _network_size(part: Part, pictures: Pictures) -> tuple[int, int]:
    """The first picture's size, down to multiples of the stride."""
    height, width = pictures.read(0, part.split.train[0])[1].shape
    return max(height // STRIDE, 1) * STRIDE, max(width // STRIDE, 1) * STRIDE


def _check_batch_norm(crop: tuple[int, int], batch: int) -> None:
    """Batch norm needs two values a channel; the deepest features have (height / 32) x (width / 32) of each picture."""
    if batch * (crop[0] // STRIDE) * (crop[1] // STRIDE) < 2:
        raise DataError(f"one crop of {crop[0]}x{crop[1]} is too little for a batch; raise --batch or --crop")
