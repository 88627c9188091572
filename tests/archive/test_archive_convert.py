"""Archives become any other kind and lose nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.archive.convert import convert_archive
from roadmask.stream.archive.manifest import MaskRecord
from roadmask.stream.errors import ArchiveError, OutputError
from roadmask.stream.frames import SegmentedFrame
from roadmask.stream.system.disk import partial_path
from tests.support.clips import SPEC, result_of, video_info
from tests.support.file_content import content, copy
from tests.support.instants import in_fork
from tests.support.tool_masks import any_archive

NAMES = ["masks", "masks.zip", "masks.mkv", "masks.npz", "masks.zarr"]
MASKS = np.random.default_rng(5).integers(0, 3, (9, 24, 40), np.uint8)


def write(path: Path, masks: np.ndarray = MASKS) -> Path:
    with any_archive(
        path, video_info(40, 24), SPEC, source="drive.mp4", model="m.onnx", model_sha256="ab", smoothed=True
    ) as sink:
        for number, mask in enumerate(masks):
            result = result_of(mask, index=3 * number + 1, pts=700 * number - 5)
            sink.write(SegmentedFrame(replace(result.frame, unchanged=number % 3 == 1), mask))
    return path


def records_of(path: Path) -> list[MaskRecord]:
    with open_masks(path) as masks:
        return [replace(record, file=None) for record in masks.records]


@pytest.mark.parametrize(("one", "other"), list(permutations(NAMES, 2)))
def test_any_kind_becomes_any_other_and_back_the_same_bytes(tmp_path: Path, one: str, other: str) -> None:
    first = write(tmp_path / one)
    second = tmp_path / "there" / other
    assert convert_archive(first, second) == len(MASKS)
    if not other.endswith(".zarr"):  # whose chunks have the time in them
        assert content(second) == content(write(tmp_path / "direct" / other)), "as a run would have written it"
    assert records_of(second) == records_of(first)
    with open_masks(first) as before, open_masks(second) as after:
        assert before.header == after.header
        np.testing.assert_array_equal(list(after), MASKS)
    convert_archive(second, tmp_path / "back" / one)
    assert records_of(tmp_path / "back" / one) == records_of(first)
    if not one.endswith(".zarr"):
        assert content(tmp_path / "back" / one) == content(first)


def test_masks_of_several_sizes_stay_among_the_kinds_that_can_hold_them(tmp_path: Path) -> None:
    with any_archive(tmp_path / "masks", video_info(6, 4), SPEC) as sink:
        sink.write(result_of(np.zeros((4, 6), np.uint8), index=0))
        sink.write(result_of(np.zeros((6, 4), np.uint8), index=1))
    assert convert_archive(tmp_path / "masks", tmp_path / "masks.zip") == 2
    for name in NAMES[2:]:
        with pytest.raises(OutputError, match=r"size changes at frame 1, which a \.\w+ of masks cannot follow"):
            convert_archive(tmp_path / "masks", tmp_path / name)


def damage(folder: Path) -> None:
    (folder / "frame_000010.png").write_bytes(b"")


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_damaged_mask_is_named_and_nothing_is_replaced(tmp_path: Path, name: str) -> None:
    source = write(tmp_path / "masks")
    target = write(tmp_path / name, MASKS[:2])
    before = content(target)
    damage(source)
    with pytest.raises(ArchiveError, match=r"the mask of frame 10 \(frame_000010.png\) is damaged"):
        convert_archive(source, target, overwrite=True)
    assert content(target) == before
    if name in NAMES[3:]:
        assert not partial_path(target).exists(), "half of it is of no use"
        return
    with open_masks(partial_path(target)) as masks:
        assert len(masks) == 3, "what is whole before it"


def test_ids_beyond_the_class_table_are_named(tmp_path: Path) -> None:
    source = write(tmp_path / "masks", MASKS + np.uint8(1))
    with pytest.raises(
        ArchiveError, match=r"the mask of frame 1 \(frame_000001.png\) has the class id 3, which is not"
    ):
        convert_archive(source, tmp_path / "masks.mkv")
    assert not (tmp_path / "masks.mkv").exists()


def test_a_killed_archive_gives_what_is_whole_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with any_archive(tmp_path / "masks.zip", video_info(40, 24), SPEC) as sink:
        for number in range(4):
            sink.write(result_of(MASKS[number], index=number))
        copy(tmp_path / "masks.partial.zip", tmp_path / "killed.zip")
    assert convert_archive(tmp_path / "killed.zip", tmp_path / "rescued.npz") == 4
    assert "killed.zip: was not finished; the 4 masks that are whole are converted" in caplog.text


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (lambda path: path, "is one of the inputs; choose another name"),
        (lambda path: write(path.with_name("there.zip")), "exists; pass --overwrite"),
        (lambda path: path.with_name("masks.h5"), r"no mask archive has the suffix \.h5"),
    ],
)
def test_a_bad_target_is_refused(tmp_path: Path, target: Callable[[Path], Path], message: str) -> None:
    source = write(tmp_path / "masks.zip")
    with pytest.raises(OutputError, match=message):
        convert_archive(source, target(source))


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    convert_archive(write(tmp_path / "masks"), tmp_path / "masks.mkv", on_mask=lambda *done: told.append(done))
    assert told == [(number, 9) for number in range(1, 10)]


@pytest.mark.parametrize("name", ["masks", "masks.zarr"])
def test_a_folder_of_masks_with_something_of_the_user_s_in_it_is_not_replaced(tmp_path: Path, name: str) -> None:
    source, target = write(tmp_path / "from.zip"), tmp_path / name
    convert_archive(source, target)
    (target / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"notes\.txt: was not made here, so .* is not replaced; move it away"):
        convert_archive(source, target, overwrite=True)
    (target / "notes.txt").unlink()
    convert_archive(source, target, overwrite=True)


@pytest.mark.parametrize("name", ["there", "there.zip", "there.npz"])
def test_what_a_killed_conversion_left_is_made_again_and_what_is_not_its_own_is_kept(tmp_path: Path, name: str) -> None:
    source, target = write(tmp_path / "masks.mkv"), tmp_path / name

    def die(done: int, _: int) -> None:
        if done == 3:
            os._exit(9)

    partial = partial_path(target)
    for _ in range(2):
        assert in_fork(lambda: convert_archive(source, target, on_mask=die)) == 9
        assert partial.exists()
    other = write(tmp_path / "other.zip", MASKS[:4])
    if name != "there.npz":  # which is written when all masks are read
        before = content(partial)
        with pytest.raises(OutputError, match=r"there\.partial.*: is there, and not of this run"):
            convert_archive(other, target)
        assert content(partial) == before
    assert convert_archive(source, target) == len(MASKS)
    assert {path.name for path in tmp_path.iterdir()} == {"masks.mkv", "other.zip", name}
