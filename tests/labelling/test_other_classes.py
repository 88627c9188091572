"""Classes as others call them: renamed, merged, with the labels of a task; and what moves, blacked out."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.cli import main
from roadmask.stream.errors import RoadmaskError
from roadmask.stream.report.run import ReportSettings, look_at
from roadmask.stream.spec import PixelClass, map_classes
from tests.support.clips import cfr, make_clip
from tests.support.color_model import halves, write_color_model
from tests.support.run_command import run
from tests.support.tool_masks import CLASSES, MASKS, names_in, write_masks

SMALL = {index: MASKS[index] for index in (0, 3)}  # of road, car, sky, tree, and pixels of none
KINDS = ["", ".zip", ".npz", ".zarr"]


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    return write_masks(tmp_path / "masks.zip", SMALL)


@pytest.fixture
def sure(tmp_path: Path) -> Path:
    """Masks without pixels of none, as archives take them."""
    return write_masks(tmp_path / "sure.zip", {index: mask % 4 for index, mask in SMALL.items()})


def convert(*arguments: object) -> int:
    return main(["convert", *map(str, arguments), "-q"])


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of an error, without the usage that may stand before it."""
    return capsys.readouterr().err.splitlines()[-1]


def names(classes: tuple[PixelClass, ...]) -> list[str]:
    return [item.name for item in classes]


@pytest.mark.parametrize(
    ("renamed", "called", "ids"),
    [
        ([("car", "vehicle")], ["road", "vehicle", "sky", "tree"], (0, 1, 2, 3)),
        ([("tree", "plant"), ("Sky", "plant")], ["road", "car", "plant"], (0, 1, 2, 2)),
        ([("sky", "Tree")], ["road", "car", "tree"], (0, 1, 2, 2)),  # merged into one that keeps its name and colour
        ([("road", "car"), ("car", "road")], ["car", "road", "sky", "tree"], (0, 1, 2, 3)),  # both are of before
        ([("road", "car"), ("car", "vehicle")], ["car", "vehicle", "sky", "tree"], (0, 1, 2, 3)),  # no chain
        ([("car", "CAR"), ("car", "CAR")], ["road", "CAR", "sky", "tree"], (0, 1, 2, 3)),
        ([(name, "all") for name in ("road", "car", "sky", "tree")], ["all"], (0, 0, 0, 0)),
    ],
)
def test_classes_are_renamed_and_those_of_one_name_are_one(
    renamed: list[tuple[str, str]], called: list[str], ids: tuple[int, ...]
) -> None:
    mapped = map_classes(CLASSES, tuple(renamed))
    assert (names(mapped.classes), mapped.ids) == (called, ids)


def test_one_that_others_are_merged_into_keeps_its_colour_and_a_new_one_has_that_of_its_first() -> None:
    assert map_classes(CLASSES, (("road", "sky"),)).classes[0].color == CLASSES[2].color
    assert map_classes(CLASSES, (("sky", "far"), ("tree", "far"))).classes[2].color == CLASSES[2].color


