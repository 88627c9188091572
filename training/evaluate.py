"""Score a network on labelled pictures, each decided at its own size."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from .batches import resize_picture, to_input
from .device import Autocast
from .files import Picture
from .loss import LossWeights, segmentation_loss
from .metrics import confusion_matrix
from .shape import nearest_multiple
from .unet import UNet


@torch.inference_mode()
def evaluate(
    network: UNet,
    pairs: Iterable[tuple[Picture, NDArray[np.uint8]]],
    size: tuple[int, int],
    weights: LossWeights,
    *,
    autocast: Autocast | None = None,
) -> tuple[float, NDArray[np.int64]]:
    """Mean loss and confusion matrix (codes, classes) over pictures and their masks of codes.

    The network sees each at its own shape, with about as many pixels as `size` (height, width) has.
    """
    network.eval()
    code_count, class_count = weights.members.shape
    device = weights.members.device
    confusion = np.zeros((code_count, class_count), np.int64)
    losses = []
    for picture, mask in pairs:
        scores = _scores(network, picture, of_shape(size, picture.shape), device, autocast)
        truth = torch.from_numpy(mask.astype(np.int64))[None].to(device)
        losses.append(segmentation_loss(scores, truth, weights))
        confusion += confusion_matrix(mask, _decide(scores, mask.shape), code_count, class_count)
    return float(torch.stack(losses).mean()), confusion


def of_shape(size: tuple[int, int], shape: tuple[int, ...]) -> tuple[int, int]:
    """(height, width) in multiples of the stride: the aspect ratio of `shape`, about as many pixels as `size` has."""
    factor = math.sqrt(size[0] * size[1] / (shape[0] * shape[1]))
    height, width = (nearest_multiple(side * factor) for side in shape[:2])
    return height, width


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
