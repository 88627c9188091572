"""Labels as people have them: recognised and read to the same masks, or refused in one line that says the cure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from roadmask.stream.cli import main
from roadmask.training.class_lists import read_class_list
from roadmask.training.dataset import class_shares, open_dataset
from roadmask.training.errors import DataError
from roadmask.training.label_pictures import VOID
from roadmask.training.split import split
from tests.support.datasets import CODES, ID_COLORS, NAMES, draw_ids, frame_name, make_fastai, save_png, with_names
from tests.support.label_kinds import KINDS, OWN_NAMES, lines

Pixels = NDArray[np.uint8]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_fastai(tmp_path / "data")


def labels_as(data: Path, encode: Callable[[Pixels], Pixels | NDArray[np.uint16]]) -> Path:
    for path in sorted((data / "labels").iterdir()):
        with Image.open(path) as image:
            ids = np.asarray(image)
        save_png(path, encode(ids))  # type: ignore[arg-type]
    return data


def assert_same_masks(data: Path, names: tuple[str, ...] = NAMES) -> None:
    """As `draw_ids` draws them."""
    dataset = open_dataset(data)
    assert dataset.examples
    table = np.full(256, VOID)
    table[[CODES.index(name) for name in NAMES]] = [dataset.class_names.index(name) for name in names]
    for example in dataset.examples:
        _, mask = dataset.read(example)
        np.testing.assert_array_equal(mask, table[draw_ids(int(example.picture.stem[2:6]))])


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_street_is_read_whatever_tool_or_data_set_has_labelled_it(tmp_path: Path, kind: str) -> None:
    KINDS[kind](tmp_path)
    assert_same_masks(tmp_path, OWN_NAMES.get(kind, NAMES))
    chosen = split(open_dataset(tmp_path))
    assert {example.picture.stem[:6] for example in chosen.valid} == {frame_name(4), frame_name(5)}
    assert len(chosen.train) == 4
    assert {example.drive for example in chosen.train} == {"A", "B"}


WIDE = np.array([0, 65535, 2, 3], np.uint16)
ENCODINGS: dict[str, Callable[[Pixels], Pixels | NDArray[np.uint16]]] = {
    "void as 255": lambda ids: np.where(ids == 1, 255, ids).astype(np.uint8),
    "16 bits": lambda ids: ids.astype(np.uint16),
    "16 bits, void as 65535": lambda ids: WIDE[ids],
    "three equal channels": lambda ids: np.dstack([ids] * 3),
    "three equal channels and alpha": lambda ids: np.dstack([ids] * 3 + [np.full_like(ids, 255)]),
    "gray with alpha": lambda ids: np.dstack([ids, np.full_like(ids, 255)]),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_ids_are_ids_in_whatever_picture(data: Path, encoding: str) -> None:
    assert_same_masks(labels_as(data, ENCODINGS[encoding]))


def test_names_may_have_any_ending_and_suffixes_any_case(data: Path) -> None:
    for index, ending in enumerate(["", "_P", "_L", "_mask", "_labelIds", "_label", "_gt", "_seg"]):
        name = frame_name(index)
        (data / "labels" / f"{name}_P.png").rename(data / "labels" / f"{name}{ending}.PNG")
        (data / "images" / f"{name}.png").rename(data / "images" / f"{name}.Png")
    (data / "labels" / "._A_0000.PNG").write_bytes(b"what macOS leaves in a zip")
    assert_same_masks(data)
    assert main(["data", str(data)]) == 0


@pytest.mark.parametrize(("pictures", "labels"), [("images", "masks"), ("img", "ann"), ("Images", "Labels")])
def test_folders_may_have_other_names_and_folders_in_them(data: Path, pictures: str, labels: str) -> None:
    for old, new in (("images", pictures), ("labels", labels)):
        (data / old).rename(data / f".{old}")
        (data / new / "monday").mkdir(parents=True)
        for path in (data / f".{old}").iterdir():
            path.rename(data / new / "monday" / path.name)
    assert_same_masks(data)
    assert len(split(open_dataset(data)).valid) == 2


def test_pictures_of_equal_names_in_several_folders_are_told_apart(tmp_path: Path) -> None:
    for number, drive in enumerate(("monday", "tuesday")):
        for index in range(2):
            ids = draw_ids(2 * number + index)
            save_png(tmp_path / "images" / drive / f"{index}.png", ID_COLORS[ids])
            save_png(tmp_path / "labels" / drive / f"{index}.png", ids)
    lines(tmp_path / "codes.txt", *CODES)
    lines(tmp_path / "valid.txt", "monday/1.png")
    dataset = open_dataset(tmp_path)
    assert {example.drive for example in dataset.examples} == {"monday", "tuesday"}
    assert [example.name for example in split(dataset).valid] == ["monday/1"]
    for number, example in enumerate(dataset.examples):
        np.testing.assert_array_equal(dataset.label_ids(example), draw_ids(number))


def test_black_and_white_is_two_classes(data: Path) -> None:
    with_names(labels_as(data, lambda ids: ((ids == 3) * 255).astype(np.uint8)), "other", "car")
    dataset = open_dataset(data)
    for index, example in enumerate(dataset.examples):
        np.testing.assert_array_equal(dataset.read(example)[1], draw_ids(int(example.name[2:])) == 3, str(index))


def test_in_black_and_white_255_is_void_where_that_is_told(data: Path) -> None:
    with_names(labels_as(data, lambda ids: ((ids == 3) * 255).astype(np.uint8)), "other", "car")
    assert main(["data", str(data), "--void", "255"]) == 0
    dataset = open_dataset(data)
    masks = {value for example in dataset.examples for value in np.unique(dataset.read(example)[1]).tolist()}
    assert masks == {0, VOID}


def test_a_1_among_black_and_white_is_never_guessed(data: Path) -> None:
    with_names(labels_as(data, lambda ids: ((ids == 3) * 255).astype(np.uint8)), "other", "car")
    dataset = open_dataset(data)
    save_png(dataset.examples[0].label, (draw_ids(0) == 3).astype(np.uint8))
    with pytest.raises(DataError, match=r"holds 1, where the others looked at are black and white.*--void 255"):
        dataset.read(dataset.examples[0])


def test_colours_without_a_list_ask_for_one_in_a_line_that_names_them(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels_as(data, lambda ids: ID_COLORS[ids])
    for command in (["data", str(data)], ["train", str(data), "-o", str(data / "run")]):
        assert main(command) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert f"write {data / 'label_colors.txt'}, a line R G B NAME for each class; there are 200 220 255, " in line
    rows = (f"{' '.join(map(str, color))} {code}" for color, code in zip(ID_COLORS.tolist(), CODES, strict=True))
    lines(data / "label_colors.txt", *rows)
    assert_same_masks(data)


def test_stray_colours_become_void_and_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    KINDS["kaggle_camvid"](tmp_path)
    path = tmp_path / "train_labels" / f"{frame_name(0)}_L.png"
    with Image.open(path) as image:
        pixels = np.array(image)
    pixels[:2, :5] = (1, 2, 3)
    save_png(path, pixels)
    dataset = open_dataset(tmp_path)
    assert (dataset.read(dataset.examples[0])[1][:2, :5] == VOID).all()
    assert main(["data", str(tmp_path)]) == 0
    assert f"note: 10 pixels of 1 labels are in colours of no class, and void: {path}" in capsys.readouterr().out


def test_jpeg_labels_are_refused_with_the_reason(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (data / "labels").iterdir():
        Image.open(path).save(path.with_suffix(".jpg"))
        path.unlink()
    assert main(["data", str(data)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "labels are JPEGs (8 files, A_0000_P.jpg the first), which changes ids and colours at every edge" in line


def test_one_class_beside_void_is_refused_with_a_cure_that_works(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_names(labels_as(data, lambda ids: (ids == 2).astype(np.uint8)), "unlabeled", "road")
    assert main(["data", str(data)]) == 1
    assert "road is all there is beside void, " in capsys.readouterr().out
    assert main(["train", str(data), "-o", str(data / "run")]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    cure = said.partition("too: roadmask ")[2].split()
    assert cure == ["data", str(data), "--background", "other"]
    assert main(cure) == 0
    assert open_dataset(data).class_names == ("other", "road")


def test_what_no_outline_covers_is_learnt_where_it_is_named(tmp_path: Path) -> None:
    KINDS["yolo"](tmp_path)
    assert main(["data", str(tmp_path), "--background", "rest"]) == 0
    dataset = open_dataset(tmp_path)
    assert dataset.class_names == ("Sky", "Road", "Car", "rest")
    np.testing.assert_array_equal(dataset.read(dataset.examples[0])[1] == 3, draw_ids(0) == 1)


def test_what_cannot_be_seen_is_told_once_and_kept(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "codes.txt").unlink()
    (data / "images").rename(data / "frames")
    (data / "labels").rename(data / "truth")
    assert main(["data", str(data)]) == 1
    assert f"roadmask data {data} --layout PICTURES:LABELS" in capsys.readouterr().err
    assert main(["data", str(data), "--layout", "frames:truth"]) == 1
    assert "no codes.txt with the class names" in capsys.readouterr().err
    assert not (data / "roadmask-data.json").exists(), "nothing is kept that does not open the data set"
    words = ["--layout", "frames:truth", "--codes", "Sky,bonnet,Road,Car", "--void", "1"]
    assert main(["data", str(data), *words]) == 0
    out = capsys.readouterr().out
    assert f"kept for train, eval and export: {data / 'roadmask-data.json'}" in out
    assert "in frames/ with truth/NAME_P.png" in out
    assert "labels: class ids (8 bits); void: bonnet, 255; classes by --codes" in out
    assert_same_masks(data)
    assert main(["data", str(data), "--background", "bonnet"]) == 0, "adds to what was told before"
    (data / "roadmask-data.json").write_text('{"void": "all"}', encoding="utf-8")
    with pytest.raises(DataError, match="says nothing that 'roadmask data' writes; delete it"):
        open_dataset(data)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--layout", "frames"], "is not PICTURES:LABELS"),
        (["--codes", "road"], "neither a file, nor names such as other,road, nor one of bdd100k"),
        (["--void", "256"], "is not ids from 0 to 255"),
        (["--split", "0.9"], "--split"),
    ],
)
def test_what_says_nothing_is_wrong_usage(
    data: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", str(data), *words]) == 2
    assert told in capsys.readouterr().err


def test_a_kind_of_problem_is_one_line_with_a_count_and_three_files(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(5):
        save_png(data / "labels" / f"{frame_name(index)}_P.png", draw_ids(index) + np.uint8(1 + index))
    assert main(["data", str(data)]) == 1
    out = capsys.readouterr().out.splitlines()
    (line,) = [line for line in out if line.startswith("problem: ")]
    names = ", ".join(str(data / "labels" / f"{name}_P.png") for name in ("A_0000", "A_0002", "A_0004"))
    assert line.startswith("problem: 5 files: class id 4 is not in the list of 4 classes")
    assert line.endswith(f"{names}, ...")
    assert "1 problem found" in out


def test_what_it_was_taken_for_is_said_in_five_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    KINDS["cityscapes"](tmp_path)
    assert main(["data", str(tmp_path)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line for line in out if not line.startswith(("┏", "┃", "┡", "│", "└", "19 classes;"))] == [
        f"{tmp_path}: 6 pictures in the layout of Cityscapes: leftImg8bit/ with gtFine/NAME_gtFine_labelTrainIds.png",
        "labels: class ids (8 bits); void: 255; classes by the list of cityscapes",
        "sizes: 96x64 (6)",
        "2 drives: A (3), B (3)",
        "validation split by folder val: 4 to train on, 2 to score on",
    ]


@pytest.mark.parametrize(
    ("kind", "harm", "told"),
    [
        ("yolo", lambda _: "0 0.5 0.5 0.2 0.2\n", "boxes, which say nothing of pixels"),
        ("yolo", lambda text: "9" + text[1:], "class 9, which is not in the list of 3 classes"),
        ("yolo", lambda text: text.replace("0.", "x", 1), "could not convert"),
        ("coco_polygons", lambda text: text[:-20], "not JSON"),
        (
            "coco_polygons",
            lambda text: text.replace('"file_name": "', '"file_name": "no_'),
            "such as 'no_A_0000.png', is",
        ),
        ("label_studio", lambda text: text.replace('"rle": [0, ', '"rle": [1, '), "brush that is not of 96x64 pixels"),
        ("labelme", lambda text: text.replace("points", "dots"), "not as such a file is known here"),
    ],
)
def test_a_file_of_a_tool_that_is_not_as_it_should_be_is_named_with_its_fault(
    tmp_path: Path, kind: str, harm: Callable[[str], str], told: str
) -> None:
    KINDS[kind](tmp_path)
    lists = {tmp_path / "valid.txt", tmp_path / "data.yaml", tmp_path / "label_config.xml"}
    for path in {path for path in tmp_path.rglob("*") if path.suffix in (".txt", ".json")} - lists:
        path.write_text(harm(path.read_text()))
    with pytest.raises(DataError, match=told) as caught:
        class_shares(open_dataset(tmp_path), open_dataset(tmp_path).examples[:1])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda root: (root / "labels").rename(root / "truth"), "needs images/ and labels/"),
        (lambda root: [path.unlink() for path in (root / "labels").iterdir()], "holds no labels"),
        (
            lambda root: [path.rename(path.with_name(f"x{path.name}")) for path in (root / "labels").iterdir()],
            "no label is named as a picture; for A_0000.png there should be A_0000.png or A_0000_mask.png",
        ),
    ],
)
def test_a_layout_that_is_none_is_named_once_with_what_is_expected(
    data: Path, make: Callable[[Path], object], told: str
) -> None:
    make(data)
    with pytest.raises(DataError, match=told) as caught:
        open_dataset(data)
    assert "\n" not in str(caught.value)


def test_a_folder_for_each_drive_is_one_data_set_and_drives_go_by_its_name(tmp_path: Path) -> None:
    for drive in ("monday", "tuesday"):
        data = make_fastai(tmp_path / "all" / drive, count=3)
        for name in ("codes.txt", "valid.txt"):
            (data / name).unlink()
    lines(tmp_path / "all" / "codes.txt", *CODES)
    assert_same_masks(tmp_path / "all")
    dataset = open_dataset(tmp_path / "all")
    assert {example.name for example in dataset.examples} == {
        f"{drive}/{frame_name(index)}" for drive in ("monday", "tuesday") for index in range(3)
    }
    found = split(dataset, valid_drives=["tuesday*"])
    assert {example.picture.parts[-3] for example in found.valid} == {"tuesday"}
    assert (len(found.train), len(found.valid)) == (3, 3)


def test_drives_whose_frames_have_numbers_alone_go_by_their_folders(tmp_path: Path) -> None:
    for drive in ("monday", "tuesday"):
        for number in range(2):
            save_png(tmp_path / drive / "images" / f"{number:04}.png", ID_COLORS[draw_ids(number)])
            save_png(tmp_path / drive / "labels" / f"{number:04}.png", draw_ids(number))
    lines(tmp_path / "codes.txt", *CODES)
    assert {example.drive for example in open_dataset(tmp_path).examples} == {"monday", "tuesday"}


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("annotations.xml", "<annotations><version>1.1</version>", "export the task as Segmentation mask 1.1"),
        ("Annotations/a.xml", "<annotation><object><bndbox>", "outlines are needed, as for segmentation"),
        ("via_project.json", '{"a.jpg": {"regions": [{"shape_attributes": {}}]}}', "export the project as COCO"),
        ("ds0/ann/a.jpg.json", '{"objects": [{"classTitle": "road"}]}', "export the project as masks, or as COCO"),
        ("task_3.zip", "PK", "labels may be in task_3.zip; unpack it"),
    ],
)
def test_what_another_tool_keeps_for_itself_is_named_with_what_to_export(
    tmp_path: Path, name: str, content: str, told: str
) -> None:
    save_png(tmp_path / "pictures" / "a.png", ID_COLORS[draw_ids(0)])
    lines(tmp_path / name, content)
    if name.startswith("ds0"):
        lines(tmp_path / "meta.json", '{"classes": []}')
    with pytest.raises(DataError, match=told) as raised:
        open_dataset(tmp_path)
    assert "\n" not in str(raised.value)


def test_labels_that_are_arrays_are_refused_with_the_cure(data: Path) -> None:
    for path in sorted((data / "labels").iterdir()):
        np.save(path.with_suffix(".npy"), draw_ids(0))
        path.unlink()
    with pytest.raises(DataError, match=r"holds no labels .*, but \.npy; save them as PNGs of class ids"):
        open_dataset(data)


def test_mapillary_s_own_list_of_classes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config_v2.0.json"
    lines(path, '{"version": 2, "labels": [{"name": "a--b", "readable": "Bird"}, {"readable": "Unlabeled"}]}')
    assert read_class_list(path).codes == ("Bird", "Unlabeled")


def test_a_zip_is_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "data.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match="a zip; unpack it"):
        open_dataset(tmp_path / "data.zip")
