"""The loss: cross-entropy that ignores void."""

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


def class_weights(shares: Tensor, offset: float) -> Tensor:
    """1 / log(offset + share) of each class, scaled to a mean of 1 (Paszke et al., "ENet", 2016; there 1.02)."""
    weights = 1 / torch.log(offset + shares)
    return weights / weights.mean()
