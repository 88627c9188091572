"""The loop that a model of one's own is made in: run, convert, correct, look, train, export, eval, run.

With the model that knows three colours, on two drives whose labels go into one folder.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roadmask.stream.cli import main
from roadmask.training.dataset import open_dataset
from tests.support.clips import cfr, make_clip
from tests.support.color_model import COLORS
from tests.support.labelled_colors import HEIGHT, WIDTH, street

DRIVES = {"day": 6, "night": 4}  # frames
CORRECTED = (slice(0, HEIGHT // 2), slice(0, WIDTH // 2))  # a quarter of the picture: of the sky


@pytest.fixture(scope="module")
def results(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run made of both drives, beside them in `drives/`."""
    root = tmp_path_factory.mktemp("loop")
    (root / "drives").mkdir()
    for name, frames in DRIVES.items():
        make_clip(root / "drives" / f"{name}.mp4", cfr(frames), size=(HEIGHT, WIDTH), picture=street())
    assert main(["run", f"{root / 'drives'}", "-o", f"{root / 'results'}/", "--model", str(model), "-q"]) == 0
    return root / "results"


@pytest.fixture(scope="module", params=["camvid", "cvat"])
def corrected(request: pytest.FixtureRequest, results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The frames of both drives in one folder; those of the night were corrected by hand: the upper sky is a car."""
    tool = request.param
    data = tmp_path_factory.mktemp(tool) / "data"
    for name in DRIVES:
        video = results.parent / "drives" / f"{name}.mp4"
        words = ["convert", f"{results / name}_masks", "--to", tool, "-o", str(data), "--video", str(video), "-q"]
        assert main(words) == 0
    dataset = open_dataset(data)
    night = [example for example in dataset.examples if example.drive == "night_frame"]
    assert len(night) == DRIVES["night"]
    for example in night:
        pixels = np.array(list(COLORS.values()), np.uint8)[dataset.read(example)[1]]
        pixels[CORRECTED] = COLORS["Car"]
        Image.fromarray(pixels).save(example.label)  # in colours, as a tool saves it
    return data


def test_what_was_corrected_of_several_drives_is_one_data_set_that_can_be_divided_by_drive(
    corrected: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", str(corrected), "--valid-drive", "night_frame"]) == 0
    told = capsys.readouterr().out
    assert "2 drives: frame (6), night_frame (4)" in told
    assert "validation split by drive night_frame: 6 to train on, 4 to score on" in told
    dataset = open_dataset(corrected)
    assert dataset.class_names == tuple(COLORS)
    (picture,) = (example for example in dataset.examples if example.name == "night_frame_000002")
    _, mask = dataset.read(picture)
    assert (mask[CORRECTED] == tuple(COLORS).index("Car")).all()


def test_the_model_that_drew_the_masks_is_scored_by_the_corrections(
    corrected: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = {}
    for drive in ("frame", "night_frame"):
        assert main(["eval", str(model), str(corrected), "--drive", drive, "--no-smooth", "--json"]) == 0
        scores[drive] = json.loads(capsys.readouterr().out)
    assert scores["frame"]["accuracy"] > 0.99
    assert scores["night_frame"]["accuracy"] == pytest.approx(0.75, abs=0.01)
    assert scores["night_frame"]["iou"]["Car"] == 0


@pytest.mark.usefixtures("thin_encoder", "no_plots")
@pytest.mark.parametrize("corrected", ["cvat"], indirect=True)  # one is enough: both are read to the same masks
def test_a_model_that_learnt_the_corrections_runs_on_the_drives(
    corrected: Path, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, mine = tmp_path / "run", tmp_path / "mine.onnx"
    held_out = ["--split", "0.2"]
    small = ["--epochs", "1", "--decoder", "8,8,8,8", "--weights", "none", "--device", "cpu"]
    assert main(["train", str(corrected), "-o", str(run), *held_out, *small]) == 0
    assert main(["export", str(run / "best.pt"), "-o", str(mine)]) == 0
    capsys.readouterr()
    assert main(["eval", str(mine), str(corrected), *held_out, "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["pictures"] == 2
    assert scores["chosen_by"] == "a stretch of names: night_frame_000002 to night_frame_000003"
    drives = [str(results.parent / "drives" / f"{name}.mp4") for name in DRIVES]
    assert main(["run", *drives, "-o", f"{tmp_path / 'again'}/", "--model", str(mine), "-q"]) == 0
    for name in DRIVES:
        assert (tmp_path / "again" / f"{name}_overlay.mp4").is_file()
        assert (tmp_path / "again" / f"{name}_masks").exists()


def test_classes_that_a_tool_calls_otherwise_are_proposed_by_what_the_model_sees_of_them(
    results: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not one name is the model's: the way out that is told works, and never calls all void."""
    for name in DRIVES:
        video = results.parent / "drives" / f"{name}.mp4"
        words = ["--map", "Road=asphalt,Sky=heaven,Car=vehicle", "--video", str(video), "-q"]
        given = ["convert", f"{results / name}_masks", "--to", "cvat", "-o", str(tmp_path / "data"), *words]
        assert main(given) == 0
    assert main(["eval", str(model), str(tmp_path / "data"), "--all"]) == 1
    told = capsys.readouterr().err
    proposed = [word for word in told.rstrip().rpartition("say what they are with ")[2].split() if "=" in word]
    assert {"asphalt=Road", "heaven=Sky"} <= set(proposed)
    maps = [word for pair in proposed for word in ("--map", pair)]
    assert main(["eval", str(model), str(tmp_path / "data"), "--all", "--json", *maps]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] > 0.99
