"""One step: forward, loss, backward, and the optimiser's move."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .batches import Batch
from .job import Job
from .learner import Learner
from .loss import LossWeights, lovasz_loss, one_in_four, segmentation_loss


@dataclass(frozen=True, slots=True)
class Step:
    """What a step gave."""

    loss: float
    gradient_norm: float  # of all gradients together, before clipping

    @property
    def is_finite(self) -> bool:
        return math.isfinite(self.loss) and math.isfinite(self.gradient_norm)


def take_step(job: Job, learner: Learner, batch: Batch, position: float = 0.0) -> Step:
    """Move the weights by the optimiser's present rates; not at all where loss or gradients are not finite.

    `position` is the share of the run that is done.
    """
    learner.optimizer.zero_grad(set_to_none=True)
    with job.autocast:
        scores = learner.network(batch.pictures)
    lovasz = job.settings.lovasz if position >= job.settings.lovasz_from else 0.0
    loss = _loss(scores, batch, job.loss_weights, lovasz)
    loss.backward()  # type: ignore[no-untyped-call]
    # With no limit this only measures: every gradient is multiplied by exactly 1.
    norm = torch.nn.utils.clip_grad_norm_(learner.network.parameters(), job.settings.clip or math.inf)
    step = Step(*torch.stack([loss.detach(), norm]).tolist())  # one wait for a GPU, not two
    if step.is_finite:
        learner.optimizer.step()
    return step


def _loss(scores: Tensor, batch: Batch, weights: LossWeights, lovasz: float) -> Tensor:
    """Over a quarter of the pixels, another one in each step."""
    row, column = torch.randint(2, (2,)).tolist()
    scores, masks = one_in_four(scores.float(), batch.masks, row, column)
    loss = segmentation_loss(scores, masks, weights, batch.teacher)
    if lovasz:
        loss = loss + lovasz * lovasz_loss(scores, masks)
    return loss
