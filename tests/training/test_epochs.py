"""What is of an epoch's own, and what is kept of it: its order, its crops, the mean of the weights, the best."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from roadmask.training.checkpoint import load
from roadmask.training.history import EpochScores
from roadmask.training.job import prepare
from roadmask.training.loss import class_weights
from roadmask.training.mixture import open_mixture
from roadmask.training.settings import TrainSettings
from roadmask.training.train import epoch_batches, train
from tests.support.datasets import CODES, STILL, make_fastai, save_png, tiny_settings

pytestmark = pytest.mark.usefixtures("thin_encoder")


def first_pictures(settings: TrainSettings, epoch: int) -> Tensor:
    job = prepare(settings, None, lambda _message: None)
    return next(epoch_batches(job, epoch)).pictures


def are_equal(some: dict[str, Tensor], others: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, others[name]) for name, value in some.items())


def test_each_epoch_has_an_order_of_its_own_and_always_the_same(tmp_path: Path) -> None:
    settings = tiny_settings(make_fastai(tmp_path), augment=STILL)
    assert torch.equal(first_pictures(settings, 0), first_pictures(settings, 0))
    assert not torch.equal(first_pictures(settings, 0), first_pictures(settings, 1))


def test_each_epoch_has_crops_of_its_own_and_always_the_same(tmp_path: Path) -> None:
    settings = tiny_settings(make_fastai(tmp_path, count=3, valid=2), batch=1, crop=(64, 64))  # one to learn from
    assert torch.equal(first_pictures(settings, 0), first_pictures(settings, 0))
    assert not torch.equal(first_pictures(settings, 0), first_pictures(settings, 1))


def test_classes_weigh_by_the_pictures_that_are_learnt_and_not_by_those_that_score(tmp_path: Path) -> None:
    settings = tiny_settings(make_fastai(tmp_path))
    for example in open_mixture(settings).parts[0].split.valid:
        save_png(example.label, np.full((64, 96), CODES.index("Sky"), np.uint8))
    job = prepare(settings, None, lambda _message: None)
    (part,) = job.parts
    for examples, are_learnt in ((part.split.train, True), ((*part.split.train, *part.split.valid), False)):
        counts = sum(torch.from_numpy(part.read(each)[1]).flatten().bincount(minlength=256)[:3] for each in examples)
        weights = class_weights(counts / counts.sum(), job.settings.class_weight_offset)
        assert torch.allclose(job.loss_weights.classes, weights) == are_learnt


@pytest.mark.parametrize("average", [0, 0.9])
def test_what_is_kept_is_the_running_mean_of_the_weights_that_was_asked_for(average: float, tmp_path: Path) -> None:
    kept = train(tiny_settings(make_fastai(tmp_path / "data"), average=average, epochs=1), tmp_path / "run")
    assert kept.progress is not None
    assert are_equal(kept.weights, kept.progress["weights"]) == (average == 0)


def test_the_best_epoch_is_kept_though_later_ones_are_worse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EpochScores, "mean_iou", property(lambda scores: {1: 0.1, 2: 0.9, 3: 0.5}[scores.epoch]))
    run, weights = tmp_path / "run", []
    train(
        tiny_settings(make_fastai(tmp_path / "data"), epochs=3),
        run,
        on_epoch=lambda _: weights.append(load(run / "last.pt").weights),
    )
    best = load(run / "best.pt").weights
    assert [are_equal(best, some) for some in weights] == [False, True, False]
