"""Scores of a model file on labelled pictures, with answers worked out by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from roadmask.export.choice import everything, in_folder, of_drive, on_list
from roadmask.export.errors import ExportError
from roadmask.export.evaluate import evaluate_model
from roadmask.stream.cli import main
from roadmask.training.errors import DataError
from tests.support.color_model import write_color_model
from tests.support.datasets import save_png
from tests.support.labelled_colors import (
    CAR,
    QUARTER,
    ROAD,
    VOID_ID,
    add,
    start,
    street,
    street_ids,
    two_drives,
    wrong_ids,
)


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its classes are Road, Sky and Car, and a pixel's class is the one whose colour is nearest."""
    return write_color_model(tmp_path_factory.mktemp("model") / "colors.onnx")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return two_drives(tmp_path / "drives")


@pytest.fixture
def segnet(tmp_path: Path) -> Path:
    """Drive a to train on, b to validate, c to test; c is right but for a quarter."""
    root = tmp_path / "segnet"
    for folder, name, ids in (
        ("train", "a_1", street_ids()),
        ("val", "b_1", street_ids()),
        ("test", "c_1", wrong_ids()),
    ):
        save_png(root / folder / f"{name}.png", street())
        save_png(root / f"{folder}annot" / f"{name}.png", ids)
    (root / "codes.txt").write_text("sky\nVoid\nroad\ncar\n", encoding="utf-8")
    return root


def test_scores_are_those_worked_out_by_hand(model_path: Path, data: Path) -> None:
    result = evaluate_model(model_path, data)
    assert result.picture_count == 1
    assert result.labels.class_names == result.group_names == ("Road", "Sky", "Car")
    # Road: two quarters right, one missed; sky: one right, one wrong; no car anywhere.
    np.testing.assert_array_equal(result.confusion, [[2 * QUARTER, QUARTER, 0], [0, QUARTER, 0], [0, 0, 0]])
    assert result.iou == pytest.approx({"Road": 2 / 3, "Sky": 1 / 2, "Car": np.nan}, nan_ok=True)
    assert result.mean_iou == pytest.approx(7 / 12)
    assert result.accuracy == pytest.approx(3 / 4)


def test_void_pixels_do_not_count(model_path: Path, data: Path) -> None:
    add(data, "b_1", wrong_ids(VOID_ID))
    result = evaluate_model(model_path, data)
    assert result.accuracy == 1
    assert result.confusion.sum() == 3 * QUARTER


def test_pictures_that_are_void_everywhere_are_an_error(model_path: Path, data: Path) -> None:
    add(data, "b_1", np.full_like(street_ids(), VOID_ID))
    with pytest.raises(ExportError, match=r"nothing but void in the pictures chosen \(list valid.txt\)"):
        evaluate_model(model_path, data)


def test_a_class_that_is_only_missed_counts_as_zero_without_a_note(model_path: Path, data: Path) -> None:
    add(data, "b_1", wrong_ids(CAR))
    result = evaluate_model(model_path, data)
    assert result.iou == pytest.approx({"Road": 1, "Sky": 1 / 2, "Car": 0})
    assert result.mean_iou == pytest.approx(1 / 2)
    assert result.notes == ()


def test_a_class_seen_where_none_is_counts_as_zero_and_is_named(model_path: Path, data: Path) -> None:
    add(data, "b_1", np.full_like(street_ids(), ROAD))  # half of it will be called sky
    result = evaluate_model(model_path, data)
    assert result.iou == pytest.approx({"Road": 1 / 2, "Sky": 0, "Car": np.nan}, nan_ok=True)
    assert result.mean_iou == pytest.approx(1 / 4)
    assert result.notes == ("IoU 0, as it is seen where no picture shows it: Sky",)


def test_each_drive_scores_as_it_does_alone(model_path: Path, data: Path) -> None:
    add(data, "b_2", street_ids())
    result = evaluate_model(model_path, data, choice=everything)
    assert {name: scores.frame_count for name, scores in result.drives.items()} == {"a": 1, "b": 2}
    for name, scores in result.drives.items():
        alone = evaluate_model(model_path, data, choice=of_drive([name]))
        assert (scores.mean_iou, scores.accuracy) == (alone.mean_iou, alone.accuracy)
    # All: 11 of 12 quarters; drive a 1, drive b 7/8.
    assert result.accuracy == pytest.approx(11 / 12)
    assert result.mean_over_drives[1] == pytest.approx((1 + 7 / 8) / 2)


def test_pictures_without_a_drive_in_their_names_have_no_drives(model_path: Path, data: Path) -> None:
    for name in ("street", "aachen_000000_000019_leftImg8bit"):
        add(data, name, street_ids())
    (data / "valid.txt").write_text("street.png\naachen_000000_000019_leftImg8bit.png\n", encoding="utf-8")
    result = evaluate_model(model_path, data)
    assert result.picture_count == 2
    assert result.drives == {}


def test_a_frame_is_scored_over_the_classes_it_shows(model_path: Path, data: Path) -> None:
    add(data, "b_1", np.full_like(street_ids(), ROAD))  # half of it will be called sky, which it does not show
    (frame,) = evaluate_model(model_path, data).frames
    assert (frame.name, frame.drive) == ("b_1", "b")
    assert frame.mean_iou == pytest.approx(1 / 2)
    assert frame.accuracy == pytest.approx(1 / 2)


