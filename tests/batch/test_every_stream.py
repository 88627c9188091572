"""A file of several cameras: every stream has results of its own, whoever asks for them, and sound in each."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import fsspec
import numpy as np
import pytest
from av.stream import Disposition

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.batch import remote
from roadmask.stream.cli import main
from roadmask.stream.decode.video_stream import tracks_of
from tests.support.clips import times_of
from tests.support.color_model import COLORS
from tests.support.own_process import LIMIT_S, eager, started
from tests.support.run_command import run
from tests.support.waiting import until

FRAMES = 12
SIZES = ((48, 64), (32, 80))  # of front and rear
FRONT, REAR = ("Road", "Sky")  # what each sees


def cameras(
    path: Path,
    titles: tuple[str, ...] = ("front", "Rear cam"),
    *,
    default: int = 0,
    cover: bool = False,
    frames: int = FRAMES,
) -> Path:
    """Two streams of a colour each, and sound; a cover picture before them."""
    with av.open(path, "w") as container:
        videos: list[Any] = []
        for number, ((height, width), title) in enumerate(zip(SIZES, titles, strict=True)):
            video: Any = container.add_stream("mpeg4", rate=25, width=width, height=height)
            video.pix_fmt = "yuv420p"
            video.metadata["title"] = title
            video.disposition = Disposition.default if number == default else Disposition(0)
            videos.append(video)
        track: Any = container.add_stream("aac", rate=48000, layout="mono")
        still: Any = None
        if cover:
            still = container.add_stream("mjpeg", rate=25, width=96, height=96)
            still.pix_fmt, still.disposition = "yuvj420p", Disposition.attached_pic
            container.mux(still.encode(av.VideoFrame(96, 96, "yuvj420p")))
        for first in range(0, frames * 48000 // 25, 1024):
            heard = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            heard.sample_rate, heard.pts, heard.time_base = 48000, first, Fraction(1, 48000)
            container.mux(track.encode(heard))
        for number in range(frames):
            for video, (height, width), color in zip(videos, SIZES, (FRONT, REAR), strict=True):
                pixels = np.full((height, width, 3), COLORS[color], np.uint8)
                picture = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
                picture.pts, picture.time_base = number, Fraction(1, 25)
                container.mux(video.encode(picture))
        for stream in (*videos, track, *([still] if still else [])):
            container.mux(stream.encode(None))
    return path


def outputs(label: str, name: str = "drive") -> set[str]:
    stem = f"{name}_{label}" if label else name
    return {f"{stem}_overlay.mp4", f"{stem}_masks", f"{stem}_stats.csv"}


def results(out: Path) -> set[str]:
    return {path.name for path in out.iterdir() if not path.name.startswith(".")}


def sees(out: Path, label: str, color: str, size: tuple[int, int], frames: int = FRAMES) -> None:
    """All outputs of a stream are whole, and its own."""
    stem = f"drive_{label}" if label else "drive"
    with open_masks(out / f"{stem}_masks") as masks:
        assert len(masks) == frames
        assert masks[0].shape == size
        assert (masks[frames - 1] == list(COLORS).index(color)).all()
    with (out / f"{stem}_stats.csv").open(newline="") as file:
        assert [row[color] for row in csv.DictReader(file)] == ["1.000000"] * frames
    assert len(times_of(out / f"{stem}_overlay.mp4")) == frames
    with av.open(out / f"{stem}_overlay.mp4") as container:
        assert [stream.codec_context.name for stream in container.streams.audio] == ["aac"], "sound belongs to each"


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_all_streams_have_results_named_by_their_titles(suffix: str, model: Path, tmp_path: Path) -> None:
    drive, out = cameras(tmp_path / f"drive{suffix}"), tmp_path / "out"
    assert run(drive, "-o", f"{out}/", "--stream", "all", model=model) == 0
    assert results(out) == outputs("front") | outputs("Rear-cam") | {"summary.json"}
    sees(out, "front", FRONT, SIZES[0])
    sees(out, "Rear-cam", REAR, SIZES[1])
    with open_masks(out / "drive_Rear-cam_masks") as masks:
        assert masks.header.stream == 1
    assert main(["verify", str(out / "drive_Rear-cam_masks"), str(drive)]) == 0


@pytest.mark.parametrize(
    ("titles", "labels"),
    [
        (("", ""), ("stream0", "stream1")),
        (("cam", "CAM"), ("stream0", "stream1")),
        (("front", ""), ("front", "stream1")),
        (("../../etc", "7"), ("etc", "stream1")),
        (("x" * 41, "vorne/links ä"), ("stream0", "vorne-links-ä")),
    ],
)
def test_a_title_that_is_not_fit_for_a_name_gives_way_to_the_number(
    titles: tuple[str, str], labels: tuple[str, str], tmp_path: Path
) -> None:
    drive = cameras(tmp_path / "drive.mkv", titles, frames=1)
    with av.open(drive) as container:
        assert tuple(track.label for track in tracks_of(container, drive)) == labels


def test_two_calls_for_two_streams_do_not_collide_and_the_default_one_keeps_the_file_s_name(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drive, out = cameras(tmp_path / "drive.mkv"), tmp_path / "out"
    for stream in ("0", "1"):
        assert run(drive, "-o", f"{out}/", "--stream", stream, model=model) == 0
    assert results(out) == {*outputs(""), *outputs("Rear-cam"), "drive_run.json", "drive_Rear-cam_run.json"}
    sees(out, "", FRONT, SIZES[0])
    sees(out, "Rear-cam", REAR, SIZES[1])
    for stream in ("0", "1"):
        assert run(drive, "-o", f"{out}/", "--stream", stream, "--resume", model=model) == 0
    assert capsys.readouterr().err.count("1 file: 1 done before") == 2


def test_the_default_stream_is_told_with_the_way_to_the_others(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cameras(tmp_path / "drive.mkv", default=1)
    assert run("drive.mkv", model=model) == 0
    assert "has 2 video streams; number 1, 80x32, is taken (--stream all takes each, --" in capsys.readouterr().err
    assert run("drive.mkv", "--stream", "all", model=model) == 0
    assert run("drive.mkv", "--stream", "0", "--overwrite", model=model) == 0
    assert {path.name for path in tmp_path.glob("*.mp4")} == {
        *("drive_overlay.mp4", "drive_front_overlay.mp4", "drive_Rear-cam_overlay.mp4"),
    }


def test_cover_pictures_never_count(model: Path, tmp_path: Path) -> None:
    drive, out = cameras(tmp_path / "drive.mp4", cover=True), tmp_path / "out"
    with av.open(drive) as container:
        assert len(container.streams.video) == 3
    assert run(drive, "-o", f"{out}/", "--stream", "all", model=model) == 0
    assert results(out) == outputs("front") | outputs("Rear-cam") | {"summary.json"}


@pytest.mark.logs_errors
def test_a_folder_has_all_streams_of_all_files_and_a_broken_one_costs_itself(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    cameras(folder / "drive.mkv")
    shutil.copy(folder / "drive.mkv", folder / "again.mkv")
    (folder / "bad.mkv").write_bytes(b"junk\xff")
    arguments = (folder, "-o", f"{out}/", "--stream", "all")
    assert run(*arguments, model=model) == 3
    talk = capsys.readouterr().err
    assert "5 files: 4 done, 1 failed" in talk
    assert "drive.mkv (Rear-cam): 12 frames" in talk
    expected = {
        name for drive in ("drive", "again") for label in ("front", "Rear-cam") for name in outputs(label, drive)
    }
    assert results(out) == {*expected, "summary.json"}
    shutil.rmtree(out / "drive_front_masks")
    assert run(*arguments, model=model) == 3
    assert "5 files: 1 done, 1 failed, 3 done before" in capsys.readouterr().err
    sees(out, "front", FRONT, SIZES[0])


@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
def test_all_streams_of_a_killed_run_are_whole_after_the_next(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cameras(tmp_path / "drive.mkv", frames=300)
    arguments = ["run", "drive.mkv", "--stream", "all", "--summary", "all.json", "--model", str(model), "--quiet"]
    states = [tmp_path / f".drive_{label}_overlay.mp4.progress/state.npz" for label in ("front", "Rear-cam")]
    process = started(eager(*arguments), lambda: all(path.exists() for path in states))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=LIMIT_S)
    assert main([*arguments, "--resume"]) == 0
    content = json.loads((tmp_path / "all.json").read_text(encoding="utf-8"))
    assert sorted(entry["frames"] for entry in content["sources"]) == [300, 300]
    assert all(entry["resumed"] for entry in content["sources"]), "both were at work, side by side"
    for label in ("front", "Rear-cam"):
        assert len(times_of(tmp_path / f"drive_{label}_overlay.mp4")) == 300
    assert results(tmp_path) == {"drive.mkv", "all.json", "drive_front_overlay.mp4", "drive_Rear-cam_overlay.mp4"}


def test_streams_of_a_file_elsewhere_are_told_apart_there_and_one_download(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = fsspec.filesystem("memory")
    fetched: list[str] = []
    get = remote.fetch

    def slow_fetch(url: str, path: Path) -> None:
        fetched.append(url)
        until(lambda: remote._copies[url].users == 2)
        get(url, path)

    monkeypatch.setattr(remote, "fetch", slow_fetch)
    memory.pipe("/in/drive.mkv", cameras(tmp_path / "drive.mkv").read_bytes())
    assert run("memory://in/drive.mkv", "-o", f"{tmp_path}/out/", "--stream", "all", model=model) == 0
    assert outputs("front") | outputs("Rear-cam") <= results(tmp_path / "out")
    sees(tmp_path / "out", "Rear-cam", REAR, SIZES[1])
    assert len(fetched) == 1
    memory.store.clear()


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["-o", "seen.mp4", "--stream", "all"], 1, "2 sources cannot go into one file; name a folder: -o DIR/"),
        (["--masks", "m.zip", "--stream", "all"], 1, "2 sources cannot go into one file; name a folder"),
        (["-o", "out/", "--masks", "m.zip", "--stream", "all"], 1, "(Rear-cam) and drive.mkv (front) would both write"),
        (["-o", "out/", "--stream", "2"], 1, "has no video stream 2; they go from 0 to 1"),
        (["--stream", "both"], 2, "'both' is neither all nor a number from 0 on"),
        (["--stream", "-1"], 2, "'-1' is neither all nor a number from 0 on"),
    ],
)
def test_what_cannot_be_made_of_several_streams_is_one_line(
    arguments: list[str],
    code: int,
    told: str,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    cameras(tmp_path / "drive.mkv", frames=2)
    assert run("drive.mkv", *arguments, model=model) == code
    assert told in " ".join(capsys.readouterr().err.split())
    made = {path.name for path in tmp_path.rglob("*") if path.is_file() and not path.name.endswith("_run.json")}
    assert made == {"drive.mkv"}


def test_info_lists_the_streams(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cameras(tmp_path / "drive.mkv", default=1)
    assert main(["info", str(tmp_path / "drive.mkv"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [(item["stream"], item["label"], item["width"], item["height"]) for item in facts["streams"]] == [
        (0, "front", 64, 48),
        (1, "Rear-cam", 80, 32),
    ]
    assert [item["is_default"] for item in facts["streams"]] == [False, True]
    assert main(["info", str(tmp_path / "drive.mkv")]) == 0
    assert "  1: Rear-cam, 80x32, the default" in capsys.readouterr().out.splitlines()
