"""How large the network's pictures are: by name or in pixels, everywhere the same, and never mixed up in a result."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import roadmask
from roadmask.stream.errors import RoadmaskError
from roadmask.stream.network.model import Model, find_model
from roadmask.stream.run.done import made_otherwise
from roadmask.stream.run.settings import SegmentSettings, run_identity
from roadmask.stream.spec import ModelSpec
from tests.support.clips import cfr, make_clip
from tests.support.color_model import halves, spec, write_color_model
from tests.support.fake_session import FakeRuntime
from tests.support.run_command import run

DEFAULT, LARGE = (64, 96), (64, 128)  # of the colour model's network: height and width


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clips") / "drive.mp4", cfr(4), size=(96, 192), picture=halves(96, 192))


@pytest.fixture(scope="module")
def bundled() -> ModelSpec:
    return Model.load(device="cpu").spec


@pytest.mark.parametrize(
    ("size", "told", "of_16_to_9", "of_4_to_3"),
    [
        ("default", (416, 544), (352, 640), (416, 544)),
        ("small", (320, 416), (288, 512), (320, 416)),
        ("large", (512, 672), (448, 800), (512, 672)),
        ("1280x720", (704, 1280), (704, 1248), (832, 1120)),  # as many pixels, in the picture's own aspect
    ],
)
def test_a_size_is_so_many_pixels_of_the_picture_s_own_shape(
    bundled: ModelSpec, size: str, told: tuple[int, int], of_16_to_9: tuple[int, int], of_4_to_3: tuple[int, int]
) -> None:
    sized = bundled.at_size(size)
    assert (sized.height, sized.width) == told
    assert sized.input_size(540, 960) == of_16_to_9
    assert sized.input_size(480, 640) == of_4_to_3


def test_a_size_is_called_by_its_pixels_and_the_model_s_own_is_the_default_however_it_is_asked_for(
    bundled: ModelSpec,
) -> None:
    assert bundled.at_size("544x416").size == bundled.at_size("540x420").size == "default"
    large = bundled.at_size("large")
    assert large.size == bundled.at_size("672x512").size == bundled.at_size("680x520").size == "672x512"


@pytest.mark.logs_errors
def test_a_run_says_and_keeps_the_size_and_another_size_is_another_run(
    clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(clip, "-o", f"{tmp_path}/", "--size", "large", model=model) == 0
    height, width = Model.load(model).spec.at_size("large").input_size(96, 192)
    assert f"network {width}x{height}" in capsys.readouterr().err
    facts = json.loads((tmp_path / "drive_run.json").read_text(encoding="utf-8"))
    assert facts["model"]["size"] == "{1}x{0}".format(*LARGE)
    assert run(clip, "-o", f"{tmp_path}/", "--resume", model=model) == 1
    assert "--size was 128x64, is now default" in capsys.readouterr().err
    assert run(clip, "-o", f"{tmp_path}/", "--resume", "--size", "130x70", model=model) == 0  # the same, on its grid
    assert "done before" in capsys.readouterr().err


def test_what_a_version_without_sizes_has_made_had_the_default(clip: Path, model: Path) -> None:
    now = run_identity(SegmentSettings(clip), Model.load(model))
    before = {name: value for name, value in now.items() if name != "--size"}
    assert made_otherwise(before, now) == []
    assert made_otherwise(before, now | {"--size": "128x64"}) == ["--size was default, is now 128x64"]


def test_python_takes_sizes_too(model: Path) -> None:
    picture = halves(48, 96)
    large, alone = (roadmask.load(model, device="cpu", size=size) for size in ("large", "128x64"))
    np.testing.assert_array_equal(large(picture).mask, alone(picture).mask)
    with pytest.raises(RoadmaskError, match=r"^size .huge. is none of auto, small, default, large, nor a size"):
        roadmask.load(model, size="huge")


def test_videos_lists_and_other_processes_see_the_size_that_was_asked_for(
    clip: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, scores = set(), Model.scores

    def watched(self: Model, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        seen.add(pictures.shape[1:3])
        return scores(self, pictures)

    monkeypatch.setattr(Model, "scores", watched)
    large, picture = roadmask.load(model, device="cpu", size="160x96"), halves(96, 192)
    large(picture)
    large([picture])
    list(large.stream(clip, max_frames=2))
    large.session()(picture)
    pickle.loads(pickle.dumps(large))(picture)
    assert seen == {ModelSpec.input_size(Model.load(model, size="160x96").spec, 96, 192)} != {DEFAULT}


def test_a_network_of_one_size_refuses_another_in_a_line(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_color_model(tmp_path / "m.onnx", metadata=spec(input={**spec()["input"], "fixed": True}))
    for size in ("auto", "default", "96x64"):
        assert run(clip, "--stats", tmp_path / "s.csv", "--overwrite", "--size", size, model=model) == 0
    capsys.readouterr()
    assert run(clip, "--stats", tmp_path / "t.csv", "--size", "large", model=model) == 2
    told = "roadmask: size large: this model takes pictures of 96x64 alone; leave --size out\n"
    assert capsys.readouterr().err.endswith(told)
    assert not (tmp_path / "t.csv").exists()


def test_gpus_see_large_pictures_unless_told_otherwise(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FakeRuntime(monkeypatch)
    sizes = {device: Model.load(model, device=device).spec for device in ("cuda", "tensorrt", "migraphx", "cpu")}
    assert {name: (item.height, item.width) for name, item in sizes.items()} == {
        **dict.fromkeys(("cuda", "tensorrt", "migraphx"), LARGE),
        "cpu": DEFAULT,
    }
    assert Model.load(model, device="cuda", size="default").spec.size == "default"
    fixed = write_color_model(tmp_path / "m.onnx", metadata=spec(input={**spec()["input"], "fixed": True}))
    assert Model.load(fixed, device="cuda").spec.size == "default", "it takes no other"


def test_the_int8_twin_takes_sizes(clip: Path, tmp_path: Path) -> None:
    twin = find_model("camvid-lite0-int8")
    assert run(clip, "--masks", tmp_path / "m.zip", "--size", "small", model=twin) == 0
