"""The running mean of the weights: less noisy than the last weights, and what is scored and exported."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from .unet import UNet


def start_average(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


@torch.no_grad()
def update_average(average: dict[str, Tensor], network: nn.Module, decay: float, step: int) -> None:
    """Exponential running mean of weights and batch norm statistics; young means forget faster."""
    decay = min(decay, (1 + step) / (10 + step))
    means, values = [], []
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            means.append(average[name])
            values.append(value)
        else:
            average[name].copy_(value)
    # Hundreds of tensors at once: on a GPU a few launches, not hundreds.
    get_ema_multi_avg_fn(decay)(means, values, None)  # type: ignore[no-untyped-call]


def with_weights(network: UNet, weights: dict[str, Tensor]) -> UNet:
    """A network of the same shape, on the same device, with other weights."""
    twin = UNet(network.settings).to(next(network.parameters()).device)
    twin.load_state_dict(weights)
    return twin.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
