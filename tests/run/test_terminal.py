"""What stands on a terminal while a run goes on: a real one, of the kind that a window has."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.clips import cfr, make_clip
from tests.support.numbered_camera import Film
from tests.support.own_process import PYTHONPATH, ends_with_test
from tests.support.rtsp_server import RtspServer
from tests.support.waiting import until

pty = pytest.importorskip("pty", reason="terminals of POSIX")


class Terminal:
    """Runs `roadmask run` with its talk on a terminal of 120 columns; `text` is what stood there so far."""

    def __init__(self, *arguments: object, folder: Path) -> None:
        self._seen = bytearray()
        self._end, inner = pty.openpty()
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
        environment["PYTHONPATH"] = PYTHONPATH
        command = [sys.executable, "-m", "roadmask", "run", *map(str, arguments)]
        self.process = ends_with_test(
            subprocess.Popen(command, stdin=inner, stdout=subprocess.DEVNULL, stderr=inner, cwd=folder, env=environment)
        )
        os.close(inner)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        try:
            while more := os.read(self._end, 65536):
                self._seen += more
        except OSError:
            pass  # the other end is closed

    @property
    def text(self) -> str:
        return self._seen.decode(errors="replace")

    def wait(self) -> int:
        code = self.process.wait(60)
        self._reader.join(10)
        os.close(self._end)
        return code


def test_several_files_have_a_bar_each_and_one_for_all_and_then_a_table(model: Path, tmp_path: Path) -> None:
    drives = tmp_path / "drives"
    drives.mkdir()
    for name in ("a", "b"):
        make_clip(drives / f"{name}.mp4", cfr(200))
    terminal = Terminal(drives, "-o", "out/", "--model", model, "--preset", "ultrafast", folder=tmp_path)
    assert terminal.wait() == 0
    assert "of 2 files" in terminal.text
    assert "/200" in terminal.text
    assert "2 files: 2 done; 400 frames in " in terminal.text


def test_a_camera_has_a_table_of_its_numbers(model: Path, tmp_path: Path) -> None:
    with RtspServer(Film()) as server:
        terminal = Terminal(f"gate={server.url}", "-o", "out/", "--model", model, folder=tmp_path)
        until(lambda: "reconnects" in terminal.text, 30)
        until(lambda: "gate" in terminal.text.rpartition("reconnects")[2], 30)
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.wait() == 130
    for heading in ("camera", "state", "fps", "latency", "written", "dropped", "undecodable"):
        assert heading in terminal.text
