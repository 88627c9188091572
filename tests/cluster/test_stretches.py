"""A video made in stretches, each by itself, is the video made at once: every picture, mask, row and sound."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import av
import numpy as np
import pytest

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.cluster.stretch import (
    NotAsPlanned,
    Stretch,
    WantedFrames,
    facts_path,
    run_stretch,
    stretch_count,
    stretches,
    wanted_frames,
)
from roadmask.stream.cluster.stretch_join import StretchFolder, join
from roadmask.stream.errors import OutputError
from roadmask.stream.frames import PIECE as REAL_PIECE
from roadmask.stream.network.model import Model
from roadmask.stream.run.segment import open_video, process_video
from roadmask.stream.run.settings import Report, SegmentSettings
from tests.support.clips import cfr, make_clip, sound_times_of
from tests.support.color_model import spec, write_color_model
from tests.support.file_content import content, pictures_of
from tests.support.power import Disk
from tests.support.short_pieces import PIECE, shorten_pieces

FRAMES = 2 * PIECE + 10
in_short_pieces = pytest.mark.usefixtures("short_pieces")


@pytest.fixture
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_pieces(monkeypatch)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    known = spec(familiar={"lead": 6000, "pictures": 60})  # half of the grays that the clip shows
    return Model.load(write_color_model(tmp_path_factory.mktemp("model") / "colors.onnx", metadata=known), device="cpu")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "drive.mp4", cfr(FRAMES), size=(32, 48), sound_s=[FRAMES / 25])


def job_for(
    clip: Path, folder: Path, *, overlay: str = ".mp4", masks: str = "", stats: str = ".csv"
) -> SegmentSettings:
    return SegmentSettings(
        clip, overlay=folder / f"seen{overlay}", masks=folder / f"masks{masks}", stats=folder / f"shares{stats}"
    )


def cut_up(job: SegmentSettings) -> list[Stretch]:
    wanted = wanted_frames(job)
    assert wanted is not None
    return list(stretches(wanted, -(-len(wanted) // PIECE)))


def make(job: SegmentSettings, model: Model, folder: StretchFolder, made: list[Stretch]) -> Iterator[Stretch]:
    for stretch in made:
        if not folder.has(stretch):
            assert run_stretch(job, model, stretch, folder.path, stop=Event(), on_frame=lambda _: None)
        yield stretch


def joined(job: SegmentSettings, model: Model, *, without: int = 0) -> Report:
    """The outputs from stretches; the last ones, so many, are not made."""
    cut = cut_up(job)
    with open_video(job, model) as source, StretchFolder(job, model) as folder:
        made = make(job, model, folder, cut[: len(cut) - without])
        return join(job, source.info, model, folder, made, cut[-1].end)


def outputs(job: SegmentSettings) -> dict[str, Any]:
    assert job.overlay
    assert job.masks
    assert job.stats
    with av.open(job.overlay) as container:
        context = container.streams.video[0].codec_context
        colors = (context.color_range, context.colorspace, context.color_primaries, context.color_trc)
        length = container.streams.video[0].duration
    return {
        "pictures": pictures_of(job.overlay),
        "sound": sound_times_of(job.overlay),
        "colors": colors,
        "length": length,
        "masks": content(job.masks),
        "shares": content(job.stats),
    }


@in_short_pieces
@pytest.mark.parametrize(
    ("kinds", "settings"),
    [
        ({}, {}),
        ({"overlay": ".mkv", "masks": ".zip"}, {"reuse": True}),
        ({"masks": ".mkv", "stats": ".parquet"}, {"smooth": False, "max_frames": FRAMES - 5}),
        ({"overlay": ".mov", "masks": ".mkv"}, {"start": 1, "preset": "veryfast"}),  # whose pictures are not in order
        ({"masks": ".mkv"}, {"stream": 0, "alpha": 1.0, "legend": "auto"}),
        ({"stats": ".parquet"}, {"blur": ("sky",), "renamed": (("Sky", "above"), ("Car", "road"))}),
    ],
)
def test_they_are_joined_to_what_one_run_makes(
    clip: Path, model: Model, tmp_path: Path, kinds: dict[str, str], settings: dict[str, Any]
) -> None:
    for name in ("one", "many"):
        (tmp_path / name).mkdir()
    one = replace(job_for(clip, tmp_path / "one", **kinds), **settings)
    many = replace(job_for(clip, tmp_path / "many", **kinds), **settings)
    whole, report = process_video(one, model), joined(many, model)
    assert (report.frames, report.reused, report.state) == (whole.frames, whole.reused, "done")
    assert whole.unlike
    assert 0 < report.unlike == whole.unlike < 1
    assert outputs(many) == outputs(one)
    assert not [path for path in (tmp_path / "many").iterdir() if path.name.startswith(".")]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")
@in_short_pieces
def test_stretches_and_what_is_joined_of_them_are_on_disk_before_anything_relies_on_it(
    clip: Path, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, replaced, told = Disk(monkeypatch), os.replace, []

    def tell(source: Path, target: Path) -> None:
        if Path(target).parent.name == "stretches" and Path(target).suffix == ".json":
            made = [path for path in Path(target).parent.glob(f"{Path(target).stem}.*") if path.stat().st_size]
            assert [path.name for path in made if not disk.has(path)] == []
            told.append(len(made))
        replaced(source, target)

    monkeypatch.setattr(os, "replace", tell)
    joined(job_for(clip, tmp_path, masks=".zip"), model)
    assert told == [4] * 3, "pictures, masks, rows and what is told of them"
    assert [path.name for path in tmp_path.rglob("*.*") if path.is_file() and not disk.has(path)] == []


@in_short_pieces
def test_what_was_made_before_a_stop_is_whole_and_is_not_made_again(clip: Path, model: Model, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    process_video(one := job_for(clip, tmp_path / "one"), model)
    report = joined(job := job_for(clip, tmp_path), model, without=1)
    assert (report.frames, report.state) == (2 * PIECE, "interrupted")
    assert job.masks
    with open_masks(job.masks) as masks:
        assert len(list(masks)) == 2 * PIECE
        assert masks.ending
        assert masks.ending.state == "interrupted"
    with pytest.raises(OutputError, match="an earlier run was stopped; pass --resume"):
        StretchFolder(job, model)
    with pytest.raises(OutputError, match="cannot be gone on with: --smooth was on, is now off"):
        StretchFolder(replace(job, resume=True, smooth=False), model)
    again = replace(job, resume=True)
    first = facts_path(StretchFolder(again, model).path, cut_up(job)[0])
    before = first.stat().st_mtime_ns
    assert StretchFolder(again, model).count() == 3
    watched: list[int] = []

    def made(folder: StretchFolder) -> Iterator[Stretch]:
        for stretch in make(again, model, folder, cut_up(job)):
            watched.append(first.stat().st_mtime_ns)
            yield stretch

    with open_video(again, model) as source, StretchFolder(again, model) as folder:
        assert join(again, source.info, model, folder, made(folder), FRAMES).state == "done"
    assert watched == [before] * 3
    assert outputs(again) == outputs(one)


@in_short_pieces
def test_a_stretch_that_is_stopped_is_not_done(clip: Path, model: Model, tmp_path: Path) -> None:
    job, stop = job_for(clip, tmp_path), Event()
    (stretch, *_) = cut_up(job)
    with StretchFolder(job, model) as folder:
        assert not run_stretch(job, model, stretch, folder.path, stop=stop, on_frame=lambda _: stop.set())
        assert not folder.has(stretch)


def damaged(clip: Path, path: Path) -> Path:
    content = bytearray(clip.read_bytes())
    for place in range(2000, len(content) * 3 // 4, 2000):  # sound lies between the pictures
        content[place : place + 100] = bytes(100)
    path.write_bytes(content)
    return path


@in_short_pieces
def test_a_damaged_video_is_none_to_be_cut(clip: Path, model: Model, tmp_path: Path) -> None:
    job = job_for(damaged(clip, tmp_path / "drive.mp4"), tmp_path)
    assert wanted_frames(job) is None  # which its packets tell; where they do not, it is noticed
    cut = cut_up(job_for(clip, tmp_path))
    with StretchFolder(job, model) as folder, pytest.raises(NotAsPlanned, match=r"damaged|fewer frames"):
        list(make(job, model, folder, cut))


@in_short_pieces
def test_frames_that_are_not_where_the_packets_say_are_noticed(clip: Path, model: Model, tmp_path: Path) -> None:
    job = job_for(clip, tmp_path)
    stretch = cut_up(job)[1]
    wrong = replace(stretch, pts=np.concatenate([stretch.pts[:-1], stretch.pts[-1:] + 1]))
    with (
        StretchFolder(job, model) as folder,
        pytest.raises(NotAsPlanned, match="its frames are other ones than its packets tell"),
    ):
        run_stretch(job, model, wrong, folder.path, stop=Event(), on_frame=lambda _: None)


@in_short_pieces
def test_stretches_that_do_not_meet_are_not_joined(
    clip: Path, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a video that jumped into gives grey pictures at first."""
    looks = iter(range(10_000))
    monkeypatch.setattr("roadmask.stream.cluster.stretch.look_of", lambda _: next(looks))
    with pytest.raises(NotAsPlanned, match="where it is jumped into it gives other pictures"):
        joined(job_for(clip, tmp_path), model)


