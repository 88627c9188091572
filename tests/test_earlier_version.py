"""What roadmask 1.0.0 has written still opens; what it had not finished is told in a line."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from roadmask.export.metadata import spec
from roadmask.stream.archive.archive import open_masks
from roadmask.stream.cli import main
from roadmask.training import checkpoint
from tests.support.run_command import run

GOLDEN = Path(__file__).parent / "golden/roadmask_1_0_0.tar.xz"  # made by make_1_0_0.py beside it
ARCHIVES = ("masks", "masks.zip", "masks.mkv", "masks.npz", "masks.zarr")


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with its files, which a later version meets."""
    with tarfile.open(GOLDEN) as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.setattr("roadmask.stream.run.settings.__version__", "2.0.0")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_archives_of_1_0_0_are_whole_and_converted_mask_for_mask(old: Path) -> None:
    for name in ARCHIVES:
        assert main(["verify", name, "drive.mp4"]) == 0
        assert main(["convert", name, "-o", f"{name}.new.zip", "-q"]) == 0
    assert len({(old / f"{name}.new.zip").read_bytes() for name in ARCHIVES}) == 1


def test_a_model_file_of_1_0_0_runs_and_labels_as_it_did(old: Path) -> None:
    assert run("drive.mp4", "--masks", "new.zip", "--device", "cpu", model=old / "model.onnx") == 0
    with open_masks(old / "masks.zip") as before, open_masks(old / "new.zip") as now:
        assert now.classes == before.classes
        for number in range(6):  # where two classes are equally near, another processor may decide otherwise
            assert np.mean(now[number] == before[number]) > 0.99


@pytest.mark.parametrize("name", ["shares.csv", "shares.parquet"])
def test_statistics_of_1_0_0_agree_with_its_masks(name: str, old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", name]) == 0
    assert "frames  6" in capsys.readouterr().out
    assert main(["report", "masks.mkv", "--video", "drive.mp4", "--stats", name]) == 0
    assert "6 masks, files whole" in capsys.readouterr().err
    assert f"{name} says the same of them" in (old / "report.html").read_text(encoding="utf-8")


def test_a_checkpoint_of_1_0_0_is_read_as_what_export_takes(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "best.pt"]) == 0
    assert "kind   checkpoint" in capsys.readouterr().out
    loaded = checkpoint.load(old / "best.pt")
    assert [item["name"] for item in spec(loaded)["classes"]] == ["Sky", "Road"]
    with torch.no_grad():
        scores = loaded.build()(torch.full((1, 3, 64, 96), 0.5))
    assert scores.shape == (1, 2, 32, 48)
    assert scores.isfinite().all()


@pytest.mark.parametrize("option", [(), ("--resume",)])
def test_a_run_that_1_0_0_had_begun_is_told_in_a_line_and_stays_as_it_is(
    option: tuple[str, ...], old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_size for path in (old / "half").rglob("*")}
    words = ("drive.mp4", "--masks", "half/masks.zip", "--stats", "half/shares.csv")
    assert run(*words, *option, model=old / "model.onnx") == 1
    assert capsys.readouterr().err == (
        "roadmask: half/masks.zip: an earlier run was stopped, that of roadmask 1.0.0, with which 2.0.0 cannot go on; "
        "finish it with 1.0.0, or pass --overwrite without --resume to start anew\n"
    )
    assert {path: path.stat().st_size for path in (old / "half").rglob("*")} == before
    assert main(["convert", "half/masks.partial.zip", "-o", "rescued.npz", "-q"]) == 0
    with open_masks(old / "rescued.npz") as masks:
        assert len(masks) == 4
    assert run(*words, "--overwrite", model=old / "model.onnx") == 0
    assert sorted(path.name for path in (old / "half").iterdir()) == ["masks.zip", "shares.csv"]


@pytest.mark.logs_errors
def test_what_1_0_0_had_finished_is_done_before_and_with_other_settings_named_as_its_own(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("drive.mp4", "-o", "results/", "--summary", "results/summary.json")
    assert run(*words, "--palette", "camvid", model=old / "model.onnx") == 0  # which it drew with
    assert "1 done before" in capsys.readouterr().err
    assert run(*words, model=old / "model.onnx") == 1
    assert (
        "results/drive_overlay.mp4: made before, but roadmask was 1.0.0, is now 2.0.0; --palette was camvid, is now "
        "clear; pass --overwrite to make it anew\n"
    ) in capsys.readouterr().err
