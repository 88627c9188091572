"""AdamW with a rate of its own for the encoder, steered by the one-cycle schedule."""

from __future__ import annotations

import torch
from torch import nn

from .schedule import one_cycle_momentum, one_cycle_rate
from .settings import SettledSettings
from .unet import UNet

DECODER = -1  # the last of the optimiser's groups


def make_optimizer(network: UNet, settings: SettledSettings) -> torch.optim.Optimizer:
    """A group for each scale of the encoder and one for the decoder.

    Each carries its peak rate under "peak", for `set_rates`.
    """
    scales = [nn.ModuleList(modules) for modules in network.encoder.scales()]
    groups = [
        {"params": scale.parameters(), "peak": settings.encoder_lr * settings.layer_decay**depth}
        for depth, scale in zip(reversed(range(len(scales))), scales, strict=True)
    ]
    groups.append({"params": _decoder_parameters(network), "peak": settings.lr})
    # Fused, it goes over the weights once; on a CPU it is otherwise a tenth of a step.
    return torch.optim.AdamW(groups, lr=settings.lr, weight_decay=settings.weight_decay, fused=True)


def set_rates(optimizer: torch.optim.Optimizer, step: int, step_count: int, pct_start: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = one_cycle_rate(step, step_count, peak=group["peak"], pct_start=pct_start)
        group["betas"] = (one_cycle_momentum(step, step_count, pct_start=pct_start), group["betas"][1])


def rates(optimizer: torch.optim.Optimizer) -> tuple[float, float]:
    """The present ones of the decoder and of the encoder's deepest scale; 0 for an encoder that is frozen."""
    decoder, encoder = optimizer.param_groups[DECODER], optimizer.param_groups[DECODER - 1]
    return float(decoder["lr"]), float(encoder["lr"]) if encoder["params"][0].requires_grad else 0.0


def set_training(network: UNet, *, frozen_scales: int) -> None:
    """The first scales of the encoder keep their weights and their batch norm statistics, bit for bit.

    Without gradients AdamW skips them, weight decay included.
    """
    network.train()
    for depth, modules in enumerate(network.encoder.scales()):
        for module in modules:
            module.train(depth >= frozen_scales)
            module.requires_grad_(depth >= frozen_scales)


def _decoder_parameters(network: UNet) -> list[nn.Parameter]:
    return [value for name, value in network.named_parameters() if not name.startswith("encoder.")]
