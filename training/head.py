"""The classifier of a network that is to learn other classes: fitted to what it sees of them, before the first step.

A random one would let the first hundred steps undo what the network knows. The layer is linear in few features, so the
best one for some thousand pixels is found in a second.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .augment import Crop
from .batches import resize_picture, to_input
from .loss import LossWeights
from .unet import UNet

_PIXELS = 4096  # of each
_DECAY = 1e-4  # of the squared weights, as shares of the loss
_ROUNDS = 100


def fit_head(network: UNet, pairs: Iterable[Crop], size: tuple[int, int], weights: LossWeights) -> None:
    """Set the classifier's weights by logistic regression over pixels of labelled pictures.

    The loss is that of training; but labels that stand for several classes are left out, and a class that none of
    these pictures shows keeps what the network was made with.

    Args:
        network: whose other weights stay as they are.
        pairs: pictures and their masks of codes, of any size.
        size: (height, width) at which the network sees them.
        weights: of the loss.
    """
    features, labels = _pixels(network, pairs, size)
    seen = torch.unique(labels)
    if len(seen) < 2:
        return
    deviation, mean = torch.std_mean(features, dim=0)
    deviation = deviation.clamp(min=1e-6)
    features = (features - mean) / deviation
    weight = torch.zeros(network.settings.class_count, features.shape[1], device=features.device, requires_grad=True)
    bias = torch.zeros(network.settings.class_count, device=features.device, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=_ROUNDS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        scores = functional.linear(features, weight, bias)
        loss = functional.cross_entropy(scores, labels, weights.classes, label_smoothing=weights.label_smoothing)
        loss = loss + _DECAY * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        own = weight / deviation
        network.classifier.weight[seen] = own[seen, :, None, None]
        network.classifier.bias[seen] = (bias - own @ mean)[seen]  # type: ignore[index]


@torch.no_grad()
def _pixels(network: UNet, pairs: Iterable[Crop], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """What the classifier is given at some pixels, (pixels, features), and their classes."""
    rng = np.random.default_rng(0)
    device = network.classifier.weight.device
    features, labels = [], []
    network.eval()
    for picture, mask in pairs:
        small = cv2.resize(mask, (size[1] // 2, size[0] // 2), interpolation=cv2.INTER_NEAREST).ravel()
        places = rng.permutation(np.flatnonzero(small < network.settings.class_count))[:_PIXELS]
        seen = network.features(to_input([resize_picture(picture, size)], device))
        features.append(seen[0].flatten(1).T[torch.from_numpy(places).to(device)])
        labels.append(torch.from_numpy(small[places]).long())
    return torch.cat(features), torch.cat(labels).to(device)
