"""`roadmask convert --to` as its users call it: what is chosen, what is refused, and what is left behind."""

from __future__ import annotations

import json
import shutil
import sys
import tracemalloc
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import get_args

import av
import cv2
import numpy as np
import pytest

from roadmask.stream.archive.manifest import ArchiveHeader, MaskRecord
from roadmask.stream.cli import main
from roadmask.stream.decode.source import open_source
from roadmask.stream.encode.palette import load_palette
from roadmask.stream.frames import SegmentedFrame
from roadmask.stream.labelling import label_studio as labelling_label_studio
from roadmask.stream.labelling import tree as labelling_tree
from roadmask.stream.labelling.coco import CocoWriter
from roadmask.stream.labelling.frames import LabelledFrame, LabelTable
from roadmask.stream.labelling.labelling import Tool
from roadmask.stream.labelling.tree import FolderTree
from roadmask.stream.spec import PixelClass
from roadmask.stream.system.talk import install_command
from roadmask.training.dataset import open_dataset
from tests.support.clips import SPEC, cfr, make_clip, open_archive_sink, times_of
from tests.support.file_content import content
from tests.support.full_disk import full_disk
from tests.support.tool_masks import CLASSES, MASKS, frame_name, names_in, write_masks

TOOLS: tuple[Tool, ...] = get_args(Tool)
CYAN = (0, 255, 255)
SMALL = {index: MASKS[index] for index in (0, 3, 7)}


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    return write_masks(tmp_path / "masks.zip", SMALL)