def test_a_video_whose_packets_have_no_times_of_their_own_is_not_cut(tmp_path: Path) -> None:
    raw = tmp_path / "drive.h264"
    with av.open(raw, "w") as container:
        stream = container.add_stream("libx264", rate=25, width=64, height=48)
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(stream.encode(None))
    assert wanted_frames(SegmentSettings(raw)) is None


def test_only_what_is_long_enough_is_cut_and_the_more_the_more_workers_there_are() -> None:
    assert stretch_count(10_000, workers=1) == 0
    assert stretch_count(700, workers=8) == 0
    assert stretch_count(1000, workers=8) == 2
    assert stretch_count(15_000, workers=8) == 24
    assert stretch_count(1_000_000, workers=8) == 504


@pytest.mark.parametrize(("frames", "count"), [(1000, 2), (1001, 2), (3132, 6), (90_001, 46)])
def test_stretches_are_whole_pieces_of_nearly_one_length_and_leave_nothing_out(frames: int, count: int) -> None:
    numbers = np.arange(frames)
    cut = list(stretches(WantedFrames(numbers, numbers), count))
    assert [stretch.begin for stretch in cut] + [frames] == [0] + [stretch.end for stretch in cut]
    lengths = [-(-(stretch.end - stretch.begin) // REAL_PIECE) for stretch in cut]
    assert max(lengths) - min(lengths) <= 1
    assert all(stretch.begin % REAL_PIECE == 0 for stretch in cut)
    assert [stretch.is_last for stretch in cut] == [False] * (count - 1) + [True]
