"""A checkpoint to export: of a small network that nobody has trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from roadmask.export.pictures import draw
from roadmask.training import checkpoint as checkpoints
from roadmask.training.checkpoint import Checkpoint
from roadmask.training.shape import UNetSettings
from roadmask.training.unet import UNet

NAMES = ("Sky", "Road", "Car", "Tree", "Fence")
COLORS = ((128, 128, 128), (128, 64, 128), (64, 0, 128), (128, 128, 0), (64, 64, 128))
HEIGHT, WIDTH = 64, 96


SMALL = UNetSettings(len(NAMES), decoder_channels=(8, 8, 8, 8), dropout=0.0)


def untrained_network(settings: UNetSettings = SMALL) -> UNet:
    """Random weights, but with batch norm statistics of pictures: without them every label would be the same."""
    torch.manual_seed(0)
    network = UNet(settings)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # a plain mean over the batches seen
    pictures = np.stack([draw(HEIGHT, WIDTH, seed=seed) for seed in range(8)])
    with torch.no_grad():
        network.train()((torch.from_numpy(pictures).permute(0, 3, 1, 2).float() - 127) / 128)
    return network.eval()


def untrained_checkpoint(settings: UNetSettings = SMALL) -> Checkpoint:
    """Its training data is not there."""
    network = untrained_network(settings)
    return Checkpoint(
        network=network.settings,
        weights={name: value.clone() for name, value in network.state_dict().items()},
        class_names=NAMES,
        class_colors=COLORS,
        input_mean=127.0,
        input_std=128.0,
        input_height=HEIGHT,
        input_width=WIDTH,
        stride=32,
        settings={"data": "/home/somebody/drives", "epochs": 1},
        provenance={"data": "drives, 8 pictures", "license_note": "mine"},
        scores={"miou": 0.25},
        progress=None,
    )


def save_untrained(folder: Path) -> Path:
    path = folder / "best.pt"
    checkpoints.save(untrained_checkpoint(), path)
    return path
