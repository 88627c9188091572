"""Folders of pictures: each by itself, or the frames of a video; what is done stays done, a broken one is alone."""

from __future__ import annotations

import csv
import json
import re
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from roadmask.stream.batch.footage import Kind
from roadmask.stream.batch.video_files import find_sources
from roadmask.stream.cli import main
from roadmask.stream.errors import SourceError
from tests.support.clips import cfr, make_clip, times_of
from tests.support.color_model import COLORS, halves
from tests.support.own_process import LIMIT_S, started
from tests.support.run_command import run

NAMES = ("a.jpg", "b c.png", "deep/Straße.webp", "deep/d.bmp")


def photo(path: Path, size: tuple[int, int] = (96, 64), *, camera: str = "") -> Path:
    """Road on the left, sky on the right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if camera:
        exif[0x10F] = camera
    Image.fromarray(halves(size[1], size[0])).save(path, exif=exif)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Of any names, kinds and sizes, and a text."""
    for number, name in enumerate(NAMES):
        photo(tmp_path / "photos" / name, (96 + 16 * number, 64))
    (tmp_path / "photos/notes.txt").write_text("notes")
    return tmp_path / "photos"


def names_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def states(out: Path) -> dict[str, str]:
    content: dict[str, Any] = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    return {Path(entry["source"]).name: entry["state"] for entry in content["sources"]}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_each_picture_of_a_folder_has_an_overlay_a_mask_and_a_row(
    photos: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(photos, "-o", f"{out}/", model=model) == 0
    stems = ("a", "b c", "deep/Straße", "deep/d")
    assert names_in(out) == {
        *(f"{stem}_overlay.{'jpg' if stem == 'a' else 'png'}" for stem in stems),
        *(f"{stem}_mask.png" for stem in stems),
        *("pictures_stats.csv", "summary.json", "classes.json"),
    }
    for number, stem in enumerate(stems):
        mask = np.array(Image.open(out / f"{stem}_mask.png"))
        assert mask.shape == (64, 96 + 16 * number)
        assert (mask[:, :40] == 0).all()
        assert (mask[:, -40:] == 1).all()
    table = rows(out / "pictures_stats.csv")
    assert [row["picture"] for row in table] == [str(photos / name) for name in NAMES]
    assert all(float(row["Road"]) == pytest.approx(0.5, abs=0.03) for row in table)
    talk = capsys.readouterr().err
    assert "4 pictures each by itself (--as video: numbered ones as a video)" in talk
    assert "4 files: 4 done" in talk


def test_masks_and_overlays_in_folders_of_their_own_have_the_pictures_names(
    photos: Path, model: Path, tmp_path: Path
) -> None:
    table = tmp_path / "shares.csv"
    made = ("--overlay", tmp_path / "seen", "--masks", tmp_path / "masks", "--stats", table)
    assert run(photos, *made, model=model) == 0
    assert names_in(tmp_path / "masks") == {*("a.png", "b c.png", "deep/Straße.png", "deep/d.png"), "classes.json"}
    assert names_in(tmp_path / "seen") == {"a.jpg", "b c.png", "deep/Straße.png", "deep/d.png"}
    assert len(rows(table)) == 4


def test_masks_of_pictures_say_what_their_values_mean_so_that_they_are_labels(
    photos: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos.rename(tmp_path / "images")
    assert run(tmp_path / "images", "--masks", tmp_path / "labels", model=model) == 0
    listed = json.loads((tmp_path / "labels/classes.json").read_text())
    assert listed["classes"] == [{"name": name, "color": list(color)} for name, color in COLORS.items()]
    assert main(["eval", str(model), str(tmp_path), "--all"]) == 0
    assert "1.000" in capsys.readouterr().out
    assert main(["verify", str(tmp_path / "labels")]) == 1
    assert "labels: masks of pictures, each by itself, and no archive" in capsys.readouterr().err


def test_masks_of_other_classes_are_not_mixed_in(
    photos: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "masks").mkdir()
    listed = tmp_path / "masks/classes.json"
    for text, why in (
        ('{"schema": 1, "classes": [{"name": "Road", "color": [1, 2, 3]}]}', "of other classes than this model's"),
        ("notes", "exists, and lists no classes of masks"),
    ):
        listed.write_text(text)
        assert run(photos, "--masks", tmp_path / "masks", model=model) == 1
        assert f"{listed}: " in (told := capsys.readouterr().err)
        assert why in told
        assert names_in(tmp_path / "masks") == {"classes.json"}
    assert run(photos, "--masks", tmp_path / "masks", "--overwrite", model=model) == 0
    assert "Sky" in listed.read_text()


def test_shares_alone_are_a_table_as_csv_or_parquet(
    photos: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(photos, "--stats", tmp_path / "shares.csv", model=model) == 0
    assert run(photos, "--stats", tmp_path / "shares.parquet", model=model) == 0
    table = pq.read_table(tmp_path / "shares.parquet").to_pylist()
    for row, told in zip(rows(tmp_path / "shares.csv"), table, strict=True):
        assert row["picture"] == told["picture"]
        assert float(row["Sky"]) == told["Sky"]
        assert told["latitude"] is None
    for name in ("shares.csv", "shares.parquet"):
        assert main(["info", str(tmp_path / name)]) == 0
    assert capsys.readouterr().out.count("pictures     4") == 2
    assert run(photos, "--stats", tmp_path / "shares.csv", model=model) == 1
    assert names_in(tmp_path) - {f"photos/{name}" for name in (*NAMES, "notes.txt")} == {"shares.csv", "shares.parquet"}


@pytest.mark.logs_errors
def test_a_broken_picture_costs_itself_only(
    photos: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 junk")
    (photos / "empty.png").touch()
    assert run(photos, "-o", f"{tmp_path}/out/", model=model) == 3
    assert states(tmp_path / "out") | dict.fromkeys(("broken.jpg", "empty.png"), "failed") == states(tmp_path / "out")
    assert "6 files: 4 done, 2 failed" in capsys.readouterr().err
    assert len(rows(tmp_path / "out/pictures_stats.csv")) == 4


def test_a_second_call_does_what_is_missing_and_the_table_has_all(
    photos: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(photos, "-o", f"{out}/", model=model) == 0
    before = {name: (out / name).stat().st_mtime_ns for name in names_in(out)}
    (out / "deep/d_mask.png").unlink()
    (out / "pictures_stats.csv").unlink()
    photo(photos / "new.jpg")
    capsys.readouterr()
    assert run(photos, "-o", f"{out}/", model=model) == 0
    assert "5 files: 2 done, 3 done before" in capsys.readouterr().err
    unchanged = {name for name in before if (out / name).stat().st_mtime_ns == before[name]}
    assert unchanged == {
        *("a_overlay.jpg", "a_mask.png", "b c_overlay.png", "b c_mask.png"),
        *("deep/Straße_overlay.png", "deep/Straße_mask.png"),
    }
    assert [Path(row["picture"]).name for row in rows(out / "pictures_stats.csv")] == [
        *("a.jpg", "b c.png", "Straße.webp", "d.bmp", "new.jpg"),
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
def test_a_killed_call_s_pictures_are_not_made_again_and_have_their_rows(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = photo(tmp_path / "in/0.png", (640, 480))
    for number in range(1, 60):
        shutil.copy(first, tmp_path / f"in/{number}.png")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "roadmask", "run", tmp_path / "in", "--as", "pictures", "-o", f"{out}/"]
    process = started([*command, "--model", model, "-q"], lambda: (out / "5_mask.png").exists())
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=LIMIT_S)
    assert not (out / "pictures_stats.csv").exists()
    assert run(tmp_path / "in", "--as", "pictures", "-o", f"{out}/", model=model) == 0
    told = re.search(r"60 files: (\d+) done, (\d+) done before", capsys.readouterr().err)
    assert told is not None
    assert int(told[2]) >= 4
    assert len(rows(out / "pictures_stats.csv")) == 60
    assert not [name for name in names_in(out) if name.startswith(".") or ".partial" in name]


def test_results_in_the_pictures_own_folder_are_not_pictures_to_be_done(
    photos: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert run(photos, "-o", f"{photos}/", model=model) == 0
    assert "4 files: 4 done before" in capsys.readouterr().err
    assert {item.path.name for item in find_sources([str(photos)])} == {"a.jpg", "b c.png", "Straße.webp", "d.bmp"}
    assert len(find_sources([f"{photos}/*.png"])) == 1


@pytest.mark.parametrize(
    ("words", "taken"),
    [
        (["photos", "--max-frames", 2], {"a.jpg", "b c.png"}),
        (["photos", "--stride", 3, "--as", "pictures"], {"a.jpg", "d.bmp"}),
        (["photos/deep/*.*", "--max-frames", 1], {"Straße.webp"}),
    ],
)
@pytest.mark.usefixtures("photos")
def test_of_a_folder_of_pictures_stride_and_max_frames_take_some(
    words: list[Any], taken: set[str], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*words, "-o", "out/", model=model) == 0
    assert set(states(tmp_path / "out")) == taken


def test_videos_and_pictures_are_done_in_one_call(photos: Path, model: Path, tmp_path: Path) -> None:
    make_clip(photos / "drive.mp4", cfr(5), size=(48, 64))
    photo(photos / "drive.jpg")  # as cameras put one beside each video
    out = tmp_path / "out"
    assert run(photos, "-o", f"{out}/", "--max-frames", 3, "--no-smooth", model=model) == 0
    assert set(states(out)) == {"drive.mp4", *(Path(name).name for name in NAMES)}
    assert len(times_of(out / "drive_overlay.mp4")) == 3
    assert {
        "drive_stats.csv",
        "drive_masks/classes.json",
        "pictures_stats.csv",
        "a_mask.png",
        "classes.json",
    } <= names_in(out)
    assert run(photos, "-o", f"{out}/", "--max-frames", 2, "--overwrite", model=model) == 0
    assert main(["report", str(out), "-o", str(tmp_path / "page.html")]) == 0
    assert "drive_masks" in (tmp_path / "page.html").read_text()


def numbered(folder: Path, numbers: range, name: str = "frame_%05d.jpg", **more: Any) -> Path:
    first = photo(folder / (name % numbers[0]), **more)
    for number in numbers[1:]:
        shutil.copy(first, folder / (name % number))
    return folder


def found(folder: Path, kind: Kind = "auto") -> list[str]:
    return [
        f"{item.path.relative_to(folder).as_posix()}{' alone' if item.picture else ''}"
        for item in find_sources([str(folder)], kind=kind)
    ]


def test_numbered_pictures_of_one_size_are_a_video_unless_they_are_said_to_be_pictures(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = numbered(tmp_path / "frames", range(1, 13))
    assert run(frames, "-o", f"{tmp_path}/out/", model=model) == 0
    assert (
        "frame_%05d.jpg: 12 numbered pictures of one size are a video (--as pictures: each" in capsys.readouterr().err
    )
    assert len(times_of(tmp_path / "out/frames_overlay.mp4")) == 12
    assert found(frames, "pictures") == [f"frame_{number:05d}.jpg alone" for number in range(1, 13)]
    (word,) = find_sources([str(frames / "frame_%05d.jpg")])
    assert not word.picture
    assert len(find_sources([str(frames / "frame_%05d.jpg")], kind="pictures")) == 12


def test_numbered_pictures_that_a_camera_took_or_with_gaps_or_of_other_sizes_are_pictures(tmp_path: Path) -> None:
    numbered(tmp_path / "camera", range(12), "IMG_%04d.jpg", camera="ACME")
    numbered(tmp_path / "gaps", range(0, 36, 3))
    numbered(tmp_path / "few", range(5))
    photo(numbered(tmp_path / "sizes", range(12)) / "frame_00004.jpg", (64, 48))
    for name in ("camera", "gaps", "few", "sizes"):
        assert all(item.endswith(" alone") for item in found(tmp_path / name))
        assert len(found(tmp_path / name, "video")) == 1, "all that is numbered, where that is said"
    both = numbered(numbered(tmp_path / "both", range(10), "left_%d.png"), range(10), "right_%d.png")
    photo(both / "cover.png")
    assert found(both) == ["cover.png alone", "left_%d.png", "right_%d.png"]
    assert {item.label for item in find_sources([str(both)])} == {"", "left", "right"}


def test_a_video_s_name_for_the_overlay_makes_a_video_of_a_folder_and_of_a_picture(model: Path, tmp_path: Path) -> None:
    frames = numbered(tmp_path / "frames", range(4), "%d.png")
    assert run(frames, "-o", tmp_path / "seen.mp4", model=model) == 0
    assert len(times_of(tmp_path / "seen.mp4")) == 4
    assert run(frames / "0.png", "-o", tmp_path / "still.mkv", model=model) == 0
    assert len(times_of(tmp_path / "still.mkv")) == 1


def test_a_picture_without_an_output_has_its_overlay_here(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photo(tmp_path / "in/street.jpg")
    assert run("in/street.jpg", "--palette", "camvid", model=model) == 0
    assert run("in/street.jpg", "-o", "one/", model=model) == 0
    assert run("in/street.jpg", "-o", "one/", "--resume", model=model) == 0
    assert names_in(tmp_path) == {
        *("in/street.jpg", "street_overlay.jpg", "one/street_overlay.jpg", "one/street_mask.png"),
        *("one/street_stats.csv", "one/street_run.json", "one/summary.json", "one/classes.json"),
    }
    seen = cv2.imread("street_overlay.jpg")[32, 8][::-1]
    assert np.abs(seen.astype(int) - COLORS["Road"]).max() < 12


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["photos", "-o", "seen.png"], 1, "seen.png: several pictures cannot go into one file; name a folder"),
        (["photos", "--masks", "m.png"], 1, "m.png: several pictures cannot go into one file; name a folder"),
        (["photos", "--masks", "m/*.png"], 2, "m/*.png: * is a video's name; for pictures name folders"),
        (["photos/a.jpg", "-o", "seen.txt"], 2, "seen.txt: overlays of pictures are .png, .jpg"),
        (["photos/a.jpg", "--masks", "m.tif"], 2, "m.tif: the mask of a picture is a .png"),
        (["photos/a.jpg", "--as", "pictures", "-o", "seen.mp4"], 2, "seen.mp4: overlays of pictures are"),
        (["photos/a.jpg", "--smooth"], 2, "--smooth is for videos and cameras"),
        (["photos/a.jpg", "--start", "1"], 2, "--start is for videos and cameras"),
        (["photos/a.jpg", "--max-frames", "1"], 2, "--max-frames is for videos, cameras and folders of pictures"),
        (["photos", "--as", "pictures", "--crf", "20"], 2, "--crf is for videos and cameras"),
        (["photos/a.jpg", "--stream", "all"], 2, "--stream is for files"),
        (["rtsp://127.0.0.1:1/x", "--as", "video", "-o", "out/"], 2, "--as is for files"),
        (["photos", "--as", "video", "-o", "out/"], 1, "photos: no videos in this folder, nor pictures, 5 passed over"),
        (["drive.mp4", "--as", "pictures"], 1, "drive.mp4: a video, which is no picture; leave --as pictures away"),
        (["drive.mp4", "-o", "seen.png"], 2, "seen.png: overlay videos are .mp4, .mov, .mkv"),
        (["photos/a.jpg", "-o", "photos/a.jpg", "--overwrite"], 1, "a.jpg: is the source itself"),
    ],
)
@pytest.mark.usefixtures("photos")
def test_what_cannot_be_made_of_pictures_is_one_line(
    arguments: list[str],
    code: int,
    told: str,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("drive.mp4").touch()
    before = names_in(tmp_path)
    assert run(*arguments, model=model) == code
    assert told in re.sub(r"[\s│]+", " ", capsys.readouterr().err)
    assert names_in(tmp_path) == before


def test_a_folder_without_either_says_so(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(SourceError, match=r"no videos in this folder, nor pictures, 1 passed over \(1 .txt\)"):
        find_sources([str(tmp_path)])
