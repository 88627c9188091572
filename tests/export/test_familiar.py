"""What a model knows, noted in its file by `roadmask export --familiar`."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from roadmask.export import familiar, verify
from roadmask.export.familiar import FEWEST
from roadmask.export.half import halve_model
from roadmask.export.pictures import draw
from roadmask.stream.cli import main
from roadmask.stream.masks.familiar import lead
from roadmask.stream.network.model import Model
from roadmask.stream.spec import METADATA_KEY


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("known") / "pictures"
    folder.mkdir()
    for seed in range(FEWEST):
        cv2.imwrite(str(folder / f"{seed:03d}.png"), draw(64, 96, seed=seed))
    return folder


@pytest.fixture(scope="module")
def knowing(float_path: Path, pictures: Path) -> Path:
    path = float_path.with_name("knowing.onnx")
    assert main(["export", str(float_path), "--familiar", str(pictures), "-o", str(path)]) == 0
    return path


def test_all_but_two_in_a_hundred_of_the_pictures_lead_by_what_is_noted(
    knowing: Path, float_path: Path, pictures: Path
) -> None:
    model = Model.load(knowing, device="cpu")
    assert Model.load(float_path, device="cpu").spec.least_lead is None
    assert model.spec.least_lead is not None
    read = [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in sorted(pictures.iterdir())]
    leads = [lead(model.scores(np.asarray(picture, np.uint8)[None])[0]) for picture in read]
    assert sum(found < model.spec.least_lead for found in leads) == FEWEST * 2 // 100


def test_no_data_set_weighs_more_than_another(
    float_path: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(familiar, "PICTURES", 30)
    paths = sorted(pictures.iterdir())
    _, count = familiar.note_familiar(float_path, tmp_path / "a.onnx", [paths, paths[:25]])
    assert count == 30 + 25


def test_nothing_else_of_the_file_is_changed_and_the_same_pictures_give_the_same_bytes(
    knowing: Path, float_path: Path, pictures: Path, tmp_path: Path
) -> None:
    before, after = (onnx.load_model(path) for path in (float_path, knowing))
    assert after.graph == before.graph
    told = [{item.key: item.value for item in model.metadata_props} for model in (before, after)]
    specs = [json.loads(item.pop(METADATA_KEY)) for item in told]
    assert specs[1].pop("familiar")["pictures"] == FEWEST
    assert specs[0] == specs[1]
    assert told[0] == told[1]
    again = tmp_path / "again.onnx"
    assert main(["export", str(knowing), "--familiar", str(pictures), "-o", str(again)]) == 0
    assert again.read_bytes() == knowing.read_bytes()


def test_it_is_measured_with_the_export_itself_and_a_twin_does_not_inherit_it(
    checkpoint_path: Path, pictures: Path, knowing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new.onnx"
    command = ["export", str(checkpoint_path), "-o", str(path), "--familiar", str(pictures)]
    assert main([*command, "--pictures", str(pictures)]) == 0
    least = Model.load(path, device="cpu").spec.least_lead
    assert least == Model.load(knowing, device="cpu").spec.least_lead
    monkeypatch.setitem(verify.MIN_EQUAL_LABELS, "fp16", 0.95)  # an untrained network's classes nearly tie
    halve_model(knowing, tmp_path / "half.onnx")
    assert Model.load(tmp_path / "half.onnx", device="cpu").spec.least_lead is None, "its scores are others"


def test_too_few_pictures_and_the_file_itself_are_told_in_one_line(
    float_path: Path, pictures: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    few = tmp_path / "few"
    few.mkdir()
    (few / "one.png").write_bytes(next(pictures.iterdir()).read_bytes())
    for arguments, message in (
        (
            ["--familiar", str(few), "-o", str(tmp_path / "m.onnx")],
            "too few pictures to tell what is familiar: 1, and 50 are the least",
        ),
        (["--familiar", str(tmp_path / "none"), "-o", str(tmp_path / "m.onnx")], "no such file or folder"),
        (["--familiar", str(pictures)], "is the model itself; name another output"),
    ):
        assert main(["export", str(float_path), *arguments]) == 1
        assert message in capfd.readouterr().err.splitlines()[-1]
        assert not (tmp_path / "m.onnx").exists()
