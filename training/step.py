"""One step: forward, loss, backward, and the optimiser's move."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .batches import Batch
from .job import Job
from .learner import Learner
from .loss import lovasz_loss, one_in_four, segmentation_loss


@dataclass(frozen=True, slots=True)
class Step:
    """What a step gave."""

    loss: float
    gradient_norm: float  # of all gradients together, before clipping

    @property
    def is_finite(self) -> bool:
        return math.isfinite(self.loss) and math.isfinite(self.gradient_norm)


def take_step(job: Job, learner: Learner, batch: Batch) -> Step:
    """Move the weights by the optimiser's present rates; not at all where loss or gradients are not finite."""
    pictures, masks = batch
    learner.optimizer.zero_grad(set_to_none=True)
    with job.autocast:
        scores = learner.network(pictures)
    loss = _loss(job, scores, masks)
    loss.backward()  # type: ignore[no-untyped-call]
    # With no limit this only measures: every gradient is multiplied by exactly 1.
    norm = torch.nn.utils.clip_grad_norm_(learner.network.parameters(), job.settings.clip or math.inf)
    step = Step(float(loss.detach()), float(norm))
    if step.is_finite:
        learner.optimizer.step()
    return step


def _loss(job: Job, scores: Tensor, masks: Tensor) -> Tensor:
    """Over a quarter of the pixels, another one in each step."""
    row, column = torch.randint(2, (2,)).tolist()
    scores, masks = one_in_four(scores.float(), masks, row, column)
    loss = segmentation_loss(scores, masks, job.class_weights, label_smoothing=job.settings.label_smoothing)
    if job.settings.lovasz:
        loss = loss + job.settings.lovasz * lovasz_loss(scores, masks)
    return loss
