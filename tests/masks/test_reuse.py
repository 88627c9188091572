"""Masks are kept while the picture stays as it is, and no longer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.frames import Frame, SegmentedFrame
from roadmask.stream.masks.reuse import StillClock, mark_unchanged
from roadmask.stream.network.model import Model
from roadmask.stream.run.segment import process_video, segment_video
from roadmask.stream.run.settings import SegmentSettings
from tests.support.clips import video_info
from tests.support.moving_scene import texture

RATE = 25
HEIGHT, WIDTH = 96, 160
SCENE = texture(HEIGHT, 2 * WIDTH)
PICTURE = np.ascontiguousarray(SCENE[:, :WIDTH])


def frame(picture: NDArray[np.uint8], number: int, *, rate: int = RATE, unchanged: bool = False) -> Frame:
    return Frame(
        number, number, Fraction(1, rate), av.VideoFrame(16, 16, "yuv420p"), picture, video_info(), unchanged=unchanged
    )


def unchanged(pictures: Sequence[NDArray[np.uint8]], *, rate: int = RATE) -> list[bool]:
    frames = mark_unchanged(frame(picture, number, rate=rate) for number, picture in enumerate(pictures))
    return [item.unchanged for item in frames]


def changed_by(levels: int, side: int, *, channel: int = 1) -> NDArray[np.uint8]:
    """The picture with a square of `side` pixels that is brighter."""
    picture = np.minimum(PICTURE, 200)
    picture[41 : 41 + side, 71 : 71 + side, channel] += np.uint8(levels)
    return picture


def test_a_picture_that_stands_still_is_worked_out_once_a_second() -> None:
    assert [number for number, kept in enumerate(unchanged([PICTURE] * 60)) if not kept] == [0, 25, 50]


def test_frames_a_second_apart_are_all_worked_out() -> None:
    assert not any(unchanged([PICTURE] * 5, rate=1))


def test_noise_is_no_change() -> None:
    random = np.random.default_rng(0)
    noisy = [np.clip(PICTURE + random.normal(0, 5, PICTURE.shape), 0, 255).astype(np.uint8) for _ in range(20)]
    assert all(unchanged(noisy)[1:])


@pytest.mark.parametrize(("levels", "side"), [(30, 4), (60, 4), (25, 8), (12, 20)])
@pytest.mark.parametrize("channel", [0, 1, 2])
def test_a_small_thing_and_a_large_faint_one_are_noticed_at_once(levels: int, side: int, channel: int) -> None:
    shown = [changed_by(0, side)] * 3 + [changed_by(levels, side, channel=channel)] * 3
    assert unchanged(shown) == [False, True, True, False, True, True]


def test_changes_too_slow_to_see_from_frame_to_frame_add_up() -> None:
    dimming = [np.maximum(PICTURE, 20) - np.uint8(number) for number in range(20)]
    assert unchanged(dimming).count(False) == 3  # by 8 levels and by 16


def test_another_size_is_a_change() -> None:
    assert unchanged([PICTURE, SCENE, SCENE]) == [False, False, True]


def test_a_tiny_picture_can_be_compared() -> None:
    assert unchanged([PICTURE[:2, :3]] * 2) == [False, True]


def test_the_smoother_goes_on_after_a_stretch_and_starts_anew_after_a_real_gap() -> None:
    clock, kept = StillClock(), {1, 2, 3, 4, 5, 6, 7, 8, 9, 11}
    times = {
        number: clock.time(frame(PICTURE, number, rate=10, unchanged=number in kept))
        for number in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 40)
    }
    assert times[10] - times[0] == Fraction(1, 4)
    assert times[12] - times[10] == Fraction(2, 10)  # a short stretch takes its own time
    assert times[40] - times[12] == Fraction(28, 10)


def make_clip(path: Path, pictures: Sequence[NDArray[np.uint8]]) -> Path:
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=RATE, width=WIDTH, height=HEIGHT, options={"qp": "0"})
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def scene_from(x: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(SCENE[:, x : x + WIDTH])


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four frames still, four that move by 6 pixels each, four still."""
    xs = [0] * 4 + [6, 12, 18, 24] + [24] * 4
    return make_clip(tmp_path_factory.mktemp("clip") / "stops.mkv", [scene_from(x) for x in xs])


def masks_of(results: Sequence[SegmentedFrame]) -> NDArray[np.uint8]:
    return np.stack([result.mask for result in results])


def test_an_unchanged_frame_costs_no_call_of_the_network_and_has_the_mask_before(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, pictures = Model.load(device="cpu", workers=1), 0
    scores = model.scores

    def counting(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        nonlocal pictures
        pictures += len(batch)
        return scores(batch)

    monkeypatch.setattr(model, "scores", counting)
    results = list(segment_video(clip, model=model, reuse=True))
    kept = [result.frame.unchanged for result in results]
    assert kept == [False, True, True, True] + 4 * [False] + 4 * [True]
    assert pictures == 5
    assert all(now.mask is before.mask for before, now in pairwise(results) if now.frame.unchanged)


@pytest.mark.parametrize(("workers", "batch", "depth"), [(3, None, 4), (1, 5, 1), (2, 3, 9)])
def test_any_workers_batch_and_depth_give_equal_masks_bit_for_bit(
    clip: Path, workers: int, batch: int | None, depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = masks_of(list(segment_video(clip, model=Model.load(device="cpu", threads=1, workers=1), reuse=True)))
    monkeypatch.setattr("roadmask.stream.run.stages.AHEAD", depth)
    model = Model.load(device="cpu", threads=workers, workers=workers)
    np.testing.assert_array_equal(masks_of(list(segment_video(clip, model=model, batch=batch, reuse=True))), expected)


def test_a_video_that_moves_gets_the_masks_that_it_gets_without(tmp_path: Path) -> None:
    moving = make_clip(tmp_path / "moving.mkv", [scene_from(3 * number) for number in range(6)])
    model = Model.load(device="cpu")
    with_, without = (masks_of(list(segment_video(moving, model=model, reuse=reuse))) for reuse in (True, False))
    np.testing.assert_array_equal(with_, without)


@pytest.mark.parametrize("name", ["masks", "masks.zip", "masks.mkv"])
def test_an_archive_tells_which_masks_were_reused(clip: Path, tmp_path: Path, name: str) -> None:
    report = process_video(SegmentSettings(clip, masks=tmp_path / name, reuse=True), Model.load(device="cpu"))
    with open_masks(tmp_path / name) as archive:
        assert [record.reused for record in archive.records] == [False, True, True, True] + 4 * [False] + 4 * [True]
        checks = [record.crc32 for record in archive.records]
    assert len(set(checks[:4])) == len(set(checks[7:])) == 1
    assert (report.frames, report.reused) == (12, 7)
    assert ", 7 reused" in str(report)


def test_without_reuse_a_manifest_is_as_it_always_was(clip: Path, tmp_path: Path) -> None:
    report = process_video(SegmentSettings(clip, masks=tmp_path / "masks", max_frames=2), Model.load(device="cpu"))
    lines = (tmp_path / "masks" / "manifest.jsonl").read_text().splitlines()
    expected = {"index", "pts", "time_base", "time", "file", "crc32", "width", "height"}
    assert [set(json.loads(line)) for line in lines] == [expected] * 2
    assert "reused" not in str(report)
