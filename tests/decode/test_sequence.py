"""Pictures in files of their own are a video: each has its mask, in the order of the numbers, at 25 a second."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.cli import main
from tests.support.clips import times_of
from tests.support.run_command import run

FRAMES = 11


def pictures(folder: Path, name: str, numbers: range | list[int]) -> Path:
    """The n-th is as bright as its number says."""
    folder.mkdir(exist_ok=True)
    for number in numbers:
        assert cv2.imwrite(str(folder / (name % number)), np.full((48, 64, 3), number * 10 % 256, np.uint8))
    return folder / name


@pytest.mark.parametrize("name", ["frame_%05d.png", "%d.jpg", "a %02d b.jpeg"])
def test_every_picture_is_a_frame_at_its_time(name: str, model: Path, tmp_path: Path) -> None:
    sequence = pictures(tmp_path / "drive", name, range(FRAMES))
    assert run(sequence, "-o", f"{tmp_path}/out/", model=model) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *(f"drive_{kind}" for kind in ("overlay.mp4", "masks", "stats.csv", "run.json"))
    }
    times = [Fraction(number, 25) for number in range(FRAMES)]
    assert times_of(tmp_path / "out/drive_overlay.mp4") == times
    with open_masks(tmp_path / "out/drive_masks") as masks:
        assert [record.time for record in masks.records] == times
        assert len(list(masks)) == FRAMES
    assert main(["verify", str(tmp_path / "out/drive_masks"), str(sequence)]) == 0


def test_numbers_that_are_missing_are_told(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sequence = pictures(tmp_path / "drive", "%d.png", [8, 9, 10, 12, 100])
    (tmp_path / "drive/notes 11.png").touch()
    assert run(sequence, "-o", tmp_path / "seen.mp4", model=model) == 0
    assert len(times_of(tmp_path / "seen.mp4")) == 5
    assert "%d.png: of the numbers from 8 to 100 are 88 missing" in capsys.readouterr().err


def test_a_damaged_picture_costs_itself(model: Path, tmp_path: Path) -> None:
    sequence = pictures(tmp_path / "drive", "%d.png", range(FRAMES))
    damaged = tmp_path / "drive/5.png"
    damaged.write_bytes(damaged.read_bytes()[:40])
    assert run(sequence, "--masks", tmp_path / "masks", model=model) == 3
    with open_masks(tmp_path / "masks") as masks:
        assert [record.time for record in masks.records] == [Fraction(n, 25) for n in range(FRAMES) if n != 5]
        assert len(list(masks)) == FRAMES - 1


def test_a_picture_that_cannot_be_read_costs_itself(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sequence = pictures(tmp_path / "drive", "%d.png", range(FRAMES))
    (tmp_path / "drive/5.png").unlink()
    (tmp_path / "drive/5.png").mkdir()
    assert run(sequence, "--masks", tmp_path / "masks", model=model) == 3
    assert "5.png: cannot be read (not a regular file)" in capsys.readouterr().err
    with open_masks(tmp_path / "masks") as masks:
        assert [record.time for record in masks.records] == [Fraction(n, 25) for n in range(FRAMES) if n != 5]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("%d.tar", "sequences are of .png, .jpg, .jpeg"),
        ("%05d.png", "no such file, and none of such a number"),
        ("none/%d.png", "no such file, and none of such a number"),
        ("empty", "no videos in this folder, nor pictures"),
    ],
)
def test_what_is_no_sequence_is_one_line(
    name: str, told: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures(tmp_path / "drive", "%d.png", range(2))
    (tmp_path / "drive/empty").mkdir()
    assert run(tmp_path / "drive" / name, "-o", tmp_path / "seen.mp4", model=model) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
