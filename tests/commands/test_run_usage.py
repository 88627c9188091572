"""What `roadmask run` refuses: bad input and wrong usage, in a line, with nothing left behind."""

from __future__ import annotations

import os
import re
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from roadmask.stream.cli import main
from roadmask.stream.encode.h264 import H264Encoder
from tests.support.clips import cfr, make_clip, times_of
from tests.support.color_model import halves, spec, write_color_model
from tests.support.run_command import run


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "drive.mp4"
    return make_clip(path, cfr(20), size=(96, 128), picture=halves(), sound_s=[0.8])


def bad(name: str, folder: Path, clip: Path) -> tuple[list[object], str]:
    """A command line that must fail, and what it must say."""
    text, empty = folder / "notes.txt", folder / "empty.mp4"
    text.write_text("no video at all\n" * 50)
    empty.touch()
    sound = make_sound(folder / "sound.m4a")
    out = ["-o", folder / "out.mp4"]
    (folder / "taken.mp4").write_bytes(b"mine")
    newer = write_color_model(folder / "newer.onnx", metadata=spec(schema=9))
    nameless = write_color_model(folder / "nameless.onnx", metadata=None)
    return {
        "missing file": ([folder / "nowhere.mp4", *out], "nowhere.mp4: no such file"),
        "not a video": ([text, *out], "notes.txt: not a video, but text"),
        "empty file": ([empty, *out], "empty.mp4: not a video"),
        "no video stream": ([sound, *out], "sound.m4a: holds no video"),
        "missing model": ([clip, *out, "--model", folder / "no.onnx"], "no.onnx: no such model file"),
        "model without a spec": ([clip, *out, "--model", nameless], "does not describe itself"),
        "model of a newer schema": ([clip, *out, "--model", newer], "newer than this roadmask"),
        "missing device": ([clip, *out, "--device", "warp"], "device 'warp' is not known"),
        "unknown class": ([clip, *out, "--classes", "roda"], "class 'roda' is not known"),
        "existing output": ([clip, "-o", folder / "taken.mp4"], "taken.mp4: exists; pass --overwrite"),
        "output equal to input": ([clip, "-o", clip, "--overwrite"], "is the source itself"),
        "unwritable output": ([clip, "-o", "/proc/nowhere/out.mp4"], "/proc/nowhere/out.mp4: cannot be written"),
        "unknown suffix": ([clip, "--masks", folder / "masks.rar"], "no mask archive has the suffix .rar"),
        "start after the end": ([clip, *out, "--start", "99"], "the video is shorter"),
        "one path twice": ([clip, "--overlay", folder / "a.mkv", "--masks", folder / "a.mkv"], "named for two outputs"),
    }[name]


BAD = [
    "missing file",
    "not a video",
    "empty file",
    "no video stream",
    "missing model",
    "model without a spec",
    "model of a newer schema",
    "missing device",
    "unknown class",
    "existing output",
    "output equal to input",
    "unwritable output",
    "unknown suffix",
    "start after the end",
    "one path twice",
]
WRONG_VALUES = ("missing device", "unknown class", "unknown suffix")  # no device is called warp


