"""Mask archives: what is written is read back, pixel for pixel, from every format."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.archive.convert import convert_archive
from roadmask.stream.archive.manifest import mask_format
from roadmask.stream.errors import ArchiveError, OutputError
from roadmask.stream.spec import ModelSpec, PixelClass
from roadmask.stream.system.disk import partial_path
from tests.support.clips import SPEC, TICK, open_archive_sink, result_of, video_info
from tests.support.full_disk import full_disk
from tests.support.own_process import python
from tests.support.tool_masks import any_archive

NAMES = ["masks", "masks.zip", "masks.mkv", "masks.npz", "masks.zarr"]
MANY = replace(SPEC, classes=(*SPEC.classes, *(PixelClass(f"{number}", (0, 0, 0)) for number in range(252))))
EVERY_CLASS = np.arange(255, dtype=np.uint8).reshape(15, 17)  # odd sides too


def write(path: Path, masks: Sequence[NDArray[np.uint8]], *, spec: ModelSpec = MANY, overwrite: bool = False) -> Path:
    height, width = masks[0].shape if masks else (4, 4)
    with any_archive(path, video_info(width, height), spec, source="drive.mp4", overwrite=overwrite) as sink:
        for number, mask in enumerate(masks):
            sink.write(result_of(mask, index=3 * number, pts=1536 * number + 1))
    return path


@pytest.mark.parametrize("name", NAMES)
def test_masks_come_back_exactly_with_their_frames_index_and_time(tmp_path: Path, name: str) -> None:
    masks = [np.roll(EVERY_CLASS, number) for number in range(8)]
    with open_masks(write(tmp_path / name, masks)) as archive:
        assert len(archive) == 8
        assert archive.classes == MANY.classes
        assert [record.index for record in archive.records] == list(range(0, 24, 3))
        assert [record.time for record in archive.records] == [(1536 * number + 1) * TICK for number in range(8)]
        for seen, mask in zip(archive, masks, strict=True):
            np.testing.assert_array_equal(seen, mask)
        for position in (5, 6, 2, -1, 0):
            np.testing.assert_array_equal(archive[position], masks[position])
        with pytest.raises(IndexError):
            archive[8]


@settings(max_examples=15)
@given(
    name=st.sampled_from(NAMES),
    size=st.tuples(st.integers(1, 20), st.integers(2, 20)),  # FFV1 cannot do a single column
    seeds=st.lists(st.integers(0, 1000), min_size=1, max_size=4),
)
def test_any_masks_come_back(
    tmp_path_factory: pytest.TempPathFactory, name: str, size: tuple[int, int], seeds: list[int]
) -> None:
    masks = [np.random.default_rng(seed).integers(0, 255, size, np.uint8) for seed in seeds]
    with open_masks(write(tmp_path_factory.mktemp("masks") / name, masks)) as archive:
        for seen, mask in zip(archive, masks, strict=True):
            np.testing.assert_array_equal(seen, mask)


def test_a_folder_is_readable_without_roadmask(tmp_path: Path) -> None:
    folder = write(tmp_path / "masks", [EVERY_CLASS, EVERY_CLASS.T.copy().reshape(15, 17)])
    assert sorted(path.name for path in folder.iterdir()) == [
        "classes.json", "frame_000000.png", "frame_000003.png", "manifest.jsonl"
    ]  # fmt: skip
    np.testing.assert_array_equal(cv2.imread(str(folder / "frame_000000.png"), cv2.IMREAD_GRAYSCALE), EVERY_CLASS)
    header = json.loads((folder / "classes.json").read_text())
    assert header["source"] == "drive.mp4", "not the folder it lay in"
    assert header["classes"][1] == {"name": "car", "color": [0, 0, 142]}
    line = json.loads((folder / "manifest.jsonl").read_text().splitlines()[1])
    assert line == {
        "index": 3, "pts": 1537, "time_base": "1/12800", "time": 1537 / 12800, "file": "frame_000003.png",
        "crc32": line["crc32"], "width": 17, "height": 15,
    }  # fmt: skip


def test_the_same_masks_give_the_same_zip(tmp_path: Path) -> None:
    one, other = (write(tmp_path / name, [EVERY_CLASS] * 3) for name in ("one.zip", "other.zip"))
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("name", ["masks", "masks.zip"])
def test_a_picture_may_change_its_size(tmp_path: Path, name: str) -> None:
    masks = [np.zeros((4, 6), np.uint8), np.ones((6, 4), np.uint8)]
    with open_masks(write(tmp_path / name, masks)) as archive:
        assert [mask.shape for mask in archive] == [(4, 6), (6, 4)]


def test_a_video_of_masks_cannot_change_its_size_and_keeps_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"masks\.mkv: the picture size changes at frame 3"):
        write(tmp_path / "masks.mkv", [np.zeros((4, 6), np.uint8), np.ones((6, 4), np.uint8)])
    with open_masks(tmp_path / "masks.partial.mkv") as archive:
        assert len(archive) == 1


@pytest.mark.parametrize("name", NAMES)
def test_an_archive_is_replaced_only_when_asked(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, [EVERY_CLASS] * 3)
    with pytest.raises(OutputError, match="exists; pass --overwrite"):
        write(path, [EVERY_CLASS])
    with open_masks(write(path, [EVERY_CLASS], overwrite=True)) as archive:
        assert len(archive) == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", NAMES[:3])
def test_a_full_disk_is_one_line(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (20, 100, 200), np.uint8)
    with (
        full_disk(15_000),
        pytest.raises(OutputError, match=rf"{name}: cannot be written \(File too large\)") as caught,
    ):
        write(tmp_path / name, list(noise), spec=SPEC)
    assert caught.value.__cause__ is not None
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", NAMES[3:])
def test_a_full_disk_is_one_line_when_arrays_are_made(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (20, 100, 200), np.uint8)
    source = write(tmp_path / "saved.zip", list(noise))
    with full_disk(15_000), pytest.raises(OutputError, match=rf"{name}: cannot be written \(File too large\)"):
        convert_archive(source, tmp_path / name)
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("name", NAMES[3:])
def test_what_no_run_writes_names_what_does(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match=rf"name .*masks\.zip, and then roadmask convert .* -o .*{name}$"):
        open_archive_sink(tmp_path / name, video_info(), SPEC)


KILLED = """
    import os, signal
    from pathlib import Path
    from tests.support.clips import SPEC, open_archive_sink, result_of, video_info
    import numpy as np

    masks = np.random.default_rng(0).integers(0, 255, (40, 60, 80), np.uint8)
    with open_archive_sink(Path({path!r}), video_info(80, 60), SPEC) as sink:
        for index, mask in enumerate(masks):
            sink.write(result_of(mask, index=index))
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("name", NAMES[:3])
def test_what_a_killed_process_leaves_is_an_archive(tmp_path: Path, name: str) -> None:
    script = KILLED.format(path=str(tmp_path / name))
    ended = subprocess.run(python(script), check=False)
    assert ended.returncode == -signal.SIGKILL
    with open_masks(partial_path(tmp_path / name)) as archive:
        assert len(archive) == 40, "nothing waits in memory"
        assert [record.index for record in archive.records] == list(range(len(archive)))
        assert [record.time for record in archive.records] == [Fraction(i, 25) for i in range(len(archive))]
        for mask in archive:
            assert mask.shape == (60, 80)


