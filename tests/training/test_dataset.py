"""Both layouts are read, the split never overlaps, and what is wrong is said in one line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from roadmask.training.dataset import Dataset, class_shares, open_dataset
from roadmask.training.errors import DataError
from roadmask.training.label_pictures import VOID
from roadmask.training.public_sets import CAMVID_COLORS, SEGNET_NAMES, class_colors
from roadmask.training.split import split
from tests.support.datasets import CODES, ID_COLORS, NAMES, draw_ids, frame_name, make_fastai, make_segnet, save_png

EXPECTED = np.array([0, VOID, 1, 2], np.uint8)  # class of each id in CODES


@pytest.fixture
def fastai(tmp_path: Path) -> Path:
    return make_fastai(tmp_path / "fastai")


@pytest.fixture
def segnet(tmp_path: Path) -> Path:
    return make_segnet(tmp_path / "segnet")


@pytest.mark.parametrize("make", [make_fastai, make_segnet])
def test_both_layouts_give_the_same_pictures_and_masks(tmp_path: Path, make: object) -> None:
    assert callable(make)
    dataset = open_dataset(make(tmp_path))
    assert dataset.class_names == NAMES
    assert [example.name for example in dataset.examples] == sorted(
        (frame_name(index) for index in range(8)),
        key=None if make is make_fastai else lambda name: (int(name[2:]) >= 4, int(name[2:]) >= 6, name),
    )
    for example in dataset.examples:
        picture, mask = dataset.read(example)
        ids = draw_ids(int(example.name[2:]))
        assert_array_equal(picture, ID_COLORS[ids])
        assert_array_equal(mask, EXPECTED[ids])


@pytest.mark.parametrize("void_at", range(4))
def test_void_may_stand_anywhere_in_the_class_list(fastai: Path, void_at: int) -> None:
    codes = list(NAMES)
    codes.insert(void_at, "void")
    (fastai / "codes.txt").write_text("\n".join(codes), encoding="utf-8")
    dataset = open_dataset(fastai)
    assert dataset.class_names == NAMES
    assert [dataset.class_of_id[codes.index(name)] for name in NAMES] == [0, 1, 2]
    assert dataset.class_of_id[void_at] == VOID


def test_a_class_list_need_not_have_void(fastai: Path) -> None:
    (fastai / "codes.txt").write_text("a\r\nb\r\nc\r\nd\r\n", encoding="utf-8")
    assert open_dataset(fastai).class_names == ("a", "b", "c", "d")


def test_palette_pictures_are_read_as_ids(fastai: Path) -> None:
    label = fastai / "labels" / f"{frame_name(0)}_P.png"
    ids = draw_ids(0)
    image = Image.fromarray(ids).convert("P")
    image.putdata(ids.ravel().tolist())
    image.putpalette([7, 9, 200, 255, 255, 0, 3, 3, 3, 255, 0, 0])
    image.save(label)
    dataset = open_dataset(fastai)
    with Image.open(label) as stored:
        assert stored.mode == "P"
    assert_array_equal(dataset.read(dataset.examples[0])[1], EXPECTED[ids])


def test_segnets_labels_without_a_list_are_the_tutorials_classes(segnet: Path) -> None:
    (segnet / "codes.txt").unlink()
    dataset = open_dataset(segnet)
    assert dataset.codes == SEGNET_NAMES
    assert dataset.class_names == SEGNET_NAMES[:-1]
    assert dataset.class_colors[3] == CAMVID_COLORS["Road"]


def test_a_class_that_camvid_does_not_have_gets_a_colour_of_its_own() -> None:
    colors = class_colors(["Tractor", "Cow", "sky"])
    assert len(set(colors)) == 3
    assert colors[2] == CAMVID_COLORS["Sky"]


def test_class_shares_are_of_the_pixels_that_are_not_void(fastai: Path) -> None:
    dataset = open_dataset(fastai)
    ids = draw_ids(0)
    counts = np.array([(ids == class_id).sum() for class_id in (0, 2, 3)])
    assert_allclose(class_shares(dataset, dataset.examples[:1]), counts / counts.sum())


def names(dataset: Dataset, **options: object) -> tuple[set[str], set[str]]:
    """The split as names, after the check that its parts do not overlap."""
    chosen = split(dataset, **options)  # type: ignore[arg-type]
    train, valid = {example.name for example in chosen.train}, {example.name for example in chosen.valid}
    assert not train & valid
    assert len(train) == len(chosen.train)
    return train, valid


def test_the_data_sets_own_list_decides_what_is_scored(fastai: Path) -> None:
    train, valid = names(open_dataset(fastai))
    assert valid == {frame_name(0), frame_name(1)}
    assert len(train) == 6


def test_another_list_may_be_given_with_folders_and_windows_line_ends(fastai: Path, tmp_path: Path) -> None:
    listed = tmp_path / "mine.txt"
    listed.write_bytes(b"images/A_0002.png\r\n\r\nB_0005\r\n")
    assert names(open_dataset(fastai), valid_list=listed)[1] == {"A_0002", "B_0005"}


def test_whole_drives_can_be_held_out(fastai: Path) -> None:
    train, valid = names(open_dataset(fastai), valid_drives=["B"])
    assert {name[0] for name in train} == {"A"}
    assert {name[0] for name in valid} == {"B"}


def test_segnets_val_is_scored_and_test_is_in_neither_part(segnet: Path) -> None:
    train, valid = names(open_dataset(segnet))
    assert train == {frame_name(index) for index in range(4)}
    assert valid == {frame_name(4), frame_name(5)}


def test_a_held_out_drive_does_not_bring_test_frames_in(segnet: Path) -> None:
    train, valid = names(open_dataset(segnet), valid_drives=["A"])
    assert not (train | valid) & {frame_name(6), frame_name(7)}


def break_list(root: Path) -> None:
    (root / "valid.txt").write_text("A_0000.png\nA_9999.png\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"valid_drives": ["C"]}, "no drive 'C'; there are A, B"),
        ({"valid_drives": ["A", "B"]}, "0 pictures to train on, 8 to score on"),
        ({"valid_list": Path("nowhere.txt")}, "no such list"),
    ],
)
def test_an_impossible_split_is_refused(fastai: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        names(open_dataset(fastai), **options)


def test_an_empty_list_is_refused(fastai: Path) -> None:
    (fastai / "valid.txt").write_text("\n", encoding="utf-8")
    with pytest.raises(DataError, match="8 pictures to train on, 0 to score on"):
        split(open_dataset(fastai))


def test_a_list_with_a_picture_that_is_not_there_is_refused(fastai: Path) -> None:
    break_list(fastai)
    with pytest.raises(DataError, match="lists 'A_9999', which is not among the pictures here"):
        split(open_dataset(fastai))


def test_without_a_list_the_way_out_is_named(fastai: Path) -> None:
    (fastai / "valid.txt").unlink()
    with pytest.raises(DataError, match="--valid-drive"):
        split(open_dataset(fastai))


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (None, "no codes.txt"),
        ("void\nVoid\n", "no class but void"),
        ("road\n", "names one class; name what is not of it, too: roadmask data .* --codes other,road"),
        ("road\nroad\n", "class 'road' is named twice"),
    ],
)
def test_an_unusable_class_list_is_refused(fastai: Path, codes: str | None, message: str) -> None:
    (fastai / "codes.txt").unlink()
    if codes is not None:
        (fastai / "codes.txt").write_text(codes, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        open_dataset(fastai)


def test_a_class_list_that_is_not_utf_8_is_refused(fastai: Path) -> None:
    (fastai / "codes.txt").write_bytes("Straße\nVoid\n".encode("latin-1"))
    with pytest.raises(DataError, match="UTF-8"):
        open_dataset(fastai)


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(DataError, match="needs images/"):
        open_dataset(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    with pytest.raises(DataError, match="no pictures found"):
        open_dataset(tmp_path)


def damage_jpeg(root: Path) -> None:
    """Half a JPEG, which OpenCV reads with a gray lower part."""
    picture = root / "images" / f"{frame_name(0)}.png"
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    Image.fromarray(noise).save(picture.with_suffix(".jpg"))
    picture.unlink()
    content = picture.with_suffix(".jpg").read_bytes()
    picture.with_suffix(".jpg").write_bytes(content[: len(content) // 2])


def damage_png(root: Path) -> None:
    picture = root / "images" / f"{frame_name(0)}.png"
    picture.write_bytes(picture.read_bytes()[:-40])


LABEL = Path("labels") / f"{frame_name(0)}_P.png"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / LABEL).unlink(), "no such file"),
        (lambda root: (root / LABEL).write_text("no picture", encoding="utf-8"), "not a picture"),
        (lambda root: save_png(root / LABEL, draw_ids(0, 32, 48)), "label is 48x32, its picture 96x64"),
        (lambda root: save_png(root / LABEL, draw_ids(0) + np.uint8(2)), "class id 5 is not in the list of 4"),
        (lambda root: save_png(root / LABEL, ID_COLORS[draw_ids(0)]), "one channel of class ids"),
        (damage_jpeg, "damaged picture"),
        (damage_png, "damaged picture"),
    ],
)
def test_an_unusable_file_is_named_with_its_fault(fastai: Path, damage: object, message: str) -> None:
    assert callable(damage)
    damage(fastai)
    dataset = open_dataset(fastai)
    with pytest.raises(DataError, match=message) as raised:
        dataset.read(dataset.examples[0])
    assert frame_name(0) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_labels_that_are_void_everywhere_are_refused(fastai: Path) -> None:
    dataset = open_dataset(fastai)
    for example in dataset.examples:
        save_png(example.label, np.full((64, 96), CODES.index("Void"), np.uint8))
    with pytest.raises(DataError, match="every pixel of the labels is void"):
        class_shares(dataset, dataset.examples)


def with_colors(segnet: Path, lines: str) -> Path:
    """Its labels turned into colours, and a list of these."""
    for path in segnet.glob("*annot/*.png"):
        with Image.open(path) as image:
            ids = np.asarray(image)
        save_png(path, ID_COLORS[ids])
    (segnet / "codes.txt").unlink()
    (segnet / "label_colors.txt").write_text(lines, encoding="utf-8")
    return segnet


def color_lines(*, without: str = "") -> str:
    rows = [f"{' '.join(map(str, ID_COLORS[number]))}\t{code}" for number, code in enumerate(CODES) if code != without]
    return "# CamVid's own\n" + "\n".join(rows) + "\n"


def test_labels_in_colours_are_read_by_their_list(segnet: Path) -> None:
    before = {example.name: open_dataset(segnet).read(example)[1] for example in open_dataset(segnet).examples}
    dataset = open_dataset(with_colors(segnet, color_lines()))
    assert dataset.class_names == NAMES
    for example in dataset.examples:
        assert_array_equal(dataset.read(example)[1], before[example.name])


def test_black_is_void_where_it_is_no_class(segnet: Path) -> None:
    dataset = open_dataset(with_colors(segnet, "255 0 0 Red\n0 255 0 Green\n"))
    example = dataset.examples[0]
    with Image.open(example.picture) as picture:
        save_png(example.label, np.zeros((picture.height, picture.width, 3), np.uint8))
    assert dataset.class_names == ("Red", "Green")
    assert (dataset.read(example)[1] == VOID).all()


def test_a_colour_that_no_class_has_is_said(segnet: Path) -> None:
    dataset = open_dataset(with_colors(segnet, "255 0 0 Red\n0 255 0 Green\n"))
    with pytest.raises(DataError, match=r"colour \(\d+, \d+, \d+\) is not in the list of classes"):
        dataset.read(dataset.examples[0])


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("1 2 3\n", "'1 2 3' is not R G B NAME"),
        ("256 0 0 Road\n", "is not R G B NAME"),
        ("1 2 3 Road\n1 2 3 Sky\n", "has a name or colour that an earlier line has"),
        ("1 2 3 Road\n1 2 4 Road\n", "has a name or colour that an earlier line has"),
    ],
)
def test_a_list_of_colours_that_is_none_is_refused(segnet: Path, lines: str, told: str) -> None:
    with pytest.raises(DataError, match=re.escape(told)):
        open_dataset(with_colors(segnet, lines))
