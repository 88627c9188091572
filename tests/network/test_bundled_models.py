"""The models in the box: each can be called by its name, describes itself and segments."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from roadmask.stream.bench.clip import draw_drive
from roadmask.stream.cli import main
from roadmask.stream.errors import ModelError
from roadmask.stream.network.model import BUNDLED, Model, bundled_models, find_model
from roadmask.stream.run.segment import segment_video


@pytest.mark.parametrize("name", bundled_models())
def test_a_model_in_the_box_loads_by_its_name_and_knows_road_from_sky(name: str, tmp_path: Path) -> None:
    model = Model.load(name, device="cpu")
    assert model.path.stem == name
    draw_drive(tmp_path / "drive.mp4", height=180, width=320, frames=1)
    (result,) = segment_video(tmp_path / "drive.mp4", model=model)
    sky, road = (model.spec.class_names.index(name) for name in ("Sky", "Road"))
    assert np.mean(result.mask[:50] == sky) > 0.9
    assert np.mean(result.mask[120:, 80:240] == road) > 0.9


@pytest.mark.parametrize("name", bundled_models())
def test_a_model_in_the_box_describes_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", name, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["kind"] == "model"
    assert facts["file"] == f"{name}.onnx"
    assert "CamVid" in facts["provenance"]["data"] or "camvid" in facts["provenance"]["data"]
    assert ("quantization" in facts["provenance"]) == name.endswith("-int8")
    assert not (name.endswith("-int8") and facts["scores"])  # those of the float model are not its own
    assert Model.load(name, device="cpu").spec.least_lead, "it tells drives that look unlike what it knows"


def test_without_a_name_it_is_the_usual_one() -> None:
    assert find_model() == bundled_models()[BUNDLED]


def test_a_name_means_the_box_whatever_lies_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (BUNDLED, f"{BUNDLED}.onnx", "street"):
        Path(name).write_text("mine")
    assert find_model(BUNDLED) == bundled_models()[BUNDLED]
    assert find_model(f"{BUNDLED}.onnx") == Path(f"{BUNDLED}.onnx")
    assert find_model("street") == Path("street")


def test_an_unknown_name_is_told_with_those_there_are() -> None:
    with pytest.raises(ModelError, match=rf"camvid-lite9: no such model file, .* {BUNDLED}") as caught:
        Model.load("camvid-lite9")
    assert "\n" not in str(caught.value)
