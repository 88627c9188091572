"""Labels that stand for one of several classes: scored by the groups that they tell apart, worked out by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from roadmask.export.choice import everything
from roadmask.export.classmap import match_classes, parse_map
from roadmask.export.errors import ExportError
from roadmask.export.evaluate import evaluate_model
from roadmask.export.worst import WorstFrames
from roadmask.stream.cli import main
from roadmask.training.dataset import open_dataset
from roadmask.training.public_sets import MAPS, SEGNET_NAMES, class_colors
from tests.support.color_model import COLORS, write_color_model
from tests.support.labelled_colors import HEIGHT, QUARTER, WIDTH, add, street, street_ids, two_drives

SOLID = "solid=Road|Car"


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its classes are Road, Sky and Car."""
    return write_color_model(tmp_path_factory.mktemp("model") / "colors.onnx")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """What is not sky is solid: road or car. Of drive b a quarter is labelled solid that the model takes for sky."""
    root = two_drives(tmp_path / "drives")
    (root / "codes.txt").write_text("sky\nVoid\nsolid\n", encoding="utf-8")
    return root


def test_iou_is_of_the_groups_that_the_labels_tell_apart(model_path: Path, data: Path) -> None:
    result = evaluate_model(model_path, data, class_map=[SOLID])
    assert result.iou == pytest.approx({"Road+Car": 2 / 3, "Sky": 1 / 2})
    assert result.mean_iou == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert result.accuracy == pytest.approx(3 / 4)
    assert result.mapping == {"solid": "Road|Car"}
    assert result.notes == ()


def test_any_class_of_the_set_is_right(model_path: Path, data: Path) -> None:
    picture = street()
    picture[: HEIGHT // 2, WIDTH // 2 :] = COLORS["Car"]
    add(data, "b_1", street_ids(), picture)
    # On the border the model sees a mixture of their colours, which is nearest to a third one's.
    assert evaluate_model(model_path, data, class_map=[SOLID]).accuracy > 0.98
    assert evaluate_model(model_path, data, class_map=["solid=Road"]).accuracy < 0.76


def test_a_class_that_only_sets_name_beside_an_exact_one_joins_them(model_path: Path, data: Path) -> None:
    """`two` says Road or Car, `one` says Car: whether a pixel of `two` is a car is not known, so both are one group."""
    (data / "codes.txt").write_text("sky\nVoid\ntwo\none\n", encoding="utf-8")
    result = evaluate_model(model_path, data, class_map=["two=Road|Car", "one=Car"])
    assert list(result.iou) == ["Road+Car", "Sky"]


def test_groups_that_the_data_never_label_are_not_scored(model_path: Path, data: Path) -> None:
    (data / "codes.txt").write_text("solid\nVoid\nsolid2\n", encoding="utf-8")
    result = evaluate_model(model_path, data, class_map=[SOLID, "solid2=Car|Road"])
    assert result.iou == pytest.approx({"Road+Car": 1 / 2, "Sky": np.nan}, nan_ok=True)
    assert result.notes == ("not scored, as the data has no labels of it: Sky (pixels taken for it are errors)",)


def test_a_json_file_lists_the_classes_of_a_set(model_path: Path, data: Path, tmp_path: Path) -> None:
    file = tmp_path / "map.json"
    file.write_text('{"solid": ["Road", "Car"]}', encoding="utf-8")
    assert evaluate_model(model_path, data, class_map=[str(file)]).iou == pytest.approx({"Road+Car": 2 / 3, "Sky": 0.5})


def test_a_later_mapping_of_a_set_counts(model_path: Path, data: Path) -> None:
    assert list(evaluate_model(model_path, data, class_map=[SOLID, "solid=Road"]).iou) == ["Road", "Sky", "Car"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("solid=Road|Lorry", r"--map solid=Road\|Lorry: the model has no class 'Lorry'; it has Road, Sky, Car"),
        ("solid=Road|void", r"--map solid=Road\|void: class 'solid': 'Road\|void' is void and a class"),
        ("solid=Road|", r"--map solid=Road\|: class 'solid': 'Road\|' lacks the name of a class"),
    ],
)
def test_a_set_that_makes_no_sense_is_one_line(model_path: Path, data: Path, value: str, message: str) -> None:
    with pytest.raises(ExportError, match=message) as caught:
        evaluate_model(model_path, data, class_map=[value])
    assert "\n" not in str(caught.value)


def test_table_and_files_follow_the_groups(
    model_path: Path, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "scores"
    arguments = ["eval", str(model_path), str(data), "--map", SOLID]
    assert main(arguments) == 0
    told = capfd.readouterr().out
    assert "Road+Car │ 0.6667 │        75.00%" in told
    assert "mIoU     │ 0.5833" in told
    assert main([*arguments, "-o", str(folder), "--json"]) == 0
    content = json.loads(capfd.readouterr().out)
    assert content["iou"] == {"Road+Car": 0.666667, "Sky": 0.5}
    assert content["map"] == {"solid": "Road|Car"}
    with (folder / "confusion.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [
            ["truth", "Road+Car", "Sky"],
            ["Road+Car", str(2 * QUARTER), str(QUARTER)],
            ["Sky", "0", str(QUARTER)],
        ]
    with (folder / "frames.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file))[1] == ["b_1", "b", "0.583333", "0.750000", ""]
    assert (folder / "worst.png").is_file()
    assert (folder / "confusion.png").is_file()


def test_only_what_is_outside_the_set_is_red_on_the_sheet(model_path: Path, data: Path) -> None:
    worst = WorstFrames(1)
    result = evaluate_model(model_path, data, class_map=[SOLID], choice=everything, on_frame=worst.add)
    assert worst.names == ["b_1"]
    sheet = np.asarray(worst.sheet(result.labels))
    red = (sheet[..., 0] > 150) & (sheet[..., 1] < 100) & (sheet[..., 2] < 100)
    assert red[: HEIGHT + 32, 3 * (WIDTH + 8) :].sum() == QUARTER


def test_idd_lite_is_scored_in_its_four_groups(data: Path) -> None:
    (data / "codes.txt").write_text("\n".join(MAPS["idd-lite"]), encoding="utf-8")
    dataset = open_dataset(data)
    model = SEGNET_NAMES[:-1]
    matched = match_classes(dataset, model, class_colors(model), parse_map(["idd-lite"], dataset))
    assert matched.labels.groups(matched.codes).names == (
        "Sky",
        "Building+Column_Pole+Sidewalk+Tree+SignSymbol+Fence",
        "Road",
        "Car+Pedestrian+Bicyclist",
    )
