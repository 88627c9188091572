"""Classes of the data that go by other names than the model's: matched, mapped, or refused with a way out."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from roadmask.export.choice import everything
from roadmask.export.classmap import match_classes, parse_map
from roadmask.export.errors import ExportError
from roadmask.export.evaluate import evaluate_model
from roadmask.stream.cli import main
from roadmask.training.classmap import targets
from roadmask.training.dataset import Dataset, open_dataset
from roadmask.training.label_pictures import VOID
from roadmask.training.public_sets import (
    CAMVID32_TO_11,
    CAMVID_COLORS,
    MAPS,
    SEGNET_NAMES,
    ClassMap,
    class_colors,
)
from tests.support.color_model import write_color_model
from tests.support.label_kinds import KINDS, OWN_NAMES
from tests.support.labelled_colors import CAR, QUARTER, ROAD, SKY, VOID_ID, add, street_ids, two_drives, wrong_ids

MODEL = ("Road", "Sky", "Car")  # the classes of `color_model.py`


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_color_model(tmp_path_factory.mktemp("model") / "colors.onnx")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return two_drives(tmp_path / "drives")


def codes_of(dataset: Dataset, model: Sequence[str], mapping: ClassMap) -> NDArray[np.uint8]:
    return match_classes(dataset, model, class_colors(model), mapping).code_of_class


def name_classes(data: Path, *names: str) -> None:
    (data / "codes.txt").write_text("\n".join(names) + "\n", encoding="utf-8")


def test_namesakes_match_whatever_their_order_and_case(data: Path) -> None:
    table = codes_of(open_dataset(data), MODEL, {})  # sky, road, car
    np.testing.assert_array_equal(table[:4], [1, 0, 2, VOID])


def test_mapped_classes_are_scored_as_the_models(model_path: Path, data: Path) -> None:
    name_classes(data, "sky", "void", "Lane", "Lorry")
    result = evaluate_model(model_path, data, class_map=["lane=Road", "Lorry=car"])
    assert result.iou == pytest.approx({"Road": 2 / 3, "Sky": 1 / 2, "Car": np.nan}, nan_ok=True)
    assert result.mapping == {"Lane": "Road", "Lorry": "car"}
    assert result.notes == ()


def test_a_class_mapped_to_void_does_not_count(model_path: Path, data: Path) -> None:
    name_classes(data, "sky", "void", "road", "bonnet")
    add(data, "b_1", wrong_ids(CAR))
    result = evaluate_model(model_path, data, class_map=["bonnet=void"])
    assert result.confusion.sum() == 3 * QUARTER
    assert result.accuracy == 1


def test_of_two_mappings_of_a_class_the_last_one_counts(data: Path, tmp_path: Path) -> None:
    name_classes(data, "sky", "void", "lane", "lorry")
    file = tmp_path / "map.json"
    file.write_text(json.dumps({"lane": "Car", "lorry": "Car"}), encoding="utf-8")
    assert parse_map([str(file), "lane=Road"], open_dataset(data)) == {"lane": "Road", "lorry": "Car"}


def test_a_class_the_data_cannot_label_is_not_scored_and_its_pixels_are_errors(model_path: Path, data: Path) -> None:
    name_classes(data, "void", "road")  # ids 0 and 1: no sky, no car
    add(data, "b_1", np.ones_like(street_ids()))  # all road; the model calls half of it sky
    result = evaluate_model(model_path, data)
    assert result.iou == pytest.approx({"Road": 1 / 2, "Sky": np.nan, "Car": np.nan}, nan_ok=True)
    assert result.mean_iou == pytest.approx(1 / 2)  # not 1/4
    assert result.accuracy == pytest.approx(1 / 2)
    assert result.notes == ("not scored, as the data has no labels of it: Sky, Car (pixels taken for it are errors)",)


def test_what_is_not_scored_is_said_in_the_table_and_in_json(
    model_path: Path, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    name_classes(data, "sky", "void", "road")
    assert main(["eval", str(model_path), str(data)]) == 0
    assert "not scored, as the data has no labels of it: Car" in capfd.readouterr().out
    assert main(["eval", str(model_path), str(data), "--json"]) == 0
    content = json.loads(capfd.readouterr().out)
    assert content["not_scored"] == ["Car"]
    assert content["iou"]["Car"] is None


def test_classes_that_do_not_match_are_named_on_both_sides_with_a_map_that_works(model_path: Path, data: Path) -> None:
    name_classes(data, "sky", "void", "road surface", "tram")
    with pytest.raises(ExportError) as caught:
        evaluate_model(model_path, data)
    message = str(caught.value)
    assert "\n" not in message
    assert "not in the model: road surface, tram; not in the data: Road, Car;" in message
    words = shlex.split(message.partition(" with ")[2])
    assert words == ["--map", "road surface=Road", "--map", "tram=void"]
    assert evaluate_model(model_path, data, class_map=words[1::2]).iou["Road"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("class_map", "message"),
    [
        ("Trukc=Car", "the data has no class 'Trukc'; it has sky, Void, road, car"),
        ("car=Lorry", "the model has no class 'Lorry'; it has Road, Sky, Car, and void leaves a class out"),
        ("Void=Car", "class 'Void' of the data is never scored"),
        ("car", "neither CLASS=CLASS"),
        ("=Car", "neither CLASS=CLASS"),
        ("no.json", "cannot be read"),
    ],
)
def test_a_map_that_makes_no_sense_is_refused_in_one_line(data: Path, class_map: str, message: str) -> None:
    dataset = open_dataset(data)
    with pytest.raises(ExportError, match=message) as caught:
        codes_of(dataset, MODEL, parse_map([class_map], dataset))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "one object of pairs"),
        ('{"a": 1}', "'a' must be a class, a list of classes, or \"void\"; not 1"),
        ("{", "not JSON"),
    ],
)
def test_a_map_file_that_is_not_one_is_refused(data: Path, tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "map.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ExportError, match=message):
        parse_map([str(file)], open_dataset(data))


def test_mapping_all_to_void_is_an_error(data: Path) -> None:
    mapping = dict.fromkeys(("sky", "road", "car"), "void")
    with pytest.raises(ExportError, match="nothing is left to score"):
        codes_of(open_dataset(data), MODEL, mapping)


def test_camvids_table_maps_all_32_classes_to_the_11() -> None:
    assert set(CAMVID32_TO_11) == set(CAMVID_COLORS)
    assert set(CAMVID32_TO_11.values()) == set(SEGNET_NAMES)


def test_for_camvids_32_classes_and_a_model_of_the_11_the_message_proposes_its_table(data: Path) -> None:
    name_classes(data, *CAMVID_COLORS)
    dataset = open_dataset(data)
    model = SEGNET_NAMES[:-1]
    with pytest.raises(ExportError, match=r"say what they are with --map camvid32$"):
        codes_of(dataset, model, {})
    table = codes_of(dataset, model, parse_map(["camvid32"], dataset))
    scored_as = dict(zip(dataset.class_names, table.tolist(), strict=False))
    assert scored_as["SUVPickupTruck"] == scored_as["Truck_Bus"] == model.index("Car")
    assert scored_as["Archway"] == scored_as["Train"] == VOID


def test_for_idd_lites_classes_the_message_proposes_its_map(data: Path) -> None:
    name_classes(data, *MAPS["idd-lite"])
    with pytest.raises(ExportError, match=r"say what they are with --map idd-lite$"):
        codes_of(open_dataset(data), SEGNET_NAMES[:-1], {})


def test_camvids_table_may_be_used_for_some_of_its_classes_and_changed(data: Path) -> None:
    name_classes(data, "Sky", "Void", "Road", "LaneMkgsDriv")
    dataset = open_dataset(data)
    table = codes_of(dataset, MODEL, parse_map(["camvid32"], dataset))
    np.testing.assert_array_equal(table[:3], [1, 0, 0])
    table = codes_of(dataset, MODEL, parse_map(["camvid32", "LaneMkgsDriv=void"], dataset))
    np.testing.assert_array_equal(table[:3], [1, 0, VOID])


def test_ids_are_those_of_the_data(data: Path) -> None:
    assert [open_dataset(data).codes[index] for index in (SKY, VOID_ID, ROAD, CAR)] == ["sky", "Void", "road", "car"]


def test_a_class_of_a_strange_name_is_proposed_by_what_the_model_sees_there(model_path: Path, data: Path) -> None:
    name_classes(data, "sky", "void", "zzz", "qqq")
    with pytest.raises(ExportError) as caught:
        evaluate_model(model_path, data, choice=everything)
    message = str(caught.value)
    assert "80% of zzz is Road to the model; say what they are with " in message
    words = shlex.split(message.partition(" with ")[2])
    assert words == ["--map", "zzz=Road", "--map", "qqq=void"]


def test_never_is_void_proposed_for_all_classes(model_path: Path, data: Path) -> None:
    name_classes(data, "xxx", "void", "zzz")
    with pytest.raises(ExportError, match=r"--map xxx=Sky --map zzz=Road$"):
        evaluate_model(model_path, data)


def test_names_are_the_same_whatever_their_case_blanks_and_underscores(data: Path) -> None:
    name_classes(data, "SKY", "void", "traffic_light", "Drivable-Fallback")
    dataset = open_dataset(data)
    assert parse_map(["idd"], dataset) == {
        "SKY": "Sky",
        "traffic_light": "SignSymbol",
        "Drivable-Fallback": "Road",
    }


@pytest.mark.parametrize("name", MAPS)
def test_every_table_in_the_box_goes_to_camvids_11(name: str) -> None:
    assert {target for text in MAPS[name].values() for target in targets(text)} <= set(SEGNET_NAMES)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in OWN_NAMES])
def test_labels_of_every_kind_are_scored(model_path: Path, tmp_path: Path, kind: str) -> None:
    """The colours of the pictures are near those that the model knows, so nearly all is right."""
    KINDS[kind](tmp_path)
    evaluation = evaluate_model(model_path, tmp_path)
    assert len(evaluation.frames) == 2
    assert evaluation.total.accuracy > 0.95
