"""The recipe of the models in the box, and data sets packed to be sent: from end to end on a few small pictures."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from roadmask.training import pack as packing
from roadmask.training import recipe
from roadmask.training.checkpoint import load
from roadmask.training.dataset import open_dataset, read_picture
from roadmask.training.errors import DataError, TrainingError
from roadmask.training.pack import pack
from roadmask.training.recipe import run_recipe, stages
from roadmask.training.shape import UNetSettings
from tests.support.datasets import make_fastai, make_unlabelled


def small(data: Path, runs: Path) -> list[recipe.Stage]:
    """As planned, but of a size for a test."""
    planned = stages(data, runs, budget_s=1e7, device="cpu")
    sizes = {"size": (64, 96), "crop": (32, 32), "batch": 2, "decoder": (8, 8, 8, 8), "weights": "none"}
    short = {"budget_s": None, "epochs": 1, "precision": "fp32"}
    return [replace(stage, settings=replace(stage.settings, **sizes, **short)) for stage in planned]  # type: ignore[arg-type]


@pytest.mark.usefixtures("thin_encoder")
def test_a_teacher_and_its_pupil_are_trained_and_their_weights_fit_into_a_small_file(tmp_path: Path) -> None:
    make_fastai(tmp_path / "data" / "camvid", count=4)
    make_unlabelled(tmp_path / "data" / "roadscene")
    runs = tmp_path / "runs"
    run_recipe(small(tmp_path / "data", runs), runs)
    teacher, pupil = load(runs / "teacher.pt"), load(runs / "pupil.pt")
    assert (teacher.network.encoder, pupil.network.encoder) == ("lite2", "lite0")
    assert pupil.settings["teachers"] == [str(runs / "teacher" / "last.pt")]
    assert all(value.dtype == torch.half for value in pupil.weights.values() if value.is_floating_point())
    pupil.build()(torch.zeros(1, 3, 64, 96))
    before = (runs / "teacher" / "last.pt").stat().st_mtime_ns
    run_recipe(small(tmp_path / "data", runs), runs)  # whole: nothing is trained again
    assert (runs / "teacher" / "last.pt").stat().st_mtime_ns == before


def test_the_recipe_runs_on_camvid_alone_with_the_shipped_networks_shape(tmp_path: Path) -> None:
    (tmp_path / "camvid").mkdir()
    teacher, pupil = (stage.settings for stage in stages(tmp_path, tmp_path, budget_s=100, device="cpu"))
    assert teacher.data == pupil.data == (str(tmp_path / "camvid"),)
    assert not pupil.unlabelled
    assert not pupil.valid_drives
    assert pupil.decoder == UNetSettings(11, (96, 56, 40, 16)).decoder_channels
    assert teacher.budget_s == pytest.approx(42)
    assert pupil.budget_s == pytest.approx(45)


def test_what_is_there_is_learnt_from_each_with_its_share(tmp_path: Path) -> None:
    for name in ("camvid", "idd", "roadscene"):
        (tmp_path / name).mkdir()
    _, pupil = (stage.settings for stage in stages(tmp_path, tmp_path, budget_s=100, device="cpu"))
    assert pupil.data == (str(tmp_path / "camvid"), f"{tmp_path / 'idd'}:idd-lite")
    assert pupil.unlabelled == (str(tmp_path / "roadscene"),)
    assert pupil.shares == (3, 5, 1)


def test_a_gpu_that_is_found_by_itself_gets_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "camvid").mkdir()
    monkeypatch.setattr(recipe, "choose_device", lambda _name: torch.device("cuda"))
    _, pupil = (stage.settings for stage in stages(tmp_path, tmp_path, budget_s=100))
    assert (pupil.batch, pupil.passes) == (48, 8)


def test_without_camvid_there_is_nothing_to_learn(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="has no folder camvid"):
        stages(tmp_path, tmp_path, budget_s=100, device="cpu")


def test_a_budget_that_is_no_time_is_wrong_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["recipe", str(tmp_path), "-o", str(tmp_path / "runs"), "--budget", "soon"])
    with pytest.raises(SystemExit) as ended:
        recipe.main()
    assert ended.value.code == 2
    assert "'soon' is no length of time; write 90s, 8m, 1.5h or 1h30m" in capsys.readouterr().err


def test_a_packed_data_set_has_the_same_labels_and_nearly_the_same_pictures(tmp_path: Path) -> None:
    data = make_fastai(tmp_path / "data", count=4)
    count, size = pack(data, tmp_path / "packed", quality=95)
    before, after = open_dataset(data), open_dataset(tmp_path / "packed")
    assert count == len(after.examples) == 4
    assert size == sum(path.stat().st_size for path in (tmp_path / "packed").rglob("*") if path.is_file())
    assert (tmp_path / "packed" / "valid.txt").read_bytes() == (data / "valid.txt").read_bytes()
    for old, new in zip(before.examples, after.examples, strict=True):
        np.testing.assert_array_equal(before.label_ids(old), after.label_ids(new))
        difference = read_picture(old.picture).astype(int) - read_picture(new.picture)
        assert np.abs(difference).mean() < 4  # levels of 255, at this quality


def test_a_folder_of_pictures_is_packed_too(tmp_path: Path) -> None:
    pictures = make_unlabelled(tmp_path / "pictures")
    count, _ = pack(pictures, tmp_path / "packed")
    assert count == len(list((tmp_path / "packed").glob("*.jpg"))) > 0


@pytest.mark.parametrize("harm", ["damaged", "there"])
def test_what_cannot_be_packed_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    data, folder = make_fastai(tmp_path / "data", count=3), tmp_path / "packed"
    last = max((data / "images").iterdir())
    last.write_bytes(last.read_bytes()[:50]) if harm == "damaged" else shutil.copytree(data, folder)
    before = sorted(folder.rglob("*"))
    with pytest.raises(DataError, match=r"damaged picture|not a picture" if harm == "damaged" else "exists"):
        pack(data, folder)
    assert sorted(folder.rglob("*")) == before
    monkeypatch.setattr(sys, "argv", ["pack", str(data), "-o", str(folder)])
    with pytest.raises(SystemExit, match="roadmask: "):
        packing.main()
