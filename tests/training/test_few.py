"""Few pictures: what a run takes of itself, and a classifier that is fitted before the first step."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from roadmask.stream.cli import main
from roadmask.training import checkpoint as checkpoints
from roadmask.training.evaluate import evaluate
from roadmask.training.few import as_before, fitted
from roadmask.training.head import fit_head
from roadmask.training.job import prepare
from roadmask.training.learner import start
from roadmask.training.settings import OPEN, SettledSettings, TrainSettings, settled
from roadmask.training.shape import SCALES
from roadmask.training.train import train
from tests.support.datasets import make_fastai, save_pair, tiny_settings

pytestmark = pytest.mark.usefixtures("thin_encoder")
OPEN_SETTINGS = TrainSettings(("mine",))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_fastai(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def parent(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a step, to start from."""
    run = tmp_path_factory.mktemp("parent") / "run"
    train(tiny_settings(data, epochs=1, batch=6), run)
    return run / "best.pt"


def other_classes(root: Path) -> Path:
    """The same street: what drives on it, and what does not."""
    for index in range(8):
        ids = np.zeros((64, 96), np.uint8)
        ids[32:] = 1
        save_pair(root / "images" / f"A_{index:04}.png", root / "labels" / f"A_{index:04}.png", ids)
    (root / "codes.txt").write_text("above\nbelow\n", encoding="utf-8")
    (root / "valid.txt").write_text("A_0000.png\nA_0001.png\n", encoding="utf-8")
    return root


def test_some_hundred_pictures_are_learnt_by_the_plain_defaults() -> None:
    for asked in (OPEN_SETTINGS, replace(OPEN_SETTINGS, start_from="camvid-lite0")):
        assert fitted(asked, 300) == (settled(asked), "")
    plain = SettledSettings(("mine",))
    assert (plain.epochs, plain.passes, plain.lr, plain.encoder_lr, plain.frozen_scales) == (60, 1, 3e-3, 1e-3, 0)


def test_the_fewer_pictures_the_more_often_each_is_seen_but_never_longer_in_all() -> None:
    runs = [fitted(OPEN_SETTINGS, count)[0] for count in (24, 100, 299)]
    seen = [run.epochs * run.passes for run in runs]
    assert seen == sorted(seen, reverse=True)
    crops = [count * times for count, times in zip((24, 100, 299), seen, strict=True)]
    assert crops == sorted(crops)
    assert crops[-1] <= 60 * 300


def test_with_a_network_to_start_from_the_encoder_of_few_pictures_stays_as_it_came() -> None:
    started = replace(OPEN_SETTINGS, start_from="camvid-lite0")
    for count, frozen in ((24, SCALES), (100, SCALES), (200, 0)):
        found, told = fitted(started, count)
        assert (found.frozen_scales, found.lr, found.encoder_lr) == (frozen, 1e-3, 3e-4)
        assert f"{count} pictures are few" in told
        assert ("--encoder-lr 0.0003" in told) == (frozen == 0), "rates that move nothing are not told"
    alone = fitted(OPEN_SETTINGS, 24)[0]
    assert alone.epochs * alone.passes == pytest.approx(2 * 10 * fitted(started, 24)[0].passes, rel=0.1)


def test_what_is_said_is_done_whatever_the_number_of_pictures() -> None:
    said = {"epochs": 7, "passes": 2, "lr": 0.5, "encoder_lr": 0.25, "frozen_scales": 1, "class_weight_offset": 1.05}
    found, told = fitted(replace(OPEN_SETTINGS, start_from="camvid-lite0", **said), 5)  # type: ignore[arg-type]
    assert {name: getattr(found, name) for name in OPEN} == said
    assert told == ""


def test_a_length_that_is_said_is_not_made_longer_by_passes() -> None:
    found, told = fitted(replace(OPEN_SETTINGS, epochs=1), 5)
    assert (found.epochs, found.passes) == (1, 1)
    assert "--passes" not in told
    found, told = fitted(replace(OPEN_SETTINGS, budget_s=60.0), 24)
    assert found.passes == 21, "else most of the time would go into scores"
    assert "--epochs" not in told


def test_a_resumed_run_keeps_what_was_chosen_and_may_be_told_it() -> None:
    before, _ = fitted(replace(OPEN_SETTINGS, start_from="camvid-lite0"), 24)
    assert as_before(replace(OPEN_SETTINGS, start_from="camvid-lite0"), before) == before


@pytest.mark.usefixtures("no_plots")
def test_what_was_chosen_is_told_kept_and_gone_on_with(data: Path, parent: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["train", str(data), "-o", str(run), "--start-from", str(parent), "--epochs", "2", "--device", "cpu"]
    assert main([*words, "--precision", "fp32", "--stop-after", "0"]) == 0
    kept = json.loads((run / "settings.json").read_text(encoding="utf-8"))
    assert kept["settings"]["lr"] is None
    assert kept["chosen"] == {
        "passes": 1, "lr": 1e-3, "encoder_lr": 3e-4, "frozen_scales": SCALES, "class_weight_offset": 1.4
    }  # fmt: skip
    assert main([*words, "--precision", "fp32", "--resume"]) == 0
    last = checkpoints.load(run / "last.pt")
    assert last.progress is not None
    assert last.progress["epoch"] == 2
    assert last.settings["frozen_scales"] == SCALES


def test_with_other_classes_a_run_begins_with_a_head_that_knows_them(parent: Path, tmp_path: Path) -> None:
    """Sky, road and car as above and below: what a random head has is a third of it at best."""
    data = other_classes(tmp_path / "data")
    job = prepare(tiny_settings(data, start_from=str(parent), decoder=None, dropout=0), None, lambda _message: None)
    network = start(job).network
    pairs = [job.pictures.read(0, example) for example in job.parts[0].split.valid]
    _, confusion = evaluate(network.eval(), pairs, job.size, job.loss_weights, autocast=job.autocast)
    assert np.trace(confusion) / confusion.sum() > 0.9
    weights = checkpoints.load(parent).weights
    own = network.state_dict()
    assert all(torch.equal(own[name], weights[name]) for name in own if not name.startswith("classifier."))


def test_a_class_that_no_picture_shows_keeps_the_head_it_was_made_with(data: Path, parent: Path) -> None:
    job = prepare(tiny_settings(data, start_from=str(parent), decoder=None), None, lambda _message: None)
    network = start(job).network
    before = network.classifier.weight.detach().clone()
    picture, mask = job.pictures.read(0, job.parts[0].split.train[0])
    fit_head(network, [(picture, np.where(mask == 2, 255, mask).astype(np.uint8))], job.size, job.loss_weights)
    assert torch.equal(network.classifier.weight[2], before[2])
    assert not torch.equal(network.classifier.weight[0], before[0])
    kept = network.classifier.weight.detach().clone()
    fit_head(network, [(picture, np.zeros_like(mask))], job.size, job.loss_weights)
    assert torch.equal(network.classifier.weight, kept), "one class alone tells nothing"
