"""The context pyramid in a model file: for pictures of any size, with the scores that torch gives."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import NAMES

from export.convert import export_model
from export.deploy import DeployedNetwork
from export.pictures import draw
from stream.model import Model
from training import checkpoint as checkpoints
from training.checkpoint import Checkpoint
from training.unet import UNet, UNetSettings


def network() -> UNet:
    """With a pyramid that counts: as it is begun, it adds nothing."""
    torch.manual_seed(0)
    network = UNet(UNetSettings(len(NAMES), (8, 8, 8, 8), context="pyramid", dropout=0.0))
    torch.nn.init.normal_(network.context.project.weight, std=0.1)  # type: ignore[arg-type, union-attr]
    pictures = np.stack([draw(64, 96, seed=seed) for seed in range(8)])
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # a plain mean over the batches seen
    with torch.no_grad():
        network.train()((torch.from_numpy(pictures).permute(0, 3, 1, 2).float() - 127) / 128)
    return network.eval()


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    made = network()
    return Checkpoint(
        network=made.settings,
        weights=made.state_dict(),
        class_names=NAMES,
        class_colors=((128, 128, 128), (128, 64, 128), (64, 0, 128)),
        input_mean=127.0,
        input_std=128.0,
        input_height=64,
        input_width=96,
        stride=32,
        settings={"data": "drives", "epochs": 1},
        provenance={"data": "drives, 8 pictures", "license_note": ""},
        scores={"miou": 0.25},
        progress=None,
    )


@pytest.fixture(scope="module")
def model(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder: Path = tmp_path_factory.mktemp("run")
    checkpoints.save(checkpoint, folder / "best.pt")
    export_model(folder / "best.pt", folder / "model.onnx")
    return Model.load(folder / "model.onnx", device="cpu")


@pytest.mark.parametrize("shape", [(1, 64, 96), (2, 64, 96), (1, 32, 32), (2, 160, 64), (1, 32, 576)])
def test_a_pyramid_in_a_model_file_scores_as_in_torch_at_every_size(
    checkpoint: Checkpoint, model: Model, shape: tuple[int, int, int]
) -> None:
    batch, height, width = shape
    pictures = np.stack([draw(height, width, seed=seed) for seed in range(batch)])
    with torch.inference_mode():
        expected = DeployedNetwork(checkpoint)(torch.from_numpy(pictures)).numpy()
    np.testing.assert_allclose(model.scores(pictures), expected, atol=1e-3)  # as for networks without


def test_the_pyramid_of_this_test_changes_the_scores(checkpoint: Checkpoint) -> None:
    flat = dataclasses.replace(
        checkpoint, weights={**checkpoint.weights, "context.project.weight": torch.zeros(320, 256, 1, 1)}
    )
    picture = torch.from_numpy(draw(64, 96, seed=0)[None])
    with torch.inference_mode():
        assert (DeployedNetwork(checkpoint)(picture) - DeployedNetwork(flat)(picture)).abs().max() > 0.05


def test_a_pyramid_begins_as_if_it_were_not_there() -> None:
    torch.manual_seed(0)
    fresh = UNet(UNetSettings(3, (8, 8, 8, 8), context="pyramid")).eval()
    features = torch.randn(1, 320, 3, 5)
    assert torch.equal(fresh.context(features), features)
