"""AdamW with a rate of its own for the encoder, steered by the one-cycle schedule."""

from __future__ import annotations

import torch
from torch import nn

from .schedule import one_cycle_momentum, one_cycle_rate
from .settings import TrainSettings
from .unet import UNet

ENCODER, DECODER = 0, 1  # the optimiser's groups


def make_optimizer(network: UNet, settings: TrainSettings) -> torch.optim.Optimizer:
    """Each group carries its peak rate under "peak", for `set_rates`."""
    return torch.optim.AdamW(
        [
            {"params": network.encoder.parameters(), "peak": settings.encoder_lr},
            {"params": _decoder_parameters(network), "peak": settings.lr},
        ],
        lr=settings.lr,
        weight_decay=settings.weight_decay,
    )


def set_rates(optimizer: torch.optim.Optimizer, step: int, step_count: int, pct_start: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = one_cycle_rate(step, step_count, peak=group["peak"], pct_start=pct_start)
        group["betas"] = (one_cycle_momentum(step, step_count, pct_start=pct_start), group["betas"][1])


def set_training(network: UNet, *, encoder_frozen: bool) -> None:
    """A frozen encoder keeps its weights and its batch norm statistics, bit for bit.

    Without gradients AdamW skips it, weight decay included.
    """
    network.train()
    network.encoder.train(not encoder_frozen)
    network.encoder.requires_grad_(not encoder_frozen)


def _decoder_parameters(network: UNet) -> list[nn.Parameter]:
    return [value for name, value in network.named_parameters() if not name.startswith("encoder.")]