@pytest.mark.parametrize(
    ("renamed", "message"),
    [
        ((("cra", "vehicle"),), "class 'cra' is not known here; there are road, .*; did you mean car?"),
        ((("car", "a"), ("CAR", "b")), "class 'CAR' cannot be both a and b"),
        ((("car", "a\tb"),), "car cannot be called so: class name"),
    ],
)
def test_what_cannot_be_mapped_is_named(renamed: tuple[tuple[str, str], ...], message: str) -> None:
    with pytest.raises(RoadmaskError, match=message):
        map_classes(CLASSES, renamed)


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_is_converted_to_one_of_other_classes(sure: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / f"out{kind}"
    assert convert(sure, "-o", out, "--map", "car=vehicle, tree = vehicle") == 0
    assert main(["verify", str(out), "-q"]) == 0
    with open_masks(out) as mapped:
        assert names(mapped.classes) == ["road", "vehicle", "sky"]
        for position, index in enumerate(SMALL):
            np.testing.assert_array_equal(mapped[position], np.array([0, 1, 2, 1])[SMALL[index] % 4])


def test_a_map_that_is_none_is_wrong_usage(masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("car", "car=", "=car", "car=a=b", ","):
        assert convert(masks, "-o", tmp_path / "out", "--map", text) == 2
        assert f"--map {text!r} is not such as Car=vehicle,Bicyclist=vehicle" in said(capsys)
    assert not (tmp_path / "out").exists()


def test_a_tool_gets_the_classes_as_they_are_called(masks: Path, tmp_path: Path) -> None:
    chosen = ["--map", "car=vehicle,tree=vehicle", "--classes", "vehicle,sky"]
    assert convert(masks, "--to", "fiftyone", "-o", tmp_path / "out", *chosen) == 0
    assert json.loads((tmp_path / "out" / "mask_targets.json").read_text()) == {"1": "vehicle", "2": "sky"}
    found = cv2.imread(str(tmp_path / "out" / "labels" / "frame_000000.png"), cv2.IMREAD_UNCHANGED)
    was = names_in(MASKS[0])
    np.testing.assert_array_equal(found, np.select([np.isin(was, ["car", "tree"]), was == "sky"], [1, 2], 0))


LABELS = [
    {"id": 3, "name": "Sky", "color": "#0a0b0c", "type": "any", "attributes": []},
    {"name": "drive-able", "color": "", "type": "mask"},
    {"name": "cars", "color": "#010203"},
    {"name": "plate", "color": "#ffffff", "type": "rectangle"},
    {"name": "zebra", "color": "#040506", "type": "polygon"},
]


@pytest.mark.parametrize("form", ["editor", "API"])
def test_classes_get_names_and_colours_of_a_task_s_labels(
    masks: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, form: str
) -> None:
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps(LABELS if form == "editor" else {"count": 5, "results": LABELS}))
    chosen = ["--map", "road=Drive_Able,car=cars", "--exclude", "tree", "--labels", labels]
    with caplog.at_level(logging.WARNING):
        assert convert(masks, "--to", "cvat", "-o", tmp_path / "out", *chosen) == 0
    lines = (tmp_path / "out" / "labelmap.txt").read_text().splitlines()[2:]
    assert lines == ["drive-able:128,64,128::", "cars:1,2,3::", "Sky:10,11,12::"]
    assert f"{labels}: no class is zebra" in caplog.messages


def test_classes_that_are_no_labels_are_named_with_what_is_like_them(
    masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps([*LABELS, {"name": "road", "type": "polyline"}]))
    assert convert(masks, "--to", "coco", "-o", tmp_path / "out", "--labels", labels) == 2
    assert said(capsys) == (
        f"roadmask: {labels}: no label of masks is called road, car, tree; they are Sky, drive-able, cars, zebra; "
        "give each one with --map (did you mean car=cars?), or --exclude it"
    )
    both = ["--map", "car=cars,road=Cars_", "--exclude", "tree"]
    assert convert(masks, "--to", "coco", "-o", tmp_path / "out", "--labels", labels, *both) == 2
    assert "several classes are cars; merge them with --map CLASS=cars" in said(capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "7", '"car"', "[7]", '[{"color": "#ffffff"}]', '[{"name": "car", "color": "#fff"}]', "[" * 9999],
)
def test_a_file_that_holds_no_labels_is_told_in_a_line(
    masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    labels = tmp_path / "labels.json"
    labels.write_text(text)
    assert convert(masks, "--to", "cvat", "-o", tmp_path / "out", "--labels", labels) == 2
    assert f"{labels}: holds no labels for masks; take what a CVAT task's label editor shows under Raw" in said(capsys)
    assert convert(masks, "--to", "cvat", "-o", tmp_path / "out", "--labels", tmp_path / "none.json") == 1
    assert "none.json: cannot be read (No such file or directory)" in said(capsys)


def test_for_colmap_movers_and_what_has_no_label_are_black(masks: Path, tmp_path: Path) -> None:
    assert convert(masks, "--to", "colmap", "-o", tmp_path / "out") == 0
    assert (
        convert(masks, "--to", "colmap", "-o", tmp_path / "far", "--movers", "SKY,tree", "--picture-format", "png") == 0
    )
    for index in SMALL:
        was = names_in(MASKS[index])
        for path, black in (
            (tmp_path / "out" / "masks" / f"frame_{index:06d}.jpg.png", ["car", ""]),
            (tmp_path / "far" / "masks" / f"frame_{index:06d}.png.png", ["sky", "tree", ""]),
        ):
            np.testing.assert_array_equal(cv2.imread(str(path), 0), np.where(np.isin(was, black), 0, 255))


def test_colmap_s_pictures_bear_the_names_of_their_masks(tmp_path: Path) -> None:
    model, clip = (
        write_color_model(tmp_path / "colors.onnx"),
        make_clip(tmp_path / "drive.mp4", cfr(4), picture=halves()),
    )
    assert run(clip, "--masks", tmp_path / "masks", model=model) == 0
    assert convert(tmp_path / "masks", "--to", "colmap", "-o", tmp_path / "out", "--video", clip, "--stride", 3) == 0
    pictures = sorted(path.name for path in (tmp_path / "out" / "images").iterdir())
    assert pictures == ["frame_000000.jpg", "frame_000003.jpg"]
    assert sorted(path.name for path in (tmp_path / "out" / "masks").iterdir()) == [f"{name}.png" for name in pictures]


def test_where_nothing_is_known_to_move_it_is_to_be_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    still = write_masks(tmp_path / "still.zip", {0: np.zeros((8, 8), np.uint8)}, classes=CLASSES[2:])
    assert convert(still, "--to", "colmap", "-o", tmp_path / "out") == 2
    assert "none of sky, tree is known to move; say which: --movers A,B" in said(capsys)
    assert convert(still, "--to", "colmap", "-o", tmp_path / "out", "--movers", "skye") == 2
    assert "class 'skye' is not known" in said(capsys)
    assert not (tmp_path / "out").exists()


def test_a_run_s_statistics_and_report_have_the_classes_as_they_are_called_and_its_masks_do_not(tmp_path: Path) -> None:
    model, clip = (
        write_color_model(tmp_path / "colors.onnx"),
        make_clip(tmp_path / "drive.mp4", cfr(4), picture=halves()),
    )
    mapped = "Sky=above,car=Road"
    outputs = ["--masks", tmp_path / "masks", "--stats", tmp_path / "shares.csv"]
    assert run(clip, *outputs, "--map", mapped, model=model) == 0
    with (tmp_path / "shares.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["index", "time", "Road", "above"]
    assert all(abs(float(row[2]) - 0.5) < 0.1 and abs(float(row[2]) + float(row[3]) - 1) < 2e-6 for row in rows)
    with open_masks(tmp_path / "masks") as masks:
        assert names(masks.classes) == ["Road", "Sky", "Car"]
    settings = ReportSettings(
        (tmp_path / "masks",),
        tmp_path / "report.html",
        stats=tmp_path / "shares.csv",
        renamed=(("Sky", "above"), ("car", "Road")),
    )
    look = look_at(tmp_path / "masks", settings, keyframes=1, number=1, on_progress=lambda *_: None)
    assert (names(look.header.classes), look.problems) == (["Road", "above"], [])
    page = [
        "report",
        tmp_path / "masks",
        "--stats",
        tmp_path / "shares.csv",
        "--map",
        mapped,
        "-o",
        tmp_path / "a.html",
    ]
    assert main([str(word) for word in page]) == 0
    assert "above" in (tmp_path / "a.html").read_text()


def test_a_map_for_a_run_without_statistics_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, clip = write_color_model(tmp_path / "colors.onnx"), make_clip(tmp_path / "drive.mp4", cfr(4))
    assert run(clip, "-o", tmp_path / "out.mp4", "--map", "Car=vehicle", model=model) == 2
    assert "--map is for statistics; pass --stats FILE or -o DIR/" in said(capsys)
    assert run(clip, "--stats", tmp_path / "a.csv", "--map", "Cart=vehicle", model=model) == 2
    assert "class 'Cart' is not known here" in said(capsys)
