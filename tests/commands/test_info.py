"""`roadmask info` of videos, models and archives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from roadmask.stream.cli import main
from tests.support.clips import cfr, make_clip
from tests.support.color_model import halves
from tests.support.run_command import run


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "drive.mp4"
    return make_clip(path, cfr(20), size=(96, 128), picture=halves(), sound_s=[0.8])


def test_info_tells_videos_models_and_archives_apart(
    clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(clip, "--masks", tmp_path / "masks.mkv", "--overlay", tmp_path / "overlay.mkv", model=model) == 0
    capsys.readouterr()
    expected = {
        clip: "video",
        model: "model",
        tmp_path / "masks.mkv": "mask archive",
        tmp_path / "overlay.mkv": "video",
    }
    for path, kind in expected.items():
        assert main(["info", str(path), "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert facts["kind"] == kind
        assert facts["file"] == path.name
        assert main(["info", str(path)]) == 0
        assert kind in capsys.readouterr().out
    assert main(["info", str(tmp_path / "nothing")]) == 1


def test_info_of_a_video_has_its_size_rate_frames_and_sound(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(clip), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["size"] == "128x96"
    assert facts["frames per second"] == 25
    assert facts["frames"] == 20
    assert facts["seconds"] == 0.8
    assert facts["audio"] is True
