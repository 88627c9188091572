"""`roadmask run` as its users call it, on real codecs, with a model whose answers are known."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import roadmask
from roadmask.stream.archive.archive import open_masks
from roadmask.stream.frames import Frame
from roadmask.stream.network.model import Model
from roadmask.stream.run.segment import process_video, segment_video
from roadmask.stream.run.settings import SegmentSettings
from tests.support.clips import cfr, make_clip, sound_times_of, times_of
from tests.support.color_model import COLORS, halves
from tests.support.own_process import LIMIT_S, started
from tests.support.run_command import run

VARIABLE_RATE = [0, 512, 1500, 1600, 4000, 9000, 9512]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "drive.mp4"
    return make_clip(path, cfr(20), size=(96, 128), picture=halves(), sound_s=[0.8])


def test_a_folder_gets_overlay_masks_and_statistics_of_every_frame(
    clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(clip, "-o", f"{tmp_path}/", model=model) == 0
    overlay, masks, stats = (tmp_path / name for name in ("drive_overlay.mp4", "drive_masks", "drive_stats.csv"))
    talk = capsys.readouterr()
    assert talk.out.split() == [str(overlay), str(masks), str(stats)]
    assert "drive.mp4: 20 frames" in talk.err
    assert "0 dropped, 0 undecodable" in talk.err
    assert times_of(overlay) == times_of(clip)
    assert sound_times_of(overlay) == sound_times_of(clip)
    with open_masks(masks) as archive:
        assert [record.time for record in archive.records] == times_of(clip)
        assert [item.name for item in archive.classes] == list(COLORS)
    with stats.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [Fraction(row["time"]) for row in rows] == times_of(clip)
    assert {(row["Road"], row["Sky"], row["Car"]) for row in rows} == {("0.500000", "0.500000", "0.000000")}


def test_the_mask_s_edge_is_where_the_picture_s_edge_is(model: Path, tmp_path: Path) -> None:
    for edge in range(40, 100, 6):
        picture = np.empty((96, 128, 3), np.uint8)
        picture[:, :edge], picture[:, edge:] = COLORS["Road"], COLORS["Sky"]
        clip = make_clip(tmp_path / f"{edge}.mp4", cfr(1), size=(96, 128), picture=picture)
        (result,) = segment_video(clip, model=model)
        found = (result.mask == 0).sum(axis=1)
        assert np.abs(found - edge).max() <= 1, (
            "the network sees three quarters of the size, at half of that it decides"
        )


def test_variable_frame_times_are_kept_in_every_output(model: Path, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "drive.mp4", VARIABLE_RATE)
    assert run(clip, "-o", f"{tmp_path}/out/", model=model) == 0
    assert times_of(tmp_path / "out/drive_overlay.mp4") == times_of(clip)
    with open_masks(tmp_path / "out/drive_masks") as archive:
        assert [record.pts for record in archive.records] == VARIABLE_RATE


def test_a_turned_video_comes_out_upright(model: Path, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "drive.mp4", cfr(3), size=(96, 128), picture=halves(), rotation=90)
    assert run(clip, "-o", f"{tmp_path}/out/", model=model) == 0
    mask = cv2.imread(str(tmp_path / "out/drive_masks/frame_000000.png"), cv2.IMREAD_UNCHANGED)
    assert mask is not None
    assert mask.shape == (128, 96)
    assert len(np.unique(mask[5])) == 1
    assert {int(mask[5, 5]), int(mask[-5, 5])} == {0, 1}, "left and right have become top and bottom"
    with av.open(tmp_path / "out/drive_overlay.mp4") as container:
        frame = next(container.decode(video=0))
        assert (frame.width, frame.height, frame.rotation) == (96, 128, 0)


def test_a_video_of_wide_pixels_is_seen_as_it_is_shown_and_stays_wide(model: Path, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "drive.mp4", cfr(2), size=(96, 96), sample_aspect_ratio=Fraction(2))
    (first, _) = segment_video(clip, model=model)
    assert first.frame.input.shape[1] == 2 * first.frame.input.shape[0]
    assert first.mask.shape == (96, 96)
    assert run(clip, "-o", tmp_path / "out.mp4", model=model) == 0
    with av.open(tmp_path / "out.mp4") as container:
        assert container.streams.video[0].sample_aspect_ratio == 2


def test_the_overlay_blends_class_colours_into_the_picture(model: Path, tmp_path: Path) -> None:
    gray = np.full((96, 128, 3), 160, np.uint8)  # nearest to Sky
    clip = make_clip(tmp_path / "drive.mp4", cfr(3), size=(96, 128), picture=gray)
    assert run(clip, "-o", tmp_path / "seen.mp4", "--alpha", "0.5", "--palette", "camvid", model=model) == 0
    assert run(clip, "-o", tmp_path / "plain.mp4", "--exclude", "sky", model=model) == 0
    expected = {"seen.mp4": 80 + np.array(COLORS["Sky"]) / 2, "plain.mp4": np.full(3, 160)}
    for name, color in expected.items():
        with av.open(tmp_path / name) as container:
            picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
        assert np.abs(picture.mean(axis=(0, 1)) - color).max() < 5  # two lossy encodings


@pytest.mark.parametrize(
    ("options", "indices"),
    [
        (["--stride", "3"], [0, 3, 6, 9, 12, 15, 18]),
        (["--max-frames", "4"], [0, 1, 2, 3]),
        (["--start", "0.4", "--end", "0:00.6"], [10, 11, 12, 13, 14]),
        (["--start", "0.4", "--stride", "4", "--max-frames", "2"], [10, 14]),
    ],
)
def test_a_part_of_a_video_keeps_the_indices_of_the_whole(
    clip: Path, model: Path, tmp_path: Path, options: list[str], indices: list[int]
) -> None:
    assert run(clip, "--masks", tmp_path / "masks.zip", *options, model=model) == 0
    with open_masks(tmp_path / "masks.zip") as archive:
        assert [record.index for record in archive.records] == indices


@pytest.mark.parametrize("options", [["--batch", "3"], ["--batch", "auto"], ["--workers", "3"], ["--threads", "1"]])
def test_the_work_can_be_shared_out_as_one_likes(clip: Path, model: Path, tmp_path: Path, options: list[str]) -> None:
    assert run(clip, "--masks", tmp_path / "masks", *options, model=model) == 0
    with open_masks(tmp_path / "masks") as archive:
        assert [record.index for record in archive.records] == list(range(20))


def test_every_kind_of_archive_holds_the_same_masks(clip: Path, model: Path, tmp_path: Path) -> None:
    contents = []
    for name in ("masks", "masks.zip", "masks.mkv"):
        assert run(clip, "--masks", tmp_path / name, model=model) == 0
        with open_masks(tmp_path / name) as archive:
            contents.append([(record.index, record.pts, record.crc32) for record in archive.records])
    assert contents[0] == contents[1] == contents[2]


def test_the_same_run_gives_the_same_masks_and_statistics_byte_for_byte(
    clip: Path, model: Path, tmp_path: Path
) -> None:
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        outputs = ["--masks", tmp_path / folder / "m.zip", "--stats", tmp_path / folder / "s.csv"]
        assert run(clip, *outputs, model=model) == 0
    for name in ("m.zip", "s.csv"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_overwrite_replaces_outputs(clip: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "out.mp4").write_bytes(b"old")
    assert run(clip, "-o", tmp_path / "out.mp4", "--overwrite", model=model) == 0
    assert len(times_of(tmp_path / "out.mp4")) == 20


@pytest.mark.logs_errors
def test_a_bad_file_among_several_does_not_stop_the_others(
    clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.mp4").write_bytes(b"junk")
    (tmp_path / "b.mp4").write_bytes(clip.read_bytes())
    assert run(tmp_path, "-o", f"{tmp_path}/out/", model=model) == 3
    assert "2 files: 1 done, 1 failed" in capsys.readouterr().err
    names = {path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")}
    assert names == {"b_masks", "b_overlay.mp4", "b_stats.csv", "summary.json"}


def test_a_damaged_stretch_is_counted_and_the_rest_comes_out(model: Path, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "drive.mkv", cfr(60), codec="mjpeg", picture=halves(48, 64))
    content = bytearray(clip.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = bytes(400)
    clip.write_bytes(content)
    assert run(clip, "--masks", tmp_path / "masks", model=model) == 3
    with open_masks(tmp_path / "masks") as archive:
        assert 40 <= len(archive) <= 60
        assert archive.records[-1].pts > 50 * 40 - 100


def start(clip: Path, model: Path, output: Path, *, masks: int) -> subprocess.Popen[str]:
    """`roadmask run` in a process of its own, returned once it has written so many masks."""
    command = [sys.executable, "-m", "roadmask", "run", clip, "-o", f"{output}/", "--model", model, "--quiet"]
    manifest = output / "drive_masks.partial/manifest.jsonl"
    return started(command, lambda: manifest.exists() and manifest.read_text().count("\n") >= masks)


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "drive.mp4"
    return make_clip(path, cfr(1200), size=(96, 128), picture=halves(), sound_s=[48])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_whole_files_of_equal_length_and_code_130(
    long_clip: Path, model: Path, tmp_path: Path, number: signal.Signals
) -> None:
    process = start(long_clip, model, tmp_path, masks=1)
    process.send_signal(number)
    _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130, errors
    assert errors == ""
    frames = times_of(tmp_path / "drive_overlay.mp4")
    with open_masks(tmp_path / "drive_masks") as archive:
        assert 0 < len(archive) < 1200
        assert [record.time for record in archive.records] == frames
    assert sound_times_of(tmp_path / "drive_overlay.mp4")[-1] <= frames[-1] + 1
    assert len((tmp_path / "drive_stats.csv").read_text().splitlines()) == len(frames) + 1


def test_a_killed_run_leaves_playable_partial_files_and_nothing_under_the_final_names(
    long_clip: Path, model: Path, tmp_path: Path
) -> None:
    process = start(long_clip, model, tmp_path, masks=200)
    partial = tmp_path / "drive_masks.partial/manifest.jsonl"
    process.kill()
    process.communicate(timeout=LIMIT_S)
    assert {path.name for path in tmp_path.iterdir()} == {
        ".drive_overlay.mp4.progress",
        ".drive_overlay.mp4.run",
        ".drive_masks.run",
        ".drive_stats.csv.run",
        "drive_overlay.partial.mp4",
        "drive_masks.partial",
        "drive_stats.partial.csv",
    }
    written = partial.read_text().count("\n")
    assert written >= 200
    assert len(times_of(tmp_path / "drive_overlay.partial.mp4")) >= written - 150  # what the encoder still held
    with open_masks(tmp_path / "drive_masks.partial") as archive:
        assert len(list(archive)) in (written, written - 1)


def test_a_failing_model_is_one_error_and_keeps_what_was_written(
    long_clip: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = Model.load(model, workers=1)  # so that the tenth call is for the tenth frame
    compute = loaded.scores
    calls = iter(range(10))

    def failing(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        if next(calls, None) is None:
            raise MemoryError("no more")
        return compute(pictures)

    monkeypatch.setattr(loaded, "scores", failing)
    with pytest.raises(MemoryError):
        process_video(SegmentSettings(long_clip, masks=tmp_path / "masks"), loaded)
    assert not (tmp_path / "masks").exists()
    with open_masks(tmp_path / "masks.partial") as archive:
        assert len(archive) == 10


def test_the_api_gives_each_frame_with_its_mask(clip: Path, model: Path) -> None:
    count = 0
    for result in segment_video(clip, model=model):
        assert isinstance(result.frame, Frame)
        assert result.mask.shape == (96, 128)
        np.testing.assert_allclose(result.shares(3), [0.5, 0.5, 0])
        count += 1
    assert count == 20


def test_leaving_the_api_s_loop_early_ends_its_threads(clip: Path, model: Path) -> None:
    before = set(threading.enumerate())
    results = segment_video(clip, model=roadmask.Model.load(model))
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stride": 0}, "stride is 0; it must be 1 or more"),
        ({"stride": -2}, "stride is -2"),
        ({"max_frames": 0}, "max_frames is 0"),
        ({"batch": -1}, "batch is -1"),
        ({"start": Fraction(-1)}, "start is -1"),
        ({"start": Fraction(2), "end": Fraction(2)}, "end is 2; it must be more than start, which is 2"),
    ],
)
def test_a_number_that_means_nothing_is_a_value_error_that_names_the_argument_at_once(
    clip: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        segment_video(clip, **changes)
    with pytest.raises(ValueError, match=message):
        SegmentSettings(clip, **changes)