def test_pictures_can_be_chosen_by_drive_by_list_or_all(model_path: Path, data: Path, tmp_path: Path) -> None:
    names = tmp_path / "mine.txt"
    names.write_text("images/a_1.png\n", encoding="utf-8")
    for choice, count, by in (
        (of_drive(["a"]), 1, "drive a"),
        (of_drive(["b", "a"]), 2, "drive a, b"),
        (on_list(names), 1, "list mine.txt"),
        (everything, 2, "all there are"),
    ):
        result = evaluate_model(model_path, data, choice=choice)
        assert (result.picture_count, result.chosen_by) == (count, by)


def test_in_segnets_layout_val_is_the_default_and_test_can_be_chosen(model_path: Path, segnet: Path) -> None:
    assert evaluate_model(model_path, segnet).frames[0].name == "b_1"
    assert evaluate_model(model_path, segnet, choice=in_folder("test")).accuracy == pytest.approx(3 / 4)
    assert evaluate_model(model_path, segnet, choice=of_drive(["c"])).picture_count == 1
    assert evaluate_model(model_path, segnet, choice=everything).picture_count == 3
    shutil.rmtree(segnet / "test")
    with pytest.raises(ExportError, match="test: no pictures in this folder"):
        evaluate_model(model_path, segnet, choice=in_folder("test"))


def test_a_choice_of_nothing_is_an_error_of_one_line(model_path: Path, data: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("\n", encoding="utf-8")
    for choice, message in (
        (of_drive(["c"]), "no drive 'c'; there are a, b"),
        (on_list(tmp_path / "no.txt"), "no such list"),
        (on_list(empty), "names no picture"),
        (in_folder("test"), "choose by --drive or --list"),
    ):
        with pytest.raises((ExportError, DataError), match=message) as caught:
            evaluate_model(model_path, data, choice=choice)
        assert "\n" not in str(caught.value)
    (data / "valid.txt").unlink()
    with pytest.raises(ExportError, match="has no valid"):
        evaluate_model(model_path, data)


@pytest.mark.parametrize(
    "options", [["--all", "--drive", "a"], ["--list", "x.txt", "--folder", "val"], ["--drive", "a", "--list", "x.txt"]]
)
def test_two_ways_of_choosing_are_wrong_usage(
    options: list[str], model_path: Path, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", str(model_path), str(data), *options]) == 2
    assert "exclude each other" in capfd.readouterr().err


def test_the_command_prints_tables(model_path: Path, data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(model_path), str(data)]) == 0
    out, _ = capfd.readouterr()
    for text in ("pictures: 1 (list valid.txt)", "Sky", "0.5000", "mIoU", "0.5833", "accuracy", "0.7500", "75.00%"):
        assert text in out
    assert "drive " not in out  # one drive has no table
    assert main(["eval", str(model_path), str(data), "--drive", "a", "--drive", "b"]) == 0
    out, _ = capfd.readouterr()
    assert "mean over drives" in out
    assert "0.8750" in out


def test_the_command_prints_json_and_nothing_else(
    model_path: Path, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", str(model_path), str(data), "--all", "--json"]) == 0
    content = json.loads(capfd.readouterr().out)
    assert len(content.pop("model_sha256")) == 64
    assert content == {
        "model": str(model_path),
        "data": str(data),
        "pictures": 2,
        "chosen_by": "all there are",
        "map": {},
        "size": "default",
        "smoothed": True,
        "miou": 0.775,  # road 4 of 5 quarters, sky 3 of 4
        "accuracy": 0.875,
        "flicker": None,
        "iou": {"Road": 0.8, "Sky": 0.75, "Car": None},
        "not_scored": [],
        "drives": {
            "a": {"pictures": 1, "miou": 1.0, "accuracy": 1.0, "flicker": None},
            "b": {"pictures": 1, "miou": 0.583333, "accuracy": 0.75, "flicker": None},
        },
        "mean_over_drives": {"miou": 0.791667, "accuracy": 0.875},
        "notes": [],
    }


@pytest.mark.parametrize("arguments", [("no.onnx", "drives"), ("colors.onnx", "no-data")])
def test_the_command_fails_with_one_line(
    arguments: tuple[str, str], model_path: Path, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", str(model_path.parent / arguments[0]), str(data.parent / arguments[1])]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("roadmask: ")
    assert err.strip().count("\n") == 0


def test_a_damaged_picture_ends_the_run_with_its_name(
    model_path: Path, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (data / "labels" / "b_1_P.png").write_bytes(b"no picture")
    assert main(["eval", str(model_path), str(data)]) == 1
    assert "b_1_P.png: not a picture" in capfd.readouterr().err


@pytest.mark.parametrize("command", ["export", "eval"])
def test_help_shows_each_example_on_its_own_line(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    out, _ = capfd.readouterr()
    assert sum(line.startswith(f"  roadmask {command} ") for line in out.splitlines()) >= 3
    assert "\\b" not in out


def test_an_empty_data_set_is_an_error(model_path: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pictures found"):
        evaluate_model(model_path, start(tmp_path / "empty"))
