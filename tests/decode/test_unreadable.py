"""Sources that cannot be read, are none, or never begin: one line, and nothing waits for them."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from roadmask.stream.camera.camera import CameraSettings, is_camera
from roadmask.stream.cli import main
from tests.support.awkward_files import remuxed, video
from tests.support.clips import cfr, make_clip
from tests.support.own_process import LIMIT_S, python
from tests.support.run_command import run

needs_proc = pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="a file that cannot be read")
ROADMASK = python("import sys; from roadmask.stream.cli import main; sys.exit(main(sys.argv[1:]))")


@needs_proc
@pytest.mark.parametrize("command", ["run", "info"])
def test_a_source_whose_first_bytes_cannot_be_read_is_one_line(
    command: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "drive.mp4"
    source.symlink_to("/proc/self/mem")  # nothing is at address 0
    words = ["-o", str(tmp_path / "seen.mp4"), "--model", str(model)] if command == "run" else []
    assert main([command, str(source), *words]) == 1
    assert f"{source}: cannot be read (Input/output error)\n" in capsys.readouterr().err
    assert not (tmp_path / "seen.mp4").exists()


def test_a_source_whose_last_bytes_cannot_be_read_is_one_line(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = make_clip(tmp_path / "drive.mp4", cfr(3))
    content, opened = clip.read_bytes(), Path.open

    class Torn(io.BytesIO):
        """Of a disk with a bad sector at the end of the file."""

        def seek(self, *_: object) -> int:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def opening(self: Path, *arguments: Any, **options: Any) -> Any:
        return Torn(content) if self == clip else opened(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", opening)
    assert run(clip, "-o", tmp_path / "seen.mp4", model=model) == 1
    assert f"{clip}: cannot be read (Input/output error)\n" in capsys.readouterr().err


def test_a_device_that_is_no_webcam_is_no_camera_whatever_it_is_called(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    linked = tmp_path / "drive.mp4"
    linked.symlink_to("/dev/null")
    assert not is_camera(str(linked), CameraSettings())
    assert not is_camera("/dev/null", CameraSettings())
    assert run(linked, "-o", tmp_path / "seen.mp4", model=model) == 1
    assert f"{linked}: not a file, but a pipe, a device or a socket" in capsys.readouterr().err


def test_a_fifo_that_nobody_writes_to_is_given_up_after_the_time_out(model: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.ts")
    words = ["run", str(tmp_path / "pipe.ts"), "-o", str(tmp_path / "seen.mp4"), "--timeout", "0.5"]
    ended = subprocess.run(
        [*ROADMASK, *words, "--model", str(model)], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert ended.returncode == 1
    assert "pipe: nobody has written to it for 0.5 s; --timeout waits longer" in ended.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--max-pixels", "1000"], "stdin: its pictures of 64x48 are larger than --max-pixels 1000"),
        (["--decode", "mediacodec"], "stdin: cannot be decoded with mediacodec: this FFmpeg has"),
    ],
)
def test_the_promises_of_max_pixels_and_decode_hold_for_a_pipe(
    options: list[str], reason: str, model: Path, tmp_path: Path
) -> None:
    clip = make_clip(tmp_path / "drive.ts", cfr(12))
    words = ["run", "-", "-o", str(tmp_path / "seen.mp4"), "--model", str(model), *options]
    with clip.open("rb") as film:
        ended = subprocess.run(
            [*ROADMASK, *words], stdin=film, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    assert ended.returncode == 1
    assert reason in ended.stderr
    assert not (tmp_path / "seen.mp4").exists()


def earlier(packets: list[Any]) -> list[Any]:
    for packet in packets:
        packet.pts, packet.dts = packet.pts - 5 * 512, packet.dts - 5 * 512
    return packets


def test_info_and_run_agree_on_the_number_of_frames_or_info_says_why_not(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    h264 = video("libx264", gop=20)
    h264(tmp_path / "whole.mp4")
    h264(tmp_path / "whole.mkv")
    remuxed(h264, earlier, avoid_negative_ts="disabled", use_editlist="1")(tmp_path / "edited.mp4")
    video("libx264", muxer={"movflags": "faststart"})(tmp_path / "cut.mp4")
    content = (tmp_path / "cut.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: len(content) * 2 // 3])
    notes = {
        "whole.mp4": None,
        "edited.mp4": "25 declared: 5 left out by an edit list",
        "cut.mp4": "behind the end of the file",
        "whole.mkv": "the file declares no number; decoding tells",
    }
    for name, note in notes.items():
        assert main(["info", str(tmp_path / name), "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert run(tmp_path / name, "--stats", tmp_path / f"{name}.csv", model=model) in (0, 3)
        capsys.readouterr()
        frames = len((tmp_path / f"{name}.csv").read_text().splitlines()) - 1
        if facts["frames"] is not None:
            assert facts["frames"] == frames, name
        assert ("frames_note" in facts) == (note is not None), name
        assert note is None or note in facts["frames_note"]
