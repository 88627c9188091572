"""What trained networks think of the training pictures: soft labels to learn from."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .augment import Soft
from .batches import Key, resize_picture, to_input
from .files import Picture
from .job import Job, OnMessage
from .shape import nearest_multiple
from .unet import UNet

_TELL_EVERY = 500  # pictures


def soft_labels(job: Job, say: OnMessage) -> dict[Key, Soft]:
    """The mean probabilities by the job's teachers of every training picture, at half of its input's height.

    Each teacher sees the clean picture, and its mirror image, at the scales that the settings name.
    """
    teachers = [teacher.build().to(job.device, memory_format=torch.channels_last) for teacher in job.teachers]  # type: ignore[call-overload]
    wanted = [(number, example) for number, part in enumerate(job.parts) for example in part.split.train]
    opinions: dict[Key, Soft] = {}
    for done, (number, example) in enumerate(wanted, start=1):
        picture, _ = job.pictures.read(number, example)
        opinions[number, example.picture] = _opinion(job, teachers, picture)
        if done == len(wanted) or done % _TELL_EVERY == 0:
            say(f"asked the teachers about {done} of {len(wanted)} pictures")
    return opinions


@torch.inference_mode()
def _opinion(job: Job, teachers: Sequence[UNet], picture: Picture) -> Soft:
    height = job.size[0]
    width = round(height * picture.shape[1] / picture.shape[0])
    seen_by_each = []
    for scale in job.settings.teacher_scales:
        seen = resize_picture(picture, (nearest_multiple(height * scale), nearest_multiple(width * scale)))
        both = to_input([seen, np.asarray(cv2.flip(seen, 1), np.uint8)], job.device)
        for teacher in teachers:
            with job.autocast:
                scores = teacher(both)
            seen_by_each.append(_mean_probability(scores.float(), (height // 2, max(width // 2, 1))))
    mean = torch.stack(seen_by_each).mean(0)
    return np.asarray(mean.mul(255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy())


def _mean_probability(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """(classes, h, w) of the scores (2, classes, ...) of a picture and of its mirror image."""
    probability = functional.interpolate(scores, size=size, mode="bilinear").softmax(1)
    return (probability[0] + probability[1].flip(-1)) / 2