def test_a_manifest_line_that_a_crash_cut_off_is_left_out(tmp_path: Path) -> None:
    manifest = write(tmp_path / "masks", [EVERY_CLASS] * 3) / "manifest.jsonl"
    manifest.write_text(manifest.read_text()[:-20])
    with open_masks(tmp_path / "masks") as archive:
        assert len(archive) == 2


def test_damaged_pixels_are_found(tmp_path: Path) -> None:
    folder = write(tmp_path / "masks", [EVERY_CLASS] * 3)
    cv2.imwrite(str(folder / "frame_000003.png"), EVERY_CLASS[::-1])
    (folder / "frame_000006.png").unlink()
    with open_masks(folder) as archive:
        np.testing.assert_array_equal(archive[0], EVERY_CLASS)
        with pytest.raises(ArchiveError, match=r"the mask of frame 3 \(frame_000003.png\) is damaged: its checksum is"):
            archive[1]
        with pytest.raises(ArchiveError, match=r"the mask of frame 6 \(frame_000006.png\) is missing"):
            archive[2]


def test_an_archive_cannot_name_files_outside_itself(tmp_path: Path) -> None:
    folder = write(tmp_path / "masks", [EVERY_CLASS])
    os.replace(folder / "frame_000000.png", tmp_path / "frame_000000.png")  # noqa: PTH105 - reads as the attack does
    manifest = folder / "manifest.jsonl"
    manifest.write_text(manifest.read_text().replace('"frame_', '"../frame_'))
    with open_masks(folder) as archive, pytest.raises(ArchiveError, match="is not a name"):
        archive[0]


@pytest.mark.parametrize("name", ["notes.zip", "notes.mkv", "notes.txt", "empty", "gone"])
def test_what_is_not_an_archive_is_said_in_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "empty":
        path.mkdir()
    elif name != "gone":
        path.write_text("not an archive")
    with pytest.raises(ArchiveError, match=name) as caught:
        open_masks(path)
    assert "\n" not in str(caught.value)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    header = write(tmp_path / "masks", [EVERY_CLASS]) / "classes.json"
    header.write_text(header.read_text().replace('"schema": 1', '"schema": 99'))
    with pytest.raises(ArchiveError, match="schema 99 is newer than this roadmask; upgrade"):
        open_masks(tmp_path / "masks")


def test_the_suffix_means_the_format() -> None:
    assert [mask_format(Path(name)) for name in NAMES] == ["folder", "zip", "ffv1", "npz", "zarr"]
    with pytest.raises(OutputError, match=r"no mask archive has the suffix \.h5; name a folder"):
        mask_format(Path("masks.h5"))