def make_sound(path: Path) -> Path:
    with av.open(path, "w", format="mp4") as container:
        track = container.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        container.mux(track.encode(frame))
        container.mux(track.encode(None))
    return path


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line_and_its_code_and_leaves_nothing_behind(
    case: str, clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, message = bad(case, tmp_path, clip)
    before = {path: path.read_bytes() for path in [clip, *tmp_path.iterdir()]}
    if "--model" not in arguments:
        arguments = [*arguments, "--model", model]
    assert main(["run", *map(str, arguments)]) == (2 if case in WRONG_VALUES else 1)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("roadmask: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert {path: path.read_bytes() for path in [clip, *tmp_path.iterdir()]} == before


def test_an_encoder_that_does_not_start_is_told_before_anything_is_said_of_the_run(
    clip: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(H264Encoder, "failure", lambda *_: "no GPU here")
    assert run(clip, "-o", tmp_path / "out.mp4", "--encoder", "nvenc", model=model) == 1
    assert re.fullmatch(r"roadmask: encoder nvenc does not start .*\n", capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [["run"], ["run", "x.mp4", "--alpha", "2"], ["run", "x.mp4", "--start", "soon"], ["runs"], ["info"]]
)
def test_wrong_usage_is_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "Error" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["masks.rar", "masks.npz"])
def test_masks_of_a_kind_that_no_run_writes_are_refused_before_anything_is_opened(
    name: str, clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(clip, "--masks", tmp_path / name, model=model) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"roadmask: {tmp_path / name}: ")


RTSP = "rtsp://127.0.0.1:1/camera"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([RTSP, "--watch", "-o", "out/"], "--watch is for files"),
        (["frames/%05d.png", "--watch", "-o", "out/"], "--watch is for files"),
        ([".", "--watch"], "--watch is for folders of this machine, and needs another for what it makes: -o DIR/"),
        ([".", "--watch", "-o", "out.mp4"], "--watch needs a folder for what it makes: -o DIR/"),
        ([".", "--watch", "-o", "-"], "--watch needs a folder for what it makes: -o DIR/"),
        ([".", "--watch", "-o", "s3://bucket/out/"], "--watch is for folders of this machine"),
        (["s3://bucket/in/", "--watch", "-o", "out/"], "--watch is for folders of this machine"),
        ([".", "--watch", "-o", "out/", "--ray"], "--watch does not go with --ray: a cluster runs the files that are"),
        ([".", "--watch", "-o", "out/", "--masks", "a.zip"], "--watch does not go with --masks: many files do not go"),
        ([".", "--watch", "-o", "out/", "--as", "pictures"], "--watch "),
        ([".", "--watch", "-o", "out/", "--stream", "all"], "--watch does not go with --stream all"),
        ([".", "-o", "out/", "--settle", "1m"], "--settle needs --watch"),
        ([".", "--watch", "-o", "out/", "--settle", "soon"], "'soon' is no length of time"),
        ([RTSP, "--stream", "1", "-o", "out.mp4"], "--stream is for files"),
        ([RTSP, "--ray", "-o", "out/"], "--ray is for files"),
        (["drive.mp4", "--ray", "--show"], "--ray is for files"),
        ([RTSP], "say what to make of it: -o DIR/ or"),
        ([RTSP, "drive.mp4", "-o", "out/"], "drive.mp4 is a file and others are cameras"),
        (["rtsp://joe:se", "cret@cam/x", "-o", "out/"], " cam/x is no camera, and no file; an address with a blank"),
        (["drive.mp4", "--keep", "48h"], "--keep is for streams and webcams"),
        (["drive.mp4", "--segment-time", "10m"], "--segment-time is for streams and webcams"),
        (["drive.mp4", "--policy", "auto"], "--policy is for streams, webcams and pipes"),
        (["drive.mp4", "--timeout", "5"], "--timeout is for streams, webcams and pipes"),
        (["drive.mp4", "--max-retries", "5"], "--max-retries is for streams and webcams"),
        (["drive.mp4", "--input-rate", "30"], "--input-rate is for webcams, what --input-format names, numbered"),
        (["drive.mp4", "--input-format", "mpegts"], "--input-format is for streams, webcams and pipes"),
        (["s3://bucket/drive.mp4", "--rtsp-transport", "udp"], "--rtsp-transport is for rtsp://"),
        (["drive.mp4", "--allow-redirects"], "--allow-redirects is for rtsp:// and http://"),
        (["frames/%05d.png", "--stream", "1"], "--stream is for files"),
        (["frames/%05d.png", "--resume"], "--resume is for files"),
        (["frames/%05d.png", "--keep", "48h"], "--keep is for streams and webcams"),
        (["frames/%05d.png", "--input-rate", "soon"], "'soon' is no rate such as 10"),
        (["frames/%05d.png", "--input-rate", "0"], "'0' is no rate such as 10"),
        (["pipe.ts", "--resume"], "--resume is for files"),
        (["pipe.ts", "--max-retries", "5"], "--max-retries is for streams and webcams"),
        (["pipe.ts", "--keep", "48h"], "--keep is for streams and webcams"),
        (["pipe.ts", "--input-rate", "30"], "--input-rate is for webcams"),
        (["pipe.ts", "--jobs", "2"], "--jobs is for files and numbered pictures"),
        ([RTSP, "--resume", "-o", "out/"], "--resume is for files"),
        ([RTSP, "--overwrite", "-o", "out/"], "--overwrite is for files, numbered pictures and pipes"),
        ([RTSP, "--summary", "s.json", "-o", "out/"], "--summary is for files"),
        ([RTSP, "--input-rate", "30", "-o", "out/"], "--input-rate is for webcams"),
        ([RTSP, "--keep", "48h", "--serve", "127.0.0.1:0"], "--keep needs -o"),
        (["udp://127.0.0.1:5000", "--rtsp-transport", "tcp", "-o", "out/"], "--rtsp-transport is for rtsp://"),
        (["/dev/video9", "--allow-redirects", "-o", "out/"], "--allow-redirects is for rtsp:// and http://"),
        (["/dev/video9", "--batch", "4", "-o", "out/"], "--batch is for files, numbered pictures and pipes"),
        (["drive.mp4", "--ray-workers", "2"], "--ray-workers needs --ray"),
        ([RTSP, "--token", "correct horse", "-o", "out/"], "--token needs --serve"),
        (["drive.mp4", "--jobs", "some"], "'some' is neither auto nor a positive number"),
        (["drive.mp4", "--workers", "0"], "'0' is neither auto nor a positive number"),
    ],
)
def test_options_that_would_do_nothing_together_are_wrong_usage(
    arguments: list[str],
    told: str,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.ts")
    Path("drive.mp4").touch()
    assert run(*arguments, model=model) == 2
    assert told in re.sub(r"[\s│]+", " ", capsys.readouterr().err)
    assert {path.name for path in tmp_path.iterdir()} == {"pipe.ts", "drive.mp4"}


def test_cameras_of_one_name_are_told_to_have_two(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(f"front={RTSP}", f"front={RTSP}/2", "-o", f"{tmp_path}/", model=model) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "roadmask: 2 cameras are called front; give them names: left=rtsp://... right=rtsp://..."


@pytest.mark.parametrize("rate", ["10", "30000/1001"])
def test_numbered_pictures_have_the_rate_that_is_asked_for(rate: str, model: Path, tmp_path: Path) -> None:
    for number in range(10):
        av.VideoFrame.from_ndarray(halves(), "rgb24").to_image().save(tmp_path / f"{number:03d}.png")
    made = ("-o", tmp_path / "out.mp4", "--masks", tmp_path / "masks.zip")
    assert run(tmp_path / "%03d.png", *made, "--input-rate", rate, model=model) == 0
    assert main(["verify", str(tmp_path / "masks.zip"), str(tmp_path / "%03d.png")]) == 0
    assert times_of(tmp_path / "out.mp4") == [number / Fraction(rate) for number in range(10)]
    assert run(tmp_path / "%03d.png", "--overlay", tmp_path / "usual.mp4", model=model) == 0
    assert times_of(tmp_path / "usual.mp4")[-1] == Fraction(9, 25)


def test_several_sources_do_not_go_into_one_stream(clip: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(clip, clip.with_name("none.mp4"), "-o", "-", model=model) == 1
    assert "2 sources cannot go into one stream; run them apart" in capsys.readouterr().err


def test_the_end_must_be_later_than_the_start(clip: Path, model: Path) -> None:
    assert run(clip, "--start", "5", "--end", "5", model=model) == 2
