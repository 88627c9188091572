"""Labels as zips, links, editors and box tools leave them: read, or refused in a line, and never guessed."""

from __future__ import annotations

import json
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
from PIL import Image

from roadmask.stream.cli import main
from roadmask.training.dataset import open_dataset
from roadmask.training.errors import DataError
from roadmask.training.label_pictures import VOID
from roadmask.training.split import split
from tests.support.datasets import CODES, ID_COLORS, draw_ids, frame_name, make_fastai, save_png
from tests.support.label_kinds import KINDS, lines
from tests.training.test_label_kinds import assert_same_masks, labels_as


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_fastai(tmp_path / "data")


def test_labels_of_two_pictures_of_one_name_are_never_guessed(tmp_path: Path) -> None:
    for drive in ("monday", "tuesday"):
        save_png(tmp_path / "images" / drive / "1.png", ID_COLORS[draw_ids(0)])
    save_png(tmp_path / "labels" / "1.png", draw_ids(0))
    with pytest.raises(DataError, match=r"labels/1.png: may be of .*monday/1.png or of .*tuesday/1.png; put labels"):
        open_dataset(tmp_path)


def test_folders_that_are_links_are_looked_into_once(data: Path) -> None:
    for name in ("images", "labels"):
        (data / name).rename(data / f"there_{name}")
        (data / name).mkdir()
        (data / name / "monday").symlink_to(data / f"there_{name}")
        (data / f"there_{name}" / "again").symlink_to(data / name)
    assert_same_masks(data)
    assert len(open_dataset(data).examples) == 8


def test_a_data_set_in_a_folder_of_its_own_is_found_as_it_comes_out_of_a_zip(tmp_path: Path) -> None:
    make_fastai(tmp_path / "export" / "mydata")
    (tmp_path / "__MACOSX").mkdir()
    assert_same_masks(tmp_path)
    assert main(["data", str(tmp_path), "--void", "1"]) == 0, "and its own valid.txt counts"
    assert main(["data", str(tmp_path)]) == 0, "with what was told beside it, too"


def test_a_label_may_be_named_as_the_whole_file_of_its_picture(data: Path) -> None:
    for index in range(8):
        name = frame_name(index)
        (data / "labels" / f"{name}_P.png").rename(data / "labels" / f"{name}.png.png")
    assert_same_masks(data)


def test_names_are_the_same_however_their_accents_are_written(tmp_path: Path) -> None:
    """As one letter, or as macOS has it, as a letter and an accent."""
    for index in range(4):
        name = f"Zürich_0{index}"
        save_png(tmp_path / "images" / f"{normalize('NFD', name)}.png", ID_COLORS[draw_ids(index)])
        save_png(tmp_path / "labels" / f"{normalize('NFC', name)}_P.png", draw_ids(index))
    lines(tmp_path / "codes.txt", *CODES)
    lines(tmp_path / "valid.txt", normalize("NFC", "Zürich_03.png"))
    dataset = open_dataset(tmp_path)
    for index, example in enumerate(dataset.examples):
        np.testing.assert_array_equal(dataset.label_ids(example), draw_ids(index))
    assert [example.picture.stem[-2:] for example in split(dataset).valid] == ["03"]


def test_a_folder_of_labels_for_each_class_is_refused_with_the_cure(data: Path) -> None:
    for path in sorted((data / "labels").iterdir()):
        for name in ("road", "sky"):
            target = data / "labels" / name / path.name
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes())
        path.unlink()
    with pytest.raises(DataError, match=r"has 2 labels of .*, in road, sky; a picture has one, of the ids of all"):
        open_dataset(data)


def test_ids_may_be_floats_if_they_are_whole(data: Path) -> None:
    for path in sorted((data / "labels").iterdir()):
        with Image.open(path) as image:
            ids = np.asarray(image).astype(np.float32)
        ids[ids == 1] = np.nan
        Image.fromarray(ids).save(path.with_suffix(".tif"))
        path.unlink()
    assert_same_masks(data)
    example = open_dataset(data).examples[0]
    Image.fromarray(np.full((64, 96), 0.5, np.float32)).save(example.label)
    with pytest.raises(DataError, match="these are numbers with fractions"):
        open_dataset(data).read(example)


