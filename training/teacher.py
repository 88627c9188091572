"""What trained networks think of the training pictures: soft labels to learn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .batches import Pictures, Soft, resize_picture, to_input
from .checkpoint import load
from .device import Autocast
from .encoder import STRIDE
from .errors import CheckpointError
from .mixture import Part
from .unet import UNet


def load_teachers(paths: Sequence[str], class_names: tuple[str, ...], device: torch.device) -> list[UNet]:
    """Networks to ask, each of the same classes as the one to be taught.

    Raises:
        CheckpointError: one cannot be read, or is of other classes.
    """
    teachers = []
    for path in paths:
        checkpoint = load(Path(path))
        if checkpoint.class_names != class_names:
            raise CheckpointError(
                f"{path}: teaches {', '.join(checkpoint.class_names)}; to be learnt are {', '.join(class_names)}"
            )
        network = checkpoint.build().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        teachers.append(network)
    return teachers


@torch.inference_mode()
def soft_labels(
    teachers: Sequence[UNet],
    parts: Sequence[Part],
    pictures: Pictures,
    *,
    height: int,
    scales: Sequence[float],
    device: torch.device,
    autocast: Autocast,
    on_picture: Callable[[int, int], None],
) -> dict[tuple[int, str], Soft]:
    """The teachers' mean probabilities of every training picture, at half of `height`.

    Each sees the clean picture, and its mirror image, at `scales` of that height.
    """
    opinions: dict[tuple[int, str], Soft] = {}
    wanted = [(number, example) for number, part in enumerate(parts) for example in part.split.train]
    for done, (number, example) in enumerate(wanted, start=1):
        picture, _ = pictures.read(number, example)
        width = round(height * picture.shape[1] / picture.shape[0])
        total = torch.zeros((), device=device)
        for scale in scales:
            size = _multiples(height * scale), _multiples(width * scale)
            both = to_input([seen := resize_picture(picture, size), np.asarray(cv2.flip(seen, 1), np.uint8)], device)
            for teacher in teachers:
                with autocast:
                    scores = teacher(both)
                total = total + _mean_probability(scores.float(), (height // 2, width // 2))
        mean = total / (len(scales) * len(teachers))
        opinions[number, example.name] = mean.mul(255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        on_picture(done, len(wanted))
    return opinions


def _mean_probability(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """(classes, h, w) of the scores (2, classes, ...) of a picture and of its mirror image."""
    probability = functional.interpolate(scores, size=size, mode="bilinear").softmax(1)
    return (probability[0] + probability[1].flip(-1)) / 2


def _multiples(side: float) -> int:
    return max(round(side / STRIDE), 1) * STRIDE
