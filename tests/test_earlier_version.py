"""What roadmask 1.0.0 has written still opens; what it had not finished, or called otherwise, is told in a line."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

import roadmask
from roadmask.export.metadata import spec
from roadmask.stream.archive.archive import open_masks
from roadmask.stream.cli import main
from roadmask.stream.run import stages
from roadmask.stream.run.settings import SAME_SINCE
from roadmask.training import checkpoint
from tests.support.run_command import run

GOLDEN = Path(__file__).parent / "golden/roadmask_1_0_0.tar.xz"  # made by make_1_0_0.py beside it
ARCHIVES = ("masks", "masks.zip", "masks.mkv", "masks.npz", "masks.zarr")


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with its files."""
    with tarfile.open(GOLDEN) as archive:
        archive.extractall(tmp_path, filter="data")
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
    assert "frames 6 " in " ".join(capsys.readouterr().out.split())
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
        "roadmask: half/masks.zip: an earlier run was stopped, that of roadmask 1.0.0, with which "
        f"{SAME_SINCE} cannot go on; finish it with 1.0.0, or pass --overwrite without --resume to start anew\n"
    )
    assert {path: path.stat().st_size for path in (old / "half").rglob("*")} == before
    assert main(["convert", "half/masks.partial.zip", "-o", "rescued.npz", "-q"]) == 0
    with open_masks(old / "rescued.npz") as masks:
        assert len(masks) == 4
    assert run(*words, "--overwrite", model=old / "model.onnx") == 0
    assert sorted(path.name for path in (old / "half").iterdir()) == ["masks.zip", "shares.csv"]


def test_a_run_is_gone_on_with_by_later_versions_as_long_as_they_would_do_the_same(
    old: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def killed(frames: int) -> None:
        if frames == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(stages, "EVERY_S", 0.0)
    model = roadmask.Model.load(old / "model.onnx", device="cpu")
    with pytest.raises(KeyboardInterrupt):
        roadmask.process_video(roadmask.SegmentSettings("drive.mp4", masks="now.zip"), model, on_frame=killed)  # type: ignore[arg-type]
    words = ("drive.mp4", "--masks", "now.zip", "--device", "cpu", "--resume")
    for name in ("roadmask", "roadmask.stream", "roadmask.stream.commands.run_files"):
        monkeypatch.setattr(f"{name}.__version__", "99.0.1")
    with monkeypatch.context() as later:
        later.setattr("roadmask.stream.run.settings.SAME_SINCE", "99.0.0")
        assert run(*words, model=old / "model.onnx") == 1
        assert f"that of roadmask {SAME_SINCE}, with which 99.0.0 cannot go on" in capsys.readouterr().err
    assert run(*words, model=old / "model.onnx") == 0
    assert "of them from before" in capsys.readouterr().err
    assert run("drive.mp4", "--masks", "once.zip", "--device", "cpu", model=old / "model.onnx") == 0
    assert (old / "now.zip").read_bytes() == (old / "once.zip").read_bytes()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("run drive.mp4 --no-legend", "No such option: --no-legend"),
        ("run drive.mp4 --masks new.npz", "convert new.zip -o new.npz"),
        ("run drive.mp4 --masks new.zarr", "convert new.zip -o new.zarr"),
        ("run drive.mp4 -o new.mp4 --keep 48h", "--keep is for streams and webcams"),
        ("run drive.mp4 -o new.mp4 --classes hose", "class 'hose' is not known"),
        ("doctor display", "'display' is no check"),
    ],
)
def test_words_that_1_0_0_took_and_that_mean_nothing_now_are_wrong_usage(
    words: str, told: str, old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verb, *others = words.split()
    assert main([verb, *others, *(["--model", "model.onnx"] if verb == "run" else [])]) == 2
    assert told in " ".join(capsys.readouterr().err.split())
    assert not [*old.glob("new*")]


def test_a_legend_is_a_place_and_a_models_checksum_no_method(old: Path) -> None:
    model = roadmask.Model.load(old / "model.onnx", device="cpu")
    assert len(model.sha256) == 64
    settings = roadmask.SegmentSettings("drive.mp4", overlay="new.mp4", legend=True)  # type: ignore[arg-type]
    with pytest.raises(roadmask.RoadmaskError, match="True is none of off, auto, top-left"):
        roadmask.process_video(settings, model)
    assert not [*old.glob("new*")]


def test_a_killed_npz_of_1_0_0_is_no_archive_and_stays(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = (old / "masks.npz").read_bytes()
    (old / "half.partial.npz").write_bytes(whole[: len(whole) // 2])
    assert main(["convert", "half.partial.npz", "-o", "rescued.zip", "-q"]) == 1
    assert "not a mask archive, or not a whole one" in capsys.readouterr().err
    assert (old / "half.partial.npz").exists()


@pytest.mark.logs_errors
def test_what_1_0_0_had_finished_is_done_before_and_with_other_settings_named_as_its_own(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("drive.mp4", "-o", "results/", "--summary", "results/summary.json")
    assert run(*words, "--palette", "camvid", model=old / "model.onnx") == 0  # which it drew with
    assert "1 done before" in capsys.readouterr().err
    assert run(*words, model=old / "model.onnx") == 1
    assert (
        f"results/drive_overlay.mp4: made before, but roadmask was 1.0.0, is now {SAME_SINCE}; --palette was camvid, "
        "is now clear; pass --overwrite to make it anew\n"
    ) in capsys.readouterr().err