def convert(*arguments: object) -> int:
    return main(["convert", *map(str, arguments), "-q"])


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of an error."""
    text = capsys.readouterr().err
    assert text.count("\n") == 1, text
    return text


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("suffix", ["", ".zip"])
def test_the_same_masks_give_the_same_bytes(masks: Path, tmp_path: Path, tool: Tool, suffix: str) -> None:
    one, other = tmp_path / "one" / f"out{suffix}", tmp_path / "other" / f"out{suffix}"
    assert convert(masks, "--to", tool, "-o", one) == convert(masks, "--to", tool, "-o", other) == 0
    assert content(one) == content(other)


def test_stride_and_classes_choose_and_frames_keep_their_numbers(masks: Path, tmp_path: Path) -> None:
    chosen = ["--stride", 2, "--classes", "car,sky,tree", "--exclude", "tree"]
    assert convert(masks, "--to", "fiftyone", "-o", tmp_path / "out", *chosen) == 0
    labels = sorted((tmp_path / "out" / "labels").iterdir())
    assert [path.stem for path in labels] == [frame_name(0), frame_name(7)]
    assert json.loads((tmp_path / "out" / "mask_targets.json").read_text()) == {"1": "car", "2": "sky"}
    found = np.array(["", "car", "sky"])[cv2.imread(str(labels[0]), cv2.IMREAD_UNCHANGED)]
    np.testing.assert_array_equal(found, names_in(MASKS[0], ("car", "sky")))


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("suffix", ["", ".zip"])
def test_what_exists_is_replaced_only_when_asked(
    masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], tool: Tool, suffix: str
) -> None:
    output = tmp_path / f"out{suffix}"
    assert convert(masks, "--to", tool, "-o", output) == 0
    before = content(output)
    capsys.readouterr()
    assert convert(masks, "--to", tool, "-o", output, "--stride", 2) == 1
    assert f"{output}: exists; pass --overwrite to replace it" in said(capsys)
    assert content(output) == before
    assert convert(masks, "--to", tool, "-o", output, "--stride", 2, "--overwrite") == 0
    assert content(output) != before


def test_a_folder_of_the_users_own_is_never_replaced(
    masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    assert convert(masks, "--to", "cvat", "-o", tmp_path / "out", "--overwrite") == 1
    assert "is not replaced; name another folder" in said(capsys)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(("tool", "suffix"), [(tool, suffix) for tool in TOOLS for suffix in ("", ".zip")])
def test_of_a_damaged_archive_nothing_is_left_but_a_line_that_names_the_mask(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tool: Tool, suffix: str
) -> None:
    masks = write_masks(tmp_path / "masks", SMALL)
    shutil.copy(masks / "frame_000000.png", masks / "frame_000003.png")
    assert convert(masks, "--to", tool, "-o", tmp_path / "there" / f"out{suffix}") == 1
    assert "frame 3 (frame_000003.png) is damaged" in capsys.readouterr().err
    assert list((tmp_path / "there").iterdir()) == []


def test_ids_beyond_the_class_table_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    masks = write_masks(tmp_path / "masks.mkv", {5: np.full((4, 6), 9, np.uint8)})
    assert convert(masks, "--to", "coco", "-o", tmp_path / "out.zip") == 1
    assert "the mask of frame 5 has the class id 9, which is not in the table of 4 classes" in said(capsys)


def test_a_class_that_is_none_is_named(masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(masks, "--to", "coco", "-o", tmp_path / "out", "--classes", "lorry") == 2
    assert "lorry" in said(capsys)
    assert not (tmp_path / "out").exists()


def test_coco_without_pycocotools_tells_how_to_install_it(
    masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    assert convert(masks, "--to", "coco", "-o", tmp_path / "there" / "out") == 1
    assert f"needs pycocotools: {install_command('coco')}" in said(capsys)
    assert list((tmp_path / "there").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--classes", "car"], "--classes needs --to"),
        (["--to", "color", "--video", "drive.mp4"], "--video means nothing to color"),
        (["--to", "cvat", "--image-root", "/data"], "--image-root means nothing to cvat"),
        (["--to", "cvat", "--subset", "../up"], "it becomes a file's name"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(
    masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert convert(masks, "-o", tmp_path / "out.zip", *arguments) == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("tool", "told"),
    [
        ("fiftyone", "FiftyOne needs the pictures: pass --video"),
        ("colmap", "COLMAP finds a mask by its picture's name: yours must be frame_000012."),
        ("label-studio", "Label Studio needs the pictures: pass --video, or say with --image-root"),
        ("cvat", None),
    ],
)
def test_a_tool_that_needs_the_pictures_and_gets_none_says_what_to_do(
    masks: Path, tmp_path: Path, tool: Tool, told: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    assert convert(masks, "--to", tool, "-o", tmp_path / "out") == 0
    lines = [line for line in caplog.messages if not line.startswith("class ")]  # which get other colours
    assert len(lines) == (told is not None)
    assert told is None or lines[0].startswith(told)


def test_classes_that_cannot_be_given_to_a_tool_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    twice = (PixelClass("pole", (0, 0, 0)), PixelClass("traffic light", (1, 1, 1)), PixelClass("traffic_light", CYAN))
    masks = write_masks(tmp_path / "twice.zip", {0: np.zeros((4, 4), np.uint8)}, classes=twice)
    assert convert(masks, "--to", "camvid", "-o", tmp_path / "out") == 1
    assert "two classes would be called traffic_light, as label_colors.txt has no blanks in names" in said(capsys)
    assert convert(masks, "--to", "camvid", "-o", tmp_path / "out", "--exclude", "traffic_light") == 0
    assert convert(masks, "--to", "cvat", "-o", tmp_path / "none", "--classes", "pole", "--exclude", "pole") == 1
    assert "--classes and --exclude leave no class" in said(capsys)


@pytest.mark.parametrize(
    ("tool", "name", "message"),
    [
        ("cvat", "out.tar", "name a folder (no suffix) or a .zip for cvat"),
        ("color", "out.gif", "name a folder (no suffix) or a .zip, or a .mkv or .mp4 for color"),
        ("cvat", "masks.zip", "is one of the inputs"),
    ],
)
def test_an_output_that_cannot_be_is_refused(
    masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], tool: Tool, name: str, message: str
) -> None:
    wrong_suffix = (tmp_path / name).suffix in (".tar", ".gif")
    assert convert(masks, "--to", tool, "-o", tmp_path / name, "--overwrite") == (2 if wrong_suffix else 1)
    assert message in said(capsys)


@pytest.mark.parametrize(("suffix", "palette"), [(".mkv", "camvid"), (".mp4", "camvid"), (".mp4", "clear")])
def test_a_video_of_colors_has_the_very_colors_and_times(tmp_path: Path, suffix: str, palette: str) -> None:
    rng = np.random.default_rng(2)
    few = {index: rng.integers(0, 3, (37, 53), np.uint8) for index in (2, 3, 9)}
    masks = write_masks(tmp_path / "masks.zip", few, classes=SPEC.classes)
    output = tmp_path / f"colors{suffix}"
    options = ["--palette", palette] if palette != "clear" else []  # which it is unless another is named
    assert convert(masks, "--to", "color", "-o", output, *options) == 0
    assert times_of(output) == pytest.approx([Fraction(512 * index, 12800) for index in few], abs=0.001)
    classes = load_palette(palette).colored(SPEC.classes)
    table = np.array([item.color for item in classes], np.uint8)
    with av.open(output) as container:
        for frame, mask in zip(container.decode(video=0), few.values(), strict=True):
            np.testing.assert_array_equal(frame.to_ndarray(format="rgb24"), table[mask])
    legend = (tmp_path / f"colors{suffix}.legend.csv").read_text()
    rows = [f"{item.name},{','.join(map(str, item.color))}" for item in classes]
    assert legend.splitlines() == ["class,red,green,blue", *rows, ",0,0,0"]
    assert palette != "camvid" or rows == ["road,128,64,128", "car,0,0,142", "sky,70,130,180"]


def test_a_video_of_colors_cannot_change_its_size_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = write_masks(tmp_path / "masks.zip", MASKS)
    assert convert(masks, "--to", "color", "-o", tmp_path / "there" / "out.mkv") == 1
    assert "the picture size changes at frame 12" in capsys.readouterr().err
    assert list((tmp_path / "there").iterdir()) == []


def save_masks(path: Path, video: Path) -> Path:
    with open_source(video) as source, open_archive_sink(path, source.info, SPEC, source=video.name) as sink:
        for frame in source.frames(lambda _: (16, 16)):
            sink.write(SegmentedFrame(frame, np.zeros((frame.picture.height, frame.picture.width), np.uint8)))
    return path


@pytest.mark.parametrize(
    ("tool", "picture"),
    [
        ("cvat", "JPEGImages/frame_000003.png"),
        ("camvid", "default/frame_000003.png"),
        ("coco", "images/default/frame_000003.png"),
        ("label-studio", "images/frame_000003.png"),
        ("fiftyone", "data/frame_000003.png"),
    ],
)
def test_pictures_are_the_frames_that_the_masks_were_made_from(tmp_path: Path, tool: Tool, picture: str) -> None:
    video = make_clip(tmp_path / "drive.mp4", cfr(6))
    masks = save_masks(tmp_path / "masks.mkv", video)
    chosen = ["--video", video, "--picture-format", "png", "--stride", 3]
    assert convert(masks, "--to", tool, "-o", tmp_path / "out", *chosen) == 0
    pixels = cv2.imread(str(tmp_path / "out" / picture))
    assert pixels.shape == (48, 64, 3)
    assert np.abs(pixels.astype(int) - (2 * 3 + 40)).max() <= 2, "the third frame, but for what the codec took"
    assert not (tmp_path / "out" / picture.replace("3.png", "1.png")).exists()


@pytest.mark.parametrize("tool", ["camvid", "cvat", "coco", "label-studio", "fiftyone"])
def test_what_a_tool_was_given_can_be_trained_on(tmp_path: Path, tool: Tool) -> None:
    """What was labelled with it, and corrected elsewhere, comes back as labels."""
    video = make_clip(tmp_path / "drive.mp4", cfr(3))
    drawn = [np.random.default_rng(number).integers(0, 3, (48, 64)).astype(np.uint8) for number in range(3)]
    with open_source(video) as source, open_archive_sink(tmp_path / "masks.mkv", source.info, SPEC, source="x") as sink:
        for frame, mask in zip(source.frames(lambda _: (16, 16)), drawn, strict=True):
            sink.write(SegmentedFrame(frame, mask))
    subset = ["--subset", "train"] if tool in ("camvid", "cvat", "coco") else []
    assert convert(tmp_path / "masks.mkv", "--to", tool, "-o", tmp_path / "data", "--video", video, *subset) == 0
    dataset = open_dataset(tmp_path / "data")
    assert dataset.class_names == SPEC.class_names
    assert [example.name for example in dataset.examples] == [frame_name(index) for index in range(3)]
    assert {example.folder for example in dataset.examples} == {"train" if subset else ""}
    for example, mask in zip(dataset.examples, drawn, strict=True):
        picture, labels = dataset.read(example)
        assert picture.shape == (48, 64, 3)
        assert (labels == mask).all()


def test_another_video_than_the_masks_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    masks = save_masks(tmp_path / "masks.mkv", make_clip(tmp_path / "drive.mp4", cfr(6)))
    other = make_clip(tmp_path / "other.mp4", cfr(6), size=(64, 48))
    assert convert(masks, "--to", "cvat", "-o", tmp_path / "there" / "out.zip", "--video", other) == 1
    assert "other.mp4" in said(capsys)
    assert list((tmp_path / "there").iterdir()) == []


def test_many_tasks_go_into_several_files(masks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labelling_label_studio, "MAX_BYTES", 100)
    assert convert(masks, "--to", "label-studio", "-o", tmp_path / "out", "--image-root", "https://pictures/") == 0
    files = sorted((tmp_path / "out").glob("tasks*.json"))
    assert [path.name for path in files] == [f"tasks_{number:03d}.json" for number in (1, 2, 3)]
    images = [task["data"]["image"] for path in files for task in json.loads(path.read_text())]
    assert images == [f"https://pictures/{frame_name(index)}.jpg" for index in SMALL]


def test_a_full_disk_is_one_line_and_leaves_nothing_under_the_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = write_masks(tmp_path / "masks.zip", {0: MASKS[1001]})
    with full_disk(100):
        assert convert(masks, "--to", "cvat", "-o", tmp_path / "out.zip") == 1
    assert "out.zip: cannot be written" in capsys.readouterr().err
    assert not (tmp_path / "out.zip").exists()


def test_memory_does_not_grow_with_the_number_of_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labelling_tree, "CHUNK_BYTES", 10_000)
    table = LabelTable.of(CLASSES)
    labels = table.labels(MASKS[0])
    height, width = labels.shape
    tree = FolderTree(tmp_path)
    writer = CocoWriter(tree, table, "jpg", subset="all", header=ArchiveHeader(CLASSES, width, height))
    tracemalloc.start()
    for index in range(700):
        writer.add(LabelledFrame(MaskRecord(index, 0, Fraction(1), None, "", width, height), labels, None))
    writer.finish()
    tree.close()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "annotations" / "instances_all.json").stat().st_size > 1_000_000
    assert peak < 200_000


def test_a_zip_that_is_over_is_sound(masks: Path, tmp_path: Path) -> None:
    assert convert(masks, "--to", "cvat", "-o", tmp_path / "out.zip") == 0
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.testzip() is None
        assert archive.read("ImageSets/Segmentation/default.txt").decode().split() == [frame_name(i) for i in SMALL]
