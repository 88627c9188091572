"""`roadmask convert --to` again and again into one folder: subsets and drives are added, and nothing is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
from pycocotools.coco import COCO

from roadmask.stream.cli import main
from roadmask.stream.labelling.labelling import Tool
from roadmask.stream.system.hold import hold
from roadmask.training.dataset import open_dataset
from tests.labelling.test_convert_labelling import save_masks
from tests.support.clips import cfr, make_clip

FOLDER_TOOLS: tuple[Tool, ...] = get_args(Tool)
LISTS = {"default.txt", "ImageSets/Segmentation/default.txt", "annotations/instances_default.json", "roadmask.json"}


@pytest.fixture(scope="module")
def drives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos whose frames have the same numbers, and their masks."""
    folder = tmp_path_factory.mktemp("drives")
    for name, frames in (("day.mp4", 6), ("night.mp4", 4)):
        save_masks(folder / f"{Path(name).stem}.mkv", make_clip(folder / name, cfr(frames)))
    return folder


def give(drives: Path, drive: str, tool: Tool, output: Path, *options: object) -> int:
    pictures = [] if tool == "color" else ["--video", drives / f"{drive}.mp4"]
    arguments = [drives / f"{drive}.mkv", "--to", tool, "-o", output, *pictures, *options]
    return main(["convert", *map(str, arguments), "-q"])


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names(folder: Path) -> set[str]:
    return set(files(folder))


def test_a_subset_is_added_and_overwrite_replaces_what_a_call_for_it_wrote_alone(drives: Path, tmp_path: Path) -> None:
    """Version 1.0.0 deleted the other subset, and what the user had put there."""
    data = tmp_path / "data"
    assert give(drives, "day", "camvid", data, "--subset", "train") == 0
    (data / "train" / "notes.txt").write_text("mine")
    (data / "thesis.txt").write_text("mine, too")
    assert give(drives, "night", "camvid", data, "--subset", "val") == 0
    before = files(data)
    assert give(drives, "night", "camvid", data, "--subset", "val", "--stride", 2, "--overwrite") == 0
    after = files(data)
    gone = {name for name in before if name not in after}
    assert len(gone) == 4, "a picture and a mask of every second frame"
    assert all(name.startswith(("val/", "valannot/")) for name in gone)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed <= {"val.txt", "roadmask.json"}
    assert len(after["val.txt"].splitlines()) == 2
    dataset = open_dataset(data)
    assert len(dataset.examples) == 8


@pytest.mark.parametrize("tool", FOLDER_TOOLS)
def test_what_is_the_user_s_stays_whatever_the_tool(drives: Path, tmp_path: Path, tool: Tool) -> None:
    data = tmp_path / "data"
    assert give(drives, "day", tool, data) == 0
    first = files(data)
    for path in [data, *(path for path in data.rglob("*") if path.is_dir())]:
        (path / "notes.txt").write_text("mine")
    mine = {name: content for name, content in files(data).items() if name.endswith("notes.txt")}
    assert mine
    assert give(drives, "day", tool, data, "--overwrite") == 0
    assert files(data) == first | mine
    assert give(drives, "day", tool, data, "--stride", 5, "--overwrite") == 0
    after = files(data)
    assert {name: after[name] for name in mine} == mine
    assert not [name for name in after if "frame_000003" in name]


@pytest.mark.parametrize("tool", FOLDER_TOOLS)
def test_frames_of_several_drives_do_not_collide(drives: Path, tmp_path: Path, tool: Tool) -> None:
    data, alone = tmp_path / "data", tmp_path / "alone"
    assert give(drives, "day", tool, data) == 0
    first = {name: content for name, content in files(data).items() if name not in LISTS}
    assert give(drives, "night", tool, alone) == 0
    assert give(drives, "night", tool, data) == 0
    both = files(data)
    assert {name: both[name] for name in first} == first
    frames = [name for name in both if "night_frame_000003" in name]
    assert frames
    for name in frames:
        assert both[name] == (alone / name.replace("night_", "")).read_bytes()
    for name in {"default.txt", "ImageSets/Segmentation/default.txt"} & set(both):
        assert len(both[name].splitlines()) == 6 + 4
    assert give(drives, "day", tool, data, "--overwrite") == 0
    again = files(data)
    assert {name: again[name] for name in again if name not in LISTS} == {
        name: both[name] for name in both if name not in LISTS
    }
    for name in {"default.txt", "ImageSets/Segmentation/default.txt"} & set(both):
        assert sorted(again[name].splitlines()) == sorted(both[name].splitlines())


