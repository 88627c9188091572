"""Rates and frozen parts of the encoder, clipping, and the allocator's settings."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from roadmask.training import allocator
from roadmask.training.allocator import keep_freed_memory
from roadmask.training.encoder import EfficientNetLite
from roadmask.training.job import prepare
from roadmask.training.learner import start
from roadmask.training.optimizer import DECODER, make_optimizer, rates, set_rates, set_training
from roadmask.training.settings import SettledSettings, TrainSettings
from roadmask.training.shape import UNetSettings
from roadmask.training.step import take_step
from roadmask.training.train import epoch_batches
from roadmask.training.unet import UNet
from tests.support.datasets import make_fastai, tiny_settings


def small_network() -> UNet:
    torch.manual_seed(0)
    return UNet(UNetSettings(3, (8, 8, 8, 8)))


def one_step(network: UNet, optimizer: torch.optim.Optimizer) -> None:
    network(torch.randn(2, 3, 64, 64)).square().mean().backward()
    optimizer.step()


def test_the_encoders_scales_end_at_its_features() -> None:
    encoder = EfficientNetLite().eval()
    pictures = torch.rand(1, 3, 64, 96)
    x, features = pictures, []
    for scale in encoder.scales():
        for module in scale:
            x = module(x) if module is not encoder._bn0 else encoder._relu(module(x))
        features.append(x)
    expected = encoder(pictures)
    assert len(features) == len(expected)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(features, expected, strict=True))


@pytest.mark.parametrize("frozen", [0, 2, 5])
def test_frozen_scales_stay_bit_for_bit_batch_norm_included_and_all_others_move(frozen: int) -> None:
    network = small_network()
    optimizer = make_optimizer(network, SettledSettings((), weight_decay=0.5))
    set_training(network, frozen_scales=0)
    one_step(network, optimizer)  # the optimiser has momentum for them when they are frozen
    optimizer.zero_grad()
    set_training(network, frozen_scales=frozen)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for _ in range(2):
        one_step(network, optimizer)
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    scales = [nn.ModuleList(modules) for modules in network.encoder.scales()]
    names = {id(value): name for name, value in [*network.named_parameters(), *network.named_buffers()]}
    for depth, scale in enumerate(scales):
        own = {names[id(value)] for value in [*scale.parameters(), *scale.buffers()]}
        assert (own.isdisjoint(moved)) if depth < frozen else own <= moved, depth
    assert "classifier.weight" in moved


def test_each_scale_of_the_encoder_has_its_share_of_the_rate() -> None:
    settings = SettledSettings((), lr=0.1, encoder_lr=0.01, layer_decay=0.5)
    optimizer = make_optimizer(small_network(), settings)
    assert [group["peak"] for group in optimizer.param_groups] == pytest.approx(
        [0.01 / 16, 0.01 / 8, 0.01 / 4, 0.01 / 2, 0.01, 0.1]
    )
    set_rates(optimizer, 30, 101, 0.3)  # the peak
    assert [group["lr"] for group in optimizer.param_groups] == [group["peak"] for group in optimizer.param_groups]
    set_rates(optimizer, 0, 101, 0.3)
    assert optimizer.param_groups[DECODER]["lr"] == pytest.approx(0.1 / 25)
    assert rates(optimizer) == pytest.approx((0.1 / 25, 0.01 / 25))


def test_every_weight_is_in_one_group_of_the_optimizer() -> None:
    network = small_network()
    optimizer = make_optimizer(network, SettledSettings(()))
    grouped = [id(value) for group in optimizer.param_groups for value in group["params"]]
    assert sorted(grouped) == sorted(map(id, network.parameters()))


def test_the_rate_of_a_frozen_encoder_is_told_as_zero() -> None:
    network = small_network()
    optimizer = make_optimizer(network, SettledSettings(()))
    set_training(network, frozen_scales=5)
    assert rates(optimizer)[1] == 0
    set_training(network, frozen_scales=4)
    assert rates(optimizer)[1] > 0


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_fastai(tmp_path_factory.mktemp("data"))


def gradients_of_a_step(settings: TrainSettings) -> tuple[float, list[Tensor]]:
    job = prepare(settings, None, lambda _message: None)
    learner = start(job)
    set_training(learner.network, frozen_scales=0)
    torch.manual_seed(0)
    step = take_step(job, learner, next(iter(epoch_batches(job, 0))))
    return step.gradient_norm, [value.grad for value in learner.network.parameters() if value.grad is not None]


def test_clipping_shortens_the_gradient_to_its_limit_and_keeps_its_direction(data: Path) -> None:
    free_norm, free = gradients_of_a_step(tiny_settings(data))
    limit = free_norm / 4
    norm, clipped = gradients_of_a_step(tiny_settings(data, clip=limit))
    assert norm == free_norm  # what is told is what it was before
    length = torch.stack([gradient.norm() for gradient in clipped]).norm().item()
    assert length == pytest.approx(limit, rel=1e-4)
    assert all(torch.allclose(ours, theirs / 4, rtol=1e-4) for ours, theirs in zip(clipped, free, strict=True))


def test_a_limit_above_the_gradient_changes_nothing(data: Path) -> None:
    norm, free = gradients_of_a_step(tiny_settings(data))
    _, clipped = gradients_of_a_step(tiny_settings(data, clip=2 * norm))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(clipped, free, strict=True))


class _NoMallopt:
    """A C library such as musl's."""


class _Glibc:
    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def mallopt(self, parameter: int, value: int) -> int:
        self.calls.append((parameter, value))
        return 1


def with_library(monkeypatch: pytest.MonkeyPatch, platform: str, library: object) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _name: library)


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with_library(monkeypatch, "linux", _NoMallopt())
    keep_freed_memory()


@pytest.mark.parametrize("platform", ["darwin", "win32", "freebsd14"])
def test_another_system_is_not_even_asked(monkeypatch: pytest.MonkeyPatch, platform: str) -> None:
    def fail(_name: Any) -> None:
        raise AssertionError("loaded a library")

    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(ctypes, "CDLL", fail)
    keep_freed_memory()


def test_glibc_is_told_to_keep_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    glibc = _Glibc()
    with_library(monkeypatch, "linux", glibc)
    keep_freed_memory()
    never = 2**31 - 1
    # mallopt(3): M_MMAP_MAX -4, M_TRIM_THRESHOLD -1, M_TOP_PAD -2; values are int.
    assert glibc.calls == [(-4, 0), (-1, never), (-2, 64 << 20)]
