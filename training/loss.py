"""The loss: cross-entropy and Lovasz, both without void, for labels that are a class or a set of classes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .label_pictures import VOID


@dataclass(frozen=True, slots=True, eq=False)
class LossWeights:
    """How much each label and each opinion counts; tensors on the network's device."""

    members: Tensor  # (codes, classes) bool: the classes that a code in a mask may stand for
    classes: Tensor  # (classes,) weight of each
    label_smoothing: float = 0.0  # of codes that stand for one class
    of_set: float = 0.5  # the teacher's share where a code stands for several classes: which of them is it?
    distill: float = 0.0  # the teacher's share elsewhere, but not where it contradicts the label


def segmentation_loss(scores: Tensor, masks: Tensor, weights: LossWeights, teacher: Tensor | None = None) -> Tensor:
    """Mean weighted cross-entropy over the pixels that are not void; 0 if all are.

    A label that stands for a set of classes costs -log of their summed probability, which does not say how to divide
    it among them; a teacher's probabilities, cut to the set, do. One class is a set too, and then all this is the
    cross-entropy with class weights and label smoothing as torch computes it.

    Shape:
        scores: (batch, classes, h, w) float, at any size; enlarged to the masks' size first, as at inference.
        masks: (batch, height, width) int64, a row of `weights.members` or `VOID`.
        teacher: (batch, classes, height, width) probabilities.
    """
    log_probability = functional.interpolate(scores.float(), size=masks.shape[-2:], mode="bilinear").log_softmax(1)
    known = masks != VOID
    codes = masks.where(known, 0)
    members = weights.members.float()
    # Looked up for each pixel: 0 for a class of its set, else a number that makes its probability vanish.
    outside = ((1 - members) * -1e4)[codes].movedim(-1, 1)
    costs = -(log_probability + outside).logsumexp(1)
    single = weights.members.sum(1) == 1
    if teacher is not None:
        costs = _taught(costs, log_probability, outside, teacher, weights, single[codes])
    code_weights = (members @ weights.classes) / members.sum(1)
    total = code_weights[codes] * costs
    if smoothing := weights.label_smoothing:
        spread = -(log_probability * weights.classes[:, None, None]).mean(1)
        total = total.where(~single[codes], (1 - smoothing) * total + smoothing * spread)
    total, counted = (total * known).sum(), (code_weights[codes] * known).sum()
    return total / counted.clamp(min=1e-6)


def _taught(
    costs: Tensor, log_probability: Tensor, outside: Tensor, teacher: Tensor, weights: LossWeights, is_single: Tensor
) -> Tensor:
    """`costs` with the teacher's opinion beside them."""
    allowed = (teacher + 1e-4) * (outside == 0)  # where the teacher sees none of the set, all of it is as likely
    which = -(allowed / allowed.sum(1, keepdim=True) * log_probability).sum(1)
    costs = torch.where(is_single, costs, torch.lerp(costs, which, weights.of_set))
    if not weights.distill:
        return costs
    agrees = outside.gather(1, teacher.argmax(1, keepdim=True)).squeeze(1) == 0
    whole = -(teacher * log_probability).sum(1)
    return torch.where(agrees, torch.lerp(costs, whole, weights.distill), costs)


def one_in_four(scores: Tensor, masks: Tensor, row: int, column: int) -> tuple[Tensor, Tensor]:
    """Of every 2x2 pixels the one at (`row`, `column`), 0 or 1: its label, and its scores as enlarged.

    Exact: over the four choices the mean of a loss is that of the full size, at a quarter of the work.

    Shape:
        scores: (batch, classes, h, w).
        masks: (batch, 2 h, 2 w).
    """
    scores = _between_rows(_between_rows(scores, row, dim=2), column, dim=3)
    return scores, masks[:, row::2, column::2]


def lovasz_loss(scores: Tensor, masks: Tensor) -> Tensor:
    """1 - IoU of each class that occurs, extended to probabilities; their mean (0 if all is void).

    Berman, Triki, Blaschko: "The Lovasz-Softmax loss" (2018), over the batch as one picture. Sorting is what costs,
    so every fourth row stands for the others. Labels that stand for several classes are left out, as void is.
    """
    scores, masks = scores[:, :, ::4], masks[:, ::4]
    known = masks < scores.shape[1]
    probabilities = scores.float().softmax(dim=1).movedim(1, 0)[:, known]
    labels = masks[known]
    losses = []
    for index in torch.unique(labels).tolist():
        truth = (labels == index).float()
        errors, order = (truth - probabilities[index]).abs().sort(descending=True)
        losses.append(errors @ _jaccard_steps(truth[order]))
    return torch.stack(losses).mean() if losses else scores.sum() * 0


def class_weights(shares: Tensor, offset: float) -> Tensor:
    """1 / log(offset + share) of each class, scaled to a mean of 1 (Paszke et al., "ENet", 2016; there 1.02)."""
    weights = 1 / torch.log(offset + shares)
    return weights / weights.mean()


def _between_rows(scores: Tensor, phase: int, dim: int) -> Tensor:
    """Bilinear enlargement, of which only every second row is wanted: a quarter of the way to the neighbour."""
    last = scores.shape[dim] - 1
    if phase == 0:
        neighbours = torch.cat([scores.narrow(dim, 0, 1), scores.narrow(dim, 0, last)], dim)
    else:
        neighbours = torch.cat([scores.narrow(dim, 1, last), scores.narrow(dim, last, 1)], dim)
    return torch.lerp(scores, neighbours, 0.25)


def _jaccard_steps(truth: Tensor) -> Tensor:
    """How much each further error, largest first, adds to 1 - IoU."""
    rising = 1 - (truth.sum() - truth.cumsum(0)) / (truth.sum() + (1 - truth).cumsum(0))
    return torch.cat([rising[:1], rising[1:] - rising[:-1]])
