"""What stays the same from the first step of a run to the last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .batches import steps_in
from .camvid import Dataset, Split, class_shares, open_dataset, split
from .checkpoint import Checkpoint
from .device import Autocast, choose_autocast, choose_device, precision_name
from .encoder import STRIDE
from .errors import DataError
from .loss import class_weights
from .provenance import provenance
from .settings import TrainSettings

OnMessage = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A run before its first step: settings, pictures, sizes, device."""

    settings: TrainSettings
    dataset: Dataset
    split: Split
    size: tuple[int, int]  # (height, width) at validation
    crop: tuple[int, int]  # in training
    device: torch.device
    autocast: Autocast
    class_weights: Tensor
    provenance: dict[str, str]

    @property
    def steps_per_epoch(self) -> int:
        return steps_in(len(self.split.train) * self.settings.passes, self.settings.batch)

    @property
    def step_count(self) -> int:
        return self.steps_per_epoch * self.settings.epochs


def prepare(settings: TrainSettings, previous: Checkpoint | None, say: OnMessage) -> Job:
    """Check and choose everything before the first step; a resumed run keeps the provenance that it began with.

    Raises:
        DataError: the data set is unusable.
        TrainingError: the device is not there.
    """
    device = choose_device(settings.device)
    autocast = choose_autocast(settings.precision, device)
    dataset = open_dataset(Path(settings.data))
    chosen = split(
        dataset,
        valid_list=Path(settings.valid_list) if settings.valid_list else None,
        valid_drives=settings.valid_drives,
    )
    # These two read every picture and label once, so that bad ones are found before training.
    shares = class_shares(dataset, chosen.train)
    class_shares(dataset, chosen.valid)
    size = settings.size or _network_size(dataset, chosen)
    crop = settings.crop or size
    _check_batch_norm(crop, min(settings.batch, len(chosen.train) * settings.passes))
    say(
        f"{len(chosen.train)} pictures to train on, {len(chosen.valid)} to score on (by {chosen.valid_by}); "
        f"{len(dataset.class_names)} classes; {device.type}, {precision_name(autocast)}"
    )
    weights = class_weights(torch.from_numpy(shares).float(), settings.class_weight_offset).to(device)
    made_from = previous.provenance if previous else provenance(settings, dataset, chosen.valid_by)
    return Job(settings, dataset, chosen, size, crop, device, autocast, weights, made_from)


def _network_size(dataset: Dataset, chosen: Split) -> tuple[int, int]:
    """The first picture's size, down to multiples of the stride."""
    height, width = dataset.read(chosen.train[0])[1].shape
    return max(height // STRIDE, 1) * STRIDE, max(width // STRIDE, 1) * STRIDE


def _check_batch_norm(crop: tuple[int, int], batch: int) -> None:
    """Batch norm needs two values a channel; the deepest features have (height / 32) x (width / 32) of each picture."""
    if batch * (crop[0] // STRIDE) * (crop[1] // STRIDE) < 2:
        raise DataError(f"one crop of {crop[0]}x{crop[1]} is too little for a batch; raise --batch or --crop")
