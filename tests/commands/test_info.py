"""`roadmask info` of videos, models and archives."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from roadmask.stream.cli import main
from tests.support.clips import cfr, make_clip
from tests.support.color_model import SPEC, halves, spec, write_color_model
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
    assert (facts["width"], facts["height"]) == (128, 96)
    assert facts["fps"] == 25
    assert facts["frames"] == 20
    assert facts["seconds"] == 0.8
    assert facts["audio"] is True
    assert main(["info", str(clip)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["audio", "yes"]


def facts_of(path: Path | str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["info", str(path), "--json"]) == 0
    facts: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert all(re.fullmatch("[a-z][a-z0-9_]*", name) for name in facts), "names that programs can use"
    return facts


def test_info_of_a_model_has_ids_what_goes_in_and_comes_out_and_scores(capsys: pytest.CaptureFixture[str]) -> None:
    facts = facts_of("camvid-lite0", capsys)
    assert [(item["id"], item["name"]) for item in facts["classes"]][:2] == [(0, "Sky"), (1, "Building")]
    assert facts["classes"][3]["iou"] == facts["scores"]["iou_Road"] > 0.9
    assert "uint8 (batch, height, width, 3), RGB" in facts["input"]
    assert "(batch, 11, rows, columns)" in facts["output"]
    assert main(["info", "camvid-lite0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (road,) = (line for line in lines if "Road" in line and "██" in line)
    assert road.split() == ["3", "██", "Road", f"{facts['scores']['iou_Road']:.3f}"]


@pytest.mark.logs_errors
def test_info_of_a_summary_counts_what_became_of_the_files(
    clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.mp4").write_text("no video" * 99)
    shutil.copy(clip, tmp_path / "drive.mp4")
    assert run(tmp_path, "-o", f"{tmp_path}/out/", model=model) == 3
    capsys.readouterr()
    facts = facts_of(tmp_path / "out" / "summary.json", capsys)
    assert (facts["kind"], facts["sources"], facts["done"], facts["failed"], facts["frames"]) == (
        "summary",
        2,
        1,
        1,
        20,
    )
    assert facts["model"] == model.stem
    assert list(facts["reasons"]) == [str(tmp_path / "text.mp4")]
    (tmp_path / "other.json").write_text("[]")
    assert main(["info", str(tmp_path / "other.json")]) == 1
    assert "other.json: no summary of 'roadmask run'" in capsys.readouterr().err


def test_info_of_a_model_of_one_size_says_that_it_takes_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = {"height": 64, "width": 96, "stride": 1, "fixed": True}
    path = write_color_model(tmp_path / "one.onnx", metadata=spec(input={**SPEC["input"], **size}))
    facts = facts_of(path, capsys)
    assert facts["input"].endswith("RGB from 0 to 255 as it is; 96x64 alone")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_info_of_statistics_has_their_frames_and_means(
    clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    assert run(clip, "--stats", tmp_path / f"shares{suffix}", model=model) == 0
    capsys.readouterr()
    facts = facts_of(tmp_path / f"shares{suffix}", capsys)
    assert (facts["kind"], facts["frames"]) == ("statistics", 20)
    assert (facts["first"], facts["last"]) == ({"index": 0, "time": 0.0}, {"index": 19, "time": 0.76})
    assert sum(facts["mean_shares"].values()) == pytest.approx(1, abs=0.01)
    (tmp_path / "other.csv").write_text("name,age\n3,7\n")
    assert main(["info", str(tmp_path / "other.csv")]) == 1
    assert "its columns are name, age, and not those of" in capsys.readouterr().err


def test_info_of_a_checkpoint_and_of_its_run_names_the_next_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(tmp_path / "best.pt", "w") as file:
        file.writestr("best/data.pkl", b"...roadmask-checkpoint...")
    (tmp_path / "history.csv").write_text("epoch,miou\n1,0.5\n2,0.71\n3,0.7\n")
    checkpoint, training_run = facts_of(tmp_path / "best.pt", capsys), facts_of(tmp_path, capsys)
    assert (checkpoint["kind"], training_run["kind"]) == ("checkpoint", "training run")
    assert (training_run["best_epoch"], training_run["best_miou"]) == (2, 0.71)
    for facts in (checkpoint, training_run):
        assert facts["next"].startswith(f"roadmask export {tmp_path / 'best.pt'} -o model.onnx")
    (tmp_path / "worst.pt").write_bytes(b"?")
    assert main(["info", str(tmp_path / "worst.pt")]) == 1
    assert "no checkpoint that 'roadmask train' wrote, or damaged" in capsys.readouterr().err
    with zipfile.ZipFile(tmp_path / "other.pth", "w") as file:
        file.writestr("archive/data.pkl", b"weights of another trainer")
    assert main(["info", str(tmp_path / "other.pth")]) == 1
    assert "other.pth: no checkpoint that 'roadmask train' wrote" in capsys.readouterr().err


def test_info_of_a_run_that_has_no_scores_yet_and_of_folds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "last.pt").write_bytes(b"?")
    assert facts_of(tmp_path, capsys)["checkpoints"] == ["last.pt"]
    (tmp_path / "history.csv").write_text("epoch,miou,idd_miou\n1,0.5,0.9\n2,0.6,0.7\n3,nan,nan\n4,,\n")
    facts = facts_of(tmp_path, capsys)
    assert (facts["epochs"], facts["best_epoch"]) == (2, 1)
    assert (facts["best_miou"], facts["last_miou"]) == pytest.approx((0.7, 0.65))
    (tmp_path / "folds.csv").write_text("drive,pictures,miou\nA,4,0.5\nmean,4,0.5\n")
    assert facts_of(tmp_path, capsys)["drives"] == {"A": 0.5, "mean": 0.5}


@pytest.mark.parametrize(
    "content",
    [b"epoch,miou\n1,half\n", b"\xff\xfe\x00", b"epoch,miou\n1,0.\x005\n", b'epoch,miou\n1,"' + b"x" * 200_000],
)
@pytest.mark.parametrize("name", ["history.csv", "folds.csv"])
def test_a_damaged_table_of_a_training_run_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    assert main(["info", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{name}: cannot be read (" in line


def test_info_of_what_is_not_there_proposes_the_model_that_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "camvid-lite"]) == 1
    assert "camvid-lite: no such file; did you mean camvid-lite0?" in capsys.readouterr().err
