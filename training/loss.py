"""The loss: cross-entropy and Lovasz, both without void."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .camvid import VOID


def segmentation_loss(scores: Tensor, masks: Tensor, class_weights: Tensor, *, label_smoothing: float) -> Tensor:
    """Mean weighted cross-entropy over the pixels that are not void; 0 if all are.

    Shape:
        scores: (batch, classes, h, w) float, at any size; enlarged to the masks' size first, as at inference.
        masks: (batch, height, width) int64, class index or `VOID`.
    """
    scores = functional.interpolate(scores.float(), size=masks.shape[-2:], mode="bilinear")
    if not bool((masks != VOID).any()):
        return scores.sum() * 0  # cross_entropy would be 0 / 0
    return functional.cross_entropy(scores, masks, class_weights, ignore_index=VOID, label_smoothing=label_smoothing)


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
    so every fourth row stands for the others.
    """
    scores, masks = scores[:, :, ::4], masks[:, ::4]
    known = masks != VOID
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
