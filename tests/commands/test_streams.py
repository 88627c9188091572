"""Who reads what a command says changes nothing: closed, nobody there, or a full disk."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import av
import pytest

from tests.support.clips import cfr, make_clip
from tests.support.color_model import write_color_model
from tests.support.own_process import LIMIT_S, PYTHONPATH

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a POSIX shell and /dev/full")


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """`rm` stands for the command."""
    script = f'set -o pipefail\nrm() {{ "{sys.executable}" -m roadmask "$@"; }}\n{line}'
    env = {**os.environ, "PYTHONPATH": PYTHONPATH}
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, env=env, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streams")
    make_clip(folder / "drive.mp4", cfr(5))
    write_color_model(folder / "colors.onnx")
    return folder


@pytest.mark.parametrize("streams", [">&-", "2>&-", ">&- 2>&- <&-", "2>&1 | head -c 1"])
@pytest.mark.parametrize(
    ("command", "code"), [("rm", 0), ("rm --help", 0), ("rm info drive.mp4", 0), ("rm info no.mp4", 1), ("rm run", 2)]
)
def test_a_stream_that_nobody_reads_leaves_the_exit_code_alone(
    command: str, streams: str, code: int, folder: Path
) -> None:
    done = shell(f"{command} {streams}", folder)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_with_all_streams_closed_a_run_s_outputs_hold_nothing_but_what_is_theirs(folder: Path) -> None:
    run = "rm run drive.mp4 --model colors.onnx -o seen.mp4 --masks masks.zip --stats shares.csv"
    assert shell(f"{run} <&- >&- 2>&-", folder).returncode == 0
    done = shell("rm verify masks.zip drive.mp4 && rm info seen.mp4 && wc -l < shares.csv", folder)
    assert "5 masks, all whole" in done.stdout
    assert "frames             5" in done.stdout
    assert done.stdout.endswith("6\n")


def test_a_video_to_a_standard_output_that_is_closed_is_refused(folder: Path) -> None:
    done = shell("rm run drive.mp4 --model colors.onnx -o - >&-", folder)
    assert done.returncode == 1
    assert "roadmask: -: standard output is closed" in done.stderr


def test_results_that_cannot_be_written_are_told_in_one_line_and_by_the_exit_code(folder: Path) -> None:
    done = shell("rm info drive.mp4 > /dev/full", folder)
    assert done.returncode == 1
    assert done.stderr == "roadmask: standard output cannot be written (No space left on device)\n"


def test_a_file_that_is_over_before_the_sender_has_begun_is_sent_whole(folder: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port:
        port.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        port.bind(("127.0.0.1", 0))
        port.settimeout(0.5)
        done = shell(f"rm run drive.mp4 --model colors.onnx -o udp://127.0.0.1:{port.getsockname()[1]}", folder)
        assert done.returncode == 0, done.stderr
        assert "5 of 5 frames sent" in done.stderr
        sent = io.BytesIO()
        with suppress(TimeoutError):
            while datagram := port.recv(1 << 16):
                sent.write(datagram)
    sent.seek(0)
    with av.open(sent, format="mpegts") as container:
        assert sum(1 for _ in container.decode(video=0)) == 5


def test_a_file_that_is_only_sent_to_a_server_has_failed_where_none_took_it(folder: Path) -> None:
    done = shell("rm run drive.mp4 --model colors.onnx -o rtsp://127.0.0.1:9/seen --timeout 1", folder)
    assert done.returncode == 1
    assert "\nroadmask: rtsp://127.0.0.1:9/seen: none of 5 frames was sent: nothing there took them (" in done.stderr
    beside = shell("rm run drive.mp4 --model colors.onnx -o rtsp://127.0.0.1:9/seen --masks masks2.zip", folder)
    assert beside.returncode == 0
    assert "0 of 5 frames sent" in beside.stderr
