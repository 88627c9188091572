"""Drives that look unlike what their model knows: measured, and told once where they are read of."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.archive.manifest import parse_ending
from roadmask.stream.errors import ArchiveError
from roadmask.stream.masks.familiar import EVERY, Familiarity, lead, warning_of
from tests.support.clips import cfr, make_clip
from tests.support.color_model import COLORS, spec, write_color_model
from tests.support.run_command import run

LEAST = 3000.0  # between the leads of the two drives below, which are about 16000 and 0


def plain(color: tuple[int, int, int]) -> NDArray[np.uint8]:
    return np.full((48, 64, 3), color, np.uint8)


@pytest.fixture(scope="module")
def knowing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "colors.onnx"
    return write_color_model(path, metadata=spec(familiar={"lead": LEAST, "pictures": 60}))


@pytest.fixture
def day(tmp_path: Path) -> Path:
    """Of a colour that is a class's own."""
    return make_clip(tmp_path / "day.mp4", cfr(30), picture=plain(COLORS["Sky"]))


@pytest.fixture
def night(tmp_path: Path) -> Path:
    """Of a colour as near to two classes."""
    road, sky = np.array(COLORS["Road"]), np.array(COLORS["Sky"])
    return make_clip(tmp_path / "night.mp4", cfr(30), picture=plain(tuple((road + sky) // 2)))


def test_the_lead_is_how_much_the_best_class_of_the_middle_place_has_more_than_the_second() -> None:
    scores = np.array([[[5, 1, 0]], [[2, 9, 1]], [[4, 3, 1]]], np.float32)  # leads of 1, 6 and 0
    assert lead(scores) == 1
    assert lead(scores * 3) == 3
    assert lead(scores[:1]) == float("inf"), "of one class, nothing is unlike"


def test_the_lead_of_a_large_picture_is_that_of_places_spread_over_it() -> None:
    scores = np.random.default_rng(0).normal(0, 1, (11, 200, 300)).astype(np.float32)
    second, best = np.sort(scores, axis=0)[-2:]
    assert lead(scores) == pytest.approx(np.median(best - second), rel=0.05)


@pytest.mark.parametrize(("unlike", "is_told"), [(None, False), (0.0, False), (0.5, False), (0.51, True), (1.0, True)])
def test_a_drive_is_told_of_where_most_of_it_is_unlike(unlike: float | None, is_told: bool) -> None:
    assert bool(warning_of(unlike)) == is_told


def test_of_one_picture_no_share_of_frames_is_told() -> None:
    assert "frames" not in warning_of(1.0, of_picture=True)
    assert warning_of(0.0, of_picture=True) == ""


def test_of_no_frames_nothing_is_known() -> None:
    assert Familiarity().share is None
    assert Familiarity(8, 1).with_others(4, 2).share == 0.25


def test_a_drive_unlike_what_the_model_knows_is_told_once_and_noted_in_archive_and_summary(
    knowing: Path, night: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(night, "-o", f"{out}/", model=knowing) == 0
    told = capfd.readouterr().err
    assert told.count("looks unlike what the model has learnt in 100 % of the frames looked at") == 1
    assert json.loads((out / "night_run.json").read_text())["sources"][0]["unlike"] == 1.0
    with open_masks(out / "night_masks") as masks:
        assert masks.ending
        assert masks.ending.unlike == 1.0


def test_a_familiar_drive_and_a_model_that_says_nothing_are_told_of_in_no_word(
    knowing: Path, day: Path, night: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    silent = write_color_model(tmp_path / "silent.onnx")
    for clip, model, unlike in ((day, knowing, 0.0), (night, silent, None)):
        masks_path = tmp_path / f"{clip.stem}.zip"
        assert run(clip, "--masks", masks_path, model=model) == 0
        assert "unlike" not in capfd.readouterr().err
        with open_masks(masks_path) as masks:
            assert masks.ending
            assert masks.ending.unlike == unlike


def test_an_archive_of_version_1_0_tells_nothing_of_it_and_one_that_tells_nonsense_is_refused() -> None:
    known = {"state": "done", "frames": 3, "undecodable": 0, "damaged": 0, "missing_s": 0.0, "lost": ""}
    assert parse_ending(json.dumps(known), "masks.zip").unlike is None
    assert parse_ending(json.dumps({**known, "unlike": 0.25}), "masks.zip").unlike == 0.25
    for wrong in (1.5, -1, "all", [], float("nan"), 10**400):
        with pytest.raises(ArchiveError, match=r"masks.zip: its run.json cannot be used"):
            parse_ending(json.dumps({**known, "unlike": wrong}), "masks.zip")


def test_of_many_files_it_is_counted_how_many_are_unlike(
    knowing: Path, day: Path, night: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(day, night, "-o", f"{tmp_path}/out/", model=knowing) == 0
    told = capfd.readouterr().err
    assert "1 of them unlike what the model has learnt" in " ".join(told.split())
    sources = json.loads((tmp_path / "out" / "summary.json").read_text())["sources"]
    assert {Path(item["source"]).stem: item["unlike"] for item in sources} == {"day": 0.0, "night": 1.0}


def test_one_frame_in_so_many_is_looked_at_so_that_it_costs_nearly_nothing() -> None:
    assert EVERY >= 10
    assert 250 % EVERY == 0, "or the pieces of a run, made by themselves, would look at other frames"