def test_coco_numbers_the_frames_of_all_drives(drives: Path, tmp_path: Path) -> None:
    data, alone = tmp_path / "data", tmp_path / "alone"
    for drive in ("day", "night", "day"):
        assert give(drives, drive, "coco", data, "--overwrite") == 0
    assert give(drives, "night", "coco", alone) == 0
    both, night = COCO(data / "annotations/instances_default.json"), COCO(alone / "annotations/instances_default.json")
    assert len(both.imgs) == 6 + 4
    for image_id, image in both.imgs.items():
        assert (data / "images/default" / image["file_name"]).is_file()
        (own,) = both.loadAnns(both.getAnnIds(imgIds=[image_id]))
        if image["file_name"].startswith("night_"):
            number = int(image["file_name"].removeprefix("night_frame_").removesuffix(".jpg"))
            (one,) = night.loadAnns(night.getAnnIds(imgIds=[number]))
            assert {name: own[name] for name in ("category_id", "segmentation", "area", "bbox")} == {
                name: one[name] for name in ("category_id", "segmentation", "area", "bbox")
            }


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (("day", "camvid"), ("night", "coco", "--subset", "val"), "its tool is camvid, not coco; name another folder"),
        (("day", "cvat"), ("night", "cvat", "--classes", "road"), "its classes is road, car, sky, not road"),
        (("day", "cvat"), ("day", "cvat", "--subset", "val"), "frame_000000.png: is there, and not of subset val"),
        (("day", "fiftyone"), ("day", "fiftyone"), "exists; pass --overwrite to replace it"),
        (
            ("day", "camvid", "--subset", "train", "--picture-format", "png"),
            ("day", "camvid", "--subset", "trainannot", "--picture-format", "png"),
            "trainannot/frame_000000.png: is there",
        ),
    ],
)
def test_what_does_not_go_together_is_one_line_and_harms_nothing(
    first: tuple[str, Tool],
    second: tuple[str, Tool],
    told: str,
    drives: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = tmp_path / "data"
    assert give(drives, *first[:2], data, *first[2:]) == 0
    before = files(data)
    capsys.readouterr()
    assert give(drives, *second[:2], data, *second[2:]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert files(data) == before
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_coco_takes_a_subset_a_drive(drives: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert give(drives, "day", "coco", data, "--subset", "train") == 0
    assert give(drives, "night", "coco", data, "--subset", "val") == 0
    counts = {
        name: len(json.loads((data / f"annotations/instances_{name}.json").read_text())["images"])
        for name in ("train", "val")
    }
    assert counts == {"train": 6, "val": 4}


def test_another_tool_takes_the_place_of_the_only_part_where_that_is_wished(drives: Path, tmp_path: Path) -> None:
    data, alone = tmp_path / "data", tmp_path / "alone"
    assert give(drives, "day", "camvid", data) == 0
    (data / "mine.txt").write_text("mine")
    assert give(drives, "day", "fiftyone", data, "--overwrite") == 0
    assert give(drives, "day", "fiftyone", alone) == 0
    assert files(data) == files(alone) | {"mine.txt": b"mine"}
    assert {path.name for path in data.iterdir()} == {path.name for path in alone.iterdir()} | {"mine.txt"}


def test_a_picture_of_the_user_s_own_name_is_not_written_over(
    drives: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    assert give(drives, "day", "camvid", data, "--subset", "train") == 0
    (data / "val").mkdir()
    (data / "val" / "night_frame_000001.jpg").write_bytes(b"mine")
    assert give(drives, "night", "camvid", data, "--subset", "val", "--overwrite") == 1
    assert "night_frame_000001.jpg: is there, and not of subset val of night.mp4" in capsys.readouterr().err
    assert (data / "val" / "night_frame_000001.jpg").read_bytes() == b"mine"
    assert not (data / "val.txt").exists()


def test_a_list_of_files_that_leads_out_of_the_folder_is_not_followed(drives: Path, tmp_path: Path) -> None:
    assert give(drives, "day", "camvid", tmp_path / "data") == 0
    (tmp_path / "mine.txt").write_text("mine")
    marker = json.loads((tmp_path / "data/roadmask.json").read_text())
    marker["parts"][0]["files"].append("../mine.txt")
    (tmp_path / "data/roadmask.json").write_text(json.dumps(marker))
    assert give(drives, "day", "camvid", tmp_path / "data", "--overwrite") == 1
    assert (tmp_path / "mine.txt").exists()


@pytest.mark.parametrize(
    "marker",
    [b'{"tool": "camvid", "masks": "masks.zip"}', b"{", b"[]", b'{"parts": [{"files": []}], "shared": []}'],
)
def test_a_folder_whose_files_are_not_known_is_left_alone(
    marker: bytes, drives: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As one of version 1.0.0."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/roadmask.json").write_bytes(marker)
    (tmp_path / "data/train.txt").write_text("somebody's")
    before = files(tmp_path)
    assert give(drives, "day", "camvid", tmp_path / "data", "--overwrite") == 1
    assert "does not tell which files were written" in capsys.readouterr().err
    assert files(tmp_path) == before


def test_what_stands_in_the_way_aside_is_not_removed_and_two_do_not_add_at_once(
    drives: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data.partial").mkdir()
    (tmp_path / "data.partial/mine.txt").write_text("mine")
    assert give(drives, "day", "camvid", tmp_path / "data", "--overwrite") == 1
    assert "data.partial: is in the way" in capsys.readouterr().err
    assert files(tmp_path) == {"data.partial/mine.txt": b"mine"}
    with hold(tmp_path / ".other.lock"):
        assert give(drives, "day", "camvid", tmp_path / "other") == 1
    assert "another roadmask is adding to it" in capsys.readouterr().err


def test_a_file_of_coco_that_is_damaged_is_not_added_to(
    drives: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert give(drives, "day", "coco", tmp_path) == 0
    path = tmp_path / "annotations/instances_default.json"
    path.write_text('{"images": [{}]}')
    before = files(tmp_path)
    assert give(drives, "night", "coco", tmp_path) == 1
    assert f"{path}: cannot be added to (KeyError('file_name')); name another --subset" in capsys.readouterr().err
    assert files(tmp_path) == before
