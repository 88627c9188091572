"""From pictures on disk to the tensors the network sees."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from .augment import Crop, Soft, augment
from .encoder import INPUT_MEAN, INPUT_STD
from .layouts import Example
from .mixture import Part
from .settings import AugmentSettings

Key = tuple[int, Path]  # number of a part, and file of a picture: names may be in two folders of a data set
_MEMORY_SHARE = 0.25  # of the machine's, that decoded pictures may take
_MEMORY_GUESS = 8 << 30  # bytes, where the system does not say


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    pictures: Tensor  # (batch, 3, height, width), normalised
    masks: Tensor  # (batch, height, width) int64, codes
    teacher: Tensor | None  # (batch, classes, height / 2, width / 2) probabilities


class Pictures:
    """The pictures and masks of all parts, kept as they were decoded while there is memory for them.

    A process that is forked off has what was kept; one that is started anew decodes for itself.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._left = _memory() * _MEMORY_SHARE
        self._kept: dict[Key, Crop] = {}

    def read(self, part: int, example: Example) -> Crop:
        """Raises `DataError`."""
        key = (part, example.picture)
        if (kept := self._kept.get(key)) is not None:
            return kept
        pair = self._parts[part].read(example)
        size = sum(array.nbytes for array in pair)
        if size <= self._left:
            self._left -= size
            self._kept[key] = pair
        return pair

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}}


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A picture that a crop is to be cut from."""

    part: int
    index: int  # into the training pictures of the part
    number: int  # of the crop in its epoch


@dataclass(frozen=True, slots=True, eq=False)
class Crops(TorchDataset[tuple[Crop, Soft | None]]):
    """Augmented crops; one depends on seed, epoch, picture and number alone, whichever process makes it."""

    parts: Sequence[Part]
    pictures: Pictures
    soft: Mapping[Key, Soft] | None  # the teachers' opinion
    crop: tuple[int, int]  # (height, width)
    full_height: int  # of a whole picture at a scale of 1
    augment: AugmentSettings
    seed: int
    epoch: int

    def __getitem__(self, drawn: Drawn) -> tuple[Crop, Soft | None]:
        example = self.parts[drawn.part].split.train[drawn.index]
        picture, mask = self.pictures.read(drawn.part, example)
        height, width = self.crop
        return augment(
            picture,
            mask,
            self.soft[drawn.part, example.picture] if self.soft is not None else None,
            height=height,
            width=width,
            full_height=self.full_height,
            settings=self.augment,
            rng=np.random.default_rng((self.seed, self.epoch, drawn.number)),
        )


def steps_in(example_count: int, batch: int) -> int:
    """How many batches an epoch has: whole ones, or a single small one."""
    return max(example_count // batch, 1)


def draw(parts: Sequence[Part], batch: int, *, seed: int, epoch: int) -> Iterator[list[Drawn]]:
    """Batches without end, in an order of this epoch's own: of each part its share, exactly but for one picture.

    A part's pictures come in turn, all of them before one comes again.
    """
    order = [_endless(len(part.split.train), (seed, epoch, number)) for number, part in enumerate(parts)]
    shares = np.array([part.share for part in parts])
    given = np.zeros(len(parts))
    numbers = count()

    def one() -> Drawn:
        number = next(numbers)
        part = int(np.argmax(shares * (number + 1) - given))  # the one that is furthest behind its share
        given[part] += 1
        return Drawn(part, next(order[part]), number)

    while True:
        yield [one() for _ in range(batch)]


def train_batches(
    crops: Crops, batches: Iterable[Sequence[Drawn]], *, loaders: int | None, device: torch.device
) -> Iterator[Batch]:
    """The batches of `draw`, made in `loaders` processes, or in this one for 0."""
    on_gpu = device.type == "cuda"
    if loaders is None:  # on a CPU they would take from the network more than they give
        loaders = min(16, os.cpu_count() or 1) if on_gpu else 0
    loader: DataLoader[tuple[Crop, Soft | None]] = DataLoader(
        crops,
        batch_sampler=batches,  # type: ignore[arg-type]  # torch thinks of numbers
        num_workers=loaders,
        collate_fn=_stacked,
        pin_memory=on_gpu,
        prefetch_factor=4 if loaders else None,
        worker_init_fn=_start_worker,
        # As Python does it there by itself up to 3.13. Else each would import torch anew in every epoch, which takes
        # seconds, and hold a copy of what the teachers said.
        multiprocessing_context="fork" if loaders and sys.platform == "linux" else None,
    )
    with _one_thread():
        started = iter(loader)
    for pictures, masks, soft in started:
        yield Batch(
            normalised(pictures.to(device, non_blocking=True)),
            masks.to(device, non_blocking=True).long(),
            None if soft is None else soft.to(device, non_blocking=True).permute(0, 3, 1, 2).float() / 255,
        )


def to_input(pictures: Sequence[NDArray[np.uint8]], device: torch.device) -> Tensor:
    """uint8 (height, width, 3) pictures to one normalised (batch, 3, height, width) tensor, channels last."""
    return normalised(torch.from_numpy(np.stack(pictures)).to(device))


def normalised(pictures: Tensor) -> Tensor:
    """uint8 (batch, height, width, 3) to what the network sees; channels stay last in memory."""
    return (pictures.permute(0, 3, 1, 2).float() - INPUT_MEAN) / INPUT_STD


def resize_picture(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """To (height, width); by area when it shrinks, so that nothing aliases."""
    if picture.shape[:2] == size:
        return picture
    shrinks = picture.shape[0] > size[0] and picture.shape[1] > size[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (size[1], size[0]), interpolation=interpolation), np.uint8)


def _stacked(some: Sequence[tuple[Crop, Soft | None]]) -> tuple[Tensor, Tensor, Tensor | None]:
    soft = [each for _, each in some if each is not None]
    return (
        torch.from_numpy(np.stack([picture for (picture, _), _ in some])),
        torch.from_numpy(np.stack([mask for (_, mask), _ in some])),
        torch.from_numpy(np.stack(soft)) if soft else None,
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """OpenCV's threads are not in a process that is forked off, which would wait for them for ever."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # ends the others
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _start_worker(_number: int) -> None:
    cv2.setNumThreads(1)  # there is a process for each core


def _endless(picture_count: int, seed: tuple[int, ...]) -> Iterator[int]:
    rng = np.random.default_rng(seed)
    while True:
        yield from rng.permutation(picture_count).tolist()


def _memory() -> int:
    """Bytes of the machine."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return _MEMORY_GUESS
