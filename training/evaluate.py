"""Score a network on labelled pictures, each decided at its own size."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from .batches import resize_picture, to_input
from .camvid import Dataset, Example
from .device import Autocast
from .loss import segmentation_loss
from .metrics import confusion_matrix
from .unet import UNet


@torch.inference_mode()
def evaluate(
    network: UNet,
    dataset: Dataset,
    examples: Sequence[Example],
    size: tuple[int, int],
    class_weights: Tensor,
    *,
    label_smoothing: float,
    autocast: Autocast | None = None,
) -> tuple[float, NDArray[np.int64]]:
    """Mean loss and confusion matrix over `examples`; the network sees them at `size` (height, width)."""
    network.eval()
    class_count = len(dataset.class_names)
    confusion = np.zeros((class_count, class_count), np.int64)
    losses = []
    for example in examples:
        picture, mask = dataset.read(example)
        scores = _scores(network, picture, size, class_weights.device, autocast)
        truth = torch.from_numpy(mask.astype(np.int64))[None].to(class_weights.device)
        losses.append(float(segmentation_loss(scores, truth, class_weights, label_smoothing=label_smoothing)))
        confusion += confusion_matrix(mask, _decide(scores, mask.shape), class_count)
    return float(np.mean(losses)), confusion


@torch.inference_mode()
def predict(network: UNet, picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The mask (height, width) of a picture at its own size; the network, on the CPU, sees it at `size`."""
    network.eval()
    return _decide(_scores(network, picture, size, torch.device("cpu"), None), picture.shape)


def _scores(
    network: UNet, picture: NDArray[np.uint8], size: tuple[int, int], device: torch.device, autocast: Autocast | None
) -> Tensor:
    with autocast or nullcontext():
        scores: Tensor = network(to_input([resize_picture(picture, size)], device))
    return scores.float()


def _decide(scores: Tensor, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Scores (1, classes, h, w) to a mask; enlarged before the choice, so that edges are smooth."""
    full = functional.interpolate(scores, size=shape[:2], mode="bilinear")
    return np.asarray(full.argmax(dim=1)[0].to(torch.uint8).cpu().numpy())
