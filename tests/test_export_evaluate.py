"""Scores of a model file on labelled pictures, with answers worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from color_model import COLORS, write_color_model
from numpy.typing import NDArray

from export.errors import ExportError
from export.evaluate import evaluate_model
from stream.cli import main
from training.errors import DataError


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its classes are Road, Sky and Car, and a pixel's class is the one whose colour is nearest."""
    return write_color_model(tmp_path_factory.mktemp("model") / "colors.onnx")


def write(root: Path, name: str, picture: NDArray[np.uint8], ids: NDArray[np.uint8]) -> None:
    cv2.imwrite(str(root / "images" / f"{name}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    cv2.imwrite(str(root / "labels" / f"{name}_P.png"), ids)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Ids in another order than the model's classes. Of drive b, the valid one, the model gets three quarters right."""
    root = tmp_path / "drives"
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    (root / "codes.txt").write_text("sky\nVoid\nroad\ncar\n")  # ids 0 to 3; matched whatever their case
    (root / "valid.txt").write_text("b_1.png\n")
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:, :48], picture[:, 48:] = COLORS["Sky"], COLORS["Road"]
    right = np.zeros((64, 96), np.uint8)
    right[:, 48:] = 2
    half = right.copy()
    half[:32, :48] = 2  # a quarter of the picture is labelled road and will be called sky
    write(root, "a_1", picture, right)
    write(root, "b_1", picture, half)
    return root


def test_scores_are_those_worked_out_by_hand(model_path: Path, data: Path) -> None:
    result = evaluate_model(model_path, data)
    assert result.picture_count == 1
    assert result.class_names == ("Road", "Sky", "Car")
    # A quarter is 1536 pixels. Road: two right, one missed; sky: one right, one wrong; no car anywhere.
    np.testing.assert_array_equal(result.confusion, [[3072, 1536, 0], [0, 1536, 0], [0, 0, 0]])
    assert result.iou == pytest.approx({"Road": 2 / 3, "Sky": 1 / 2, "Car": np.nan}, nan_ok=True)
    assert result.mean_iou == pytest.approx(7 / 12)
    assert result.accuracy == pytest.approx(3 / 4)


def test_void_pixels_do_not_count(model_path: Path, data: Path) -> None:
    label = data / "labels" / "b_1_P.png"
    ids = cv2.imread(str(label), cv2.IMREAD_GRAYSCALE)
    assert ids is not None
    ids[:32, :48] = 1  # the pixels that were wrong
    cv2.imwrite(str(label), ids)
    result = evaluate_model(model_path, data)
    assert result.accuracy == 1
    assert result.confusion.sum() == 3 * 1536


def test_pictures_can_be_chosen(model_path: Path, data: Path) -> None:
    assert evaluate_model(model_path, data, valid_drives=["a"]).accuracy == 1
    assert evaluate_model(model_path, data, every=True).picture_count == 2
    with pytest.raises(DataError, match="no drive c"):
        evaluate_model(model_path, data, valid_drives=["c"])
    with pytest.raises(ExportError, match="exclude each other"):
        evaluate_model(model_path, data, valid_drives=["a"], every=True)


@pytest.mark.parametrize(
    ("codes", "message"),
    [("sky\nVoid\ntram\ncar\n", "class tram is not in the model"), ("sky\nVoid\nroad\n", "no labels of Car")],
)
def test_classes_that_do_not_match_are_an_error(model_path: Path, data: Path, codes: str, message: str) -> None:
    (data / "codes.txt").write_text(codes)
    with pytest.raises(ExportError, match=message) as caught:
        evaluate_model(model_path, data)
    assert "\n" not in str(caught.value)


def test_the_command_prints_a_table(model_path: Path, data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(model_path), str(data)]) == 0
    out, _ = capfd.readouterr()
    for text in ("pictures: 1 (list valid.txt)", "Sky", "0.5000", "mIoU", "0.5833", "accuracy", "0.7500"):
        assert text in out


def test_the_command_prints_json_and_nothing_else(
    model_path: Path, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", str(model_path), str(data), "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {
        "pictures": 1,
        "chosen_by": "list valid.txt",
        "miou": 0.583333,
        "accuracy": 0.75,
        "iou": {"Road": 0.666667, "Sky": 0.5, "Car": None},
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


@pytest.mark.parametrize("command", ["export", "eval"])
def test_help_shows_each_example_on_its_own_line(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    out, _ = capfd.readouterr()
    assert sum(line.startswith(f"  roadmask {command} ") for line in out.splitlines()) >= 3
    assert "\\b" not in out
