"""From pictures on disk to the tensors the network sees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from .augment import AugmentSettings, augment
from .camvid import Dataset, Example
from .encoder import INPUT_MEAN, INPUT_STD

Crop = tuple[NDArray[np.uint8], NDArray[np.uint8]]  # picture and mask
Batch = tuple[Tensor, Tensor]  # normalised pictures (batch, 3, height, width), masks (batch, height, width) int64


@dataclass(frozen=True, slots=True, eq=False)
class Crops(TorchDataset[Crop]):
    """Augmented crops; each depends on seed, epoch and index alone, whichever process makes it."""

    dataset: Dataset
    examples: Sequence[Example]
    crop: tuple[int, int]  # (height, width)
    full_height: int  # of a whole picture at a scale of 1
    passes: int
    augment: AugmentSettings
    seed: int
    epoch: int

    def __len__(self) -> int:
        return len(self.examples) * self.passes

    def __getitem__(self, index: int) -> Crop:
        picture, mask = self.dataset.read(self.examples[index % len(self.examples)])
        rng = np.random.default_rng((self.seed, self.epoch, index))
        height, width = self.crop
        return augment(
            picture,
            mask,
            height=height,
            width=width,
            full_height=self.full_height,
            settings=self.augment,
            rng=rng,
        )


def steps_in(example_count: int, batch: int) -> int:
    """How many batches `train_batches` gives: whole ones, or a single small one."""
    return max(example_count // batch, 1)


def train_batches(crops: Crops, batch: int, *, loaders: int | None, device: torch.device) -> Iterator[Batch]:
    """One epoch in its own order; a last batch that is not full is left out, unless it is the only one."""
    order = np.random.default_rng((crops.seed, crops.epoch)).permutation(len(crops)).tolist()
    if loaders is None:  # on a CPU they would take from the network more than they give
        loaders = min(8, torch.get_num_threads()) if device.type == "cuda" else 0
    loader: DataLoader[Crop] = DataLoader(
        crops,
        batch_size=batch,
        sampler=order,
        drop_last=len(crops) >= batch,
        num_workers=loaders,
        collate_fn=list,
        pin_memory=False,
    )
    for some in loader:
        masks = torch.from_numpy(np.stack([mask for _, mask in some]).astype(np.int64))
        yield to_input([picture for picture, _ in some], device), masks.to(device)


def to_input(pictures: Sequence[NDArray[np.uint8]], device: torch.device) -> Tensor:
    """uint8 (height, width, 3) pictures to one normalised (batch, 3, height, width) tensor, channels last."""
    batch = torch.from_numpy(np.stack(pictures)).to(device).permute(0, 3, 1, 2)
    return (batch.float() - INPUT_MEAN) / INPUT_STD


def resize_picture(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """To (height, width); by area when it shrinks, so that nothing aliases."""
    if picture.shape[:2] == size:
        return picture
    shrinks = picture.shape[0] > size[0] and picture.shape[1] > size[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (size[1], size[0]), interpolation=interpolation), np.uint8)