def test_colours_that_an_editor_has_changed_by_a_shade_are_the_classes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    KINDS["kaggle_camvid"](tmp_path)
    rng = np.random.default_rng(0)
    for path in tmp_path.glob("*_labels/*.png"):
        with Image.open(path) as image:
            pixels = np.array(image).astype(int)
        save_png(path, (pixels + rng.integers(-2, 3, pixels.shape)).clip(0, 255).astype(np.uint8))
    assert_same_masks(tmp_path)
    assert main(["data", str(tmp_path)]) == 0
    assert "pixels of 6 labels are a shade off the colour of a class, and taken for it: " in capsys.readouterr().out


def test_colours_between_classes_that_are_neighbours_are_of_none(data: Path) -> None:
    labels_as(data, lambda ids: np.dstack([ids * 2, ids, ids]).astype(np.uint8))
    lines(data / "label_colors.txt", "0 0 0 Sky", "2 1 1 Void", "4 2 2 Road", "6 3 3 Car")
    example = open_dataset(data).examples[0]
    save_png(example.label, np.full((64, 96, 3), (3, 1, 1), np.uint8))
    with pytest.raises(DataError, match=r"colour \(3, 1, 1\) is not in the list of classes"):
        open_dataset(data).read(example)


def with_boxes(root: Path, *names: str) -> None:
    """COCO's cars of these pictures, or all there is of them, as boxes without outlines."""
    KINDS["coco_polygons"](root)
    for path in root.rglob("*.json"):
        content = json.loads(path.read_text())
        name_of = {image["id"]: image["file_name"] for image in content["images"]}
        for item in content["annotations"]:
            if name_of[item["image_id"]] in names or (not names and item["category_id"] == 4):
                corners = np.reshape(item["segmentation"][0], (-1, 2))
                item["bbox"] = [*corners.min(axis=0).tolist(), *np.ptp(corners, axis=0).tolist()]
                item["segmentation"] = []
        path.write_text(json.dumps(content))


def test_a_box_without_an_outline_is_void_where_the_others_have_outlines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_boxes(tmp_path)
    dataset = open_dataset(tmp_path)
    table = np.array([dataset.class_names.index("Sky"), VOID, dataset.class_names.index("Road"), VOID])
    for example in dataset.examples:
        np.testing.assert_array_equal(dataset.read(example)[1], table[draw_ids(int(example.name[2:]))])
    assert main(["data", str(tmp_path)]) == 0
    assert "what none covers is void, and so are 6 boxes without an outline" in capsys.readouterr().out


def test_boxes_alone_are_refused_in_a_line_that_names_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_boxes(tmp_path, *(f"{frame_name(index)}.png" for index in range(6)))
    assert main(["data", str(tmp_path)]) == 1
    out = capsys.readouterr().out.splitlines()
    (line,) = [line for line in out if line.startswith("problem: ")]
    assert line.startswith("problem: 6 files: boxes, which say nothing of pixels; outlines are needed")
    assert str(tmp_path / "train" / f"{frame_name(0)}.png") in line
    assert not any("void" in line and "%" in line for line in out), "nothing is told of shares where nothing was read"


def test_coco_s_panoptic_kind_is_named_with_what_to_export(tmp_path: Path) -> None:
    KINDS["coco_polygons"](tmp_path)
    for path in tmp_path.rglob("*.json"):
        content = json.loads(path.read_text())
        content["annotations"] = [{"image_id": 0, "file_name": "a.png", "segments_info": []}]
        path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="COCO's panoptic kind; export it with outlines"):
        open_dataset(tmp_path)


def test_a_label_of_another_size_is_refused_with_the_cure(data: Path) -> None:
    first, second = open_dataset(data).examples[:2]
    save_png(first.label, draw_ids(0)[::2, ::2])
    save_png(second.label, draw_ids(1).T)
    with pytest.raises(DataError, match="save the label as large as the picture, without smoothing"):
        open_dataset(data).read(first)
    with pytest.raises(DataError, match="turn the picture as its EXIF note says"):
        open_dataset(data).read(second)


def test_where_names_tell_no_drives_none_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index in range(3):
        save_png(tmp_path / "images" / f"Bild {index} (Kopie).png", ID_COLORS[draw_ids(index)])
        save_png(tmp_path / "labels" / f"Bild {index} (Kopie).png", draw_ids(index))
    lines(tmp_path / "codes.txt", "Sky", "Void", "Road", "Car")
    main(["data", str(tmp_path), "--split", "0.3"])
    assert "drives: none that names tell, as DRIVE_NUMBER would" in capsys.readouterr().out.splitlines()
