"""An archive that a killed run left is gone on with to the very bytes that a run in one go writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.archive.mask_sink import MaskSink
from roadmask.stream.errors import OutputError
from roadmask.stream.system.disk import partial_path
from tests.support.clips import SPEC, open_archive_sink, result_of, video_info
from tests.support.file_content import content, copy, remove
from tests.support.full_disk import full_disk

NAMES = ["masks", "masks.zip", "masks.mkv"]
HEIGHT, WIDTH = 24, 40
COARSE = np.random.default_rng(3).integers(0, 3, (148, HEIGHT // 4, WIDTH // 4), np.uint8)
MASKS = COARSE.repeat(4, axis=1).repeat(4, axis=2)


def sink_for(path: Path, *, overwrite: bool = False, source: str = "drive.mp4") -> MaskSink:
    return open_archive_sink(path, video_info(WIDTH, HEIGHT), SPEC, source=source, overwrite=overwrite)


def add(sink: MaskSink, masks: Sequence[NDArray[np.uint8]], first: int = 0) -> None:
    for number, mask in enumerate(masks, first):
        sink.write(result_of(mask, index=3 * number, pts=1536 * number - 700))


def written(path: Path, count: int) -> Path:
    with sink_for(path) as sink:
        add(sink, MASKS[:count])
    return path


def killed(path: Path, count: int) -> Path:
    """What a process leaves that is killed behind so many masks; returns the partial archive."""
    with sink_for(path) as sink:
        add(sink, MASKS[:count])
        snapshot = partial_path(path).with_name("snapshot")
        copy(partial_path(path), snapshot)
    remove(path)
    return snapshot.rename(partial_path(path))


def resumed(path: Path, keep: int, count: int) -> Path:
    sink = sink_for(path)
    sink.resume(keep)
    with sink:
        add(sink, MASKS[keep:count], keep)
    return path


@settings(max_examples=25)
@given(name=st.sampled_from(NAMES), counts=st.lists(st.integers(1, len(MASKS)), min_size=3, max_size=3).map(sorted))
def test_a_resumed_archive_is_byte_for_byte_one_that_was_never_interrupted(
    tmp_path_factory: pytest.TempPathFactory, name: str, counts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("masks")
    keep, there, count = counts
    killed(folder / name, there)
    expected = written(folder / "whole" / name, count)
    assert content(resumed(folder / name, keep, count)) == content(expected)
    assert sorted(path.name for path in folder.iterdir()) == sorted([name, "whole"])


@pytest.mark.parametrize("name", NAMES)
def test_an_archive_can_be_killed_and_resumed_again_and_again(tmp_path: Path, name: str) -> None:
    expected = written(tmp_path / "whole" / name, 90)
    path = tmp_path / name
    killed(path, 10)
    for keep, count in [(7, 30), (30, 31), (1, 70), (64, 66)]:
        sink = sink_for(path)
        sink.resume(keep)
        with sink:
            add(sink, MASKS[keep:count], keep)
            sink.sync()
            copy(partial_path(path), tmp_path / "snapshot")
        remove(path)
        (tmp_path / "snapshot").rename(partial_path(path))
    assert content(resumed(path, 66, 90)) == content(expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("keep", [1, 40, 66])
def test_an_archive_that_ctrl_c_finished_can_be_gone_on_with(tmp_path: Path, name: str, keep: int) -> None:
    expected = written(tmp_path / "whole" / name, 80)
    written(tmp_path / name, 66).rename(partial_path(tmp_path / name))
    assert content(resumed(tmp_path / name, keep, 80)) == content(expected)


def cut_last_bytes(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def tear_picture(folder: Path) -> None:
    (folder / "frame_000087.png.tmp").write_bytes(b"\x89PNG")
    (folder / "frame_000084.png").write_bytes(b"")


@pytest.mark.parametrize(
    ("name", "tear"),
    [
        ("masks", tear_picture),
        ("masks", lambda folder: cut_last_bytes(folder / "manifest.jsonl")),
        ("masks.zip", cut_last_bytes),
        ("masks.mkv", cut_last_bytes),
    ],
)
def test_what_is_torn_behind_the_kept_masks_does_not_matter(
    tmp_path: Path, name: str, tear: Callable[[Path], None]
) -> None:
    tear(killed(tmp_path / name, 30))
    assert content(resumed(tmp_path / name, 28, 50)) == content(written(tmp_path / "whole" / name, 50))


@pytest.mark.parametrize("name", NAMES)
def test_what_a_killed_run_left_can_be_read_and_says_that_it_is_not_finished(tmp_path: Path, name: str) -> None:
    with open_masks(killed(tmp_path / name, 70)) as masks:
        assert not masks.is_finished
        assert [record.index for record in masks.records] == list(range(0, 210, 3))
        for mask, expected in zip(masks, MASKS, strict=False):
            np.testing.assert_array_equal(mask, expected)
    with open_masks(resumed(tmp_path / name, 70, 71)) as masks:
        assert masks.is_finished


@pytest.mark.parametrize("name", NAMES)
def test_what_was_synced_is_there_after_a_kill(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with sink_for(path) as sink:
        for number in range(3):
            add(sink, MASKS[number : number + 1], number)
            sink.sync()
            copy(partial_path(path), tmp_path / f"{number}_{name}")
            with open_masks(tmp_path / f"{number}_{name}") as masks:
                assert len(masks) == number + 1
                np.testing.assert_array_equal(masks[number], MASKS[number])


@pytest.mark.parametrize("name", NAMES)
def test_fewer_masks_than_were_written_are_refused_and_kept(tmp_path: Path, name: str) -> None:
    partial = killed(tmp_path / name, 5)
    before = content(partial)
    with pytest.raises(OutputError, match=r"holds 5 whole masks, not the 6 that were written; pass --overwrite"):
        resumed(tmp_path / name, 6, 7)
    assert content(partial) == before


@pytest.mark.parametrize("name", NAMES)
def test_another_videos_masks_are_not_gone_on_with(tmp_path: Path, name: str) -> None:
    killed(tmp_path / name, 5)
    with pytest.raises(OutputError, match=r"holds masks of another source or model; pass --overwrite"):
        sink_for(tmp_path / name, source="other.mp4").resume(5)


@pytest.mark.parametrize("name", NAMES)
def test_after_a_full_disk_an_archive_goes_on_with_all_that_it_has(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with full_disk(3_000), pytest.raises(OutputError, match="cannot be written"):
        written(path, 30)
    with open_masks(partial_path(path)) as masks:
        assert 3 < len(masks) < 30
        keep = len(masks)
    assert content(resumed(path, keep, 30)) == content(written(tmp_path / "whole" / name, 30))
