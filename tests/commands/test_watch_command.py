"""`roadmask run` for cameras, as it is called and as it is ended."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from roadmask.stream.cli import main
from roadmask.stream.system.talk import hide_arguments
from tests.support.clips import times_of
from tests.support.numbered_camera import Film
from tests.support.own_process import ends_with_test
from tests.support.rtsp_faults import STEPS, Faults, Step
from tests.support.rtsp_server import RtspServer
from tests.support.run_command import run
from tests.support.waiting import LONG_S, until

pytestmark = pytest.mark.usefixtures("short_pauses")
FILM = Film(rate=50, gop=10)
PATIENT = ("--timeout", f"{2 * LONG_S:g}s")  # a run that waited for it would end too late


@contextmanager
def signalled(number: signal.Signals, happens: Callable[[], object]) -> Iterator[list[float]]:
    """Send this process a signal when something has happened; gives when that was."""
    sent_at: list[float] = []
    over = threading.Event()

    def send() -> None:
        until(lambda: happens() or over.is_set(), 2 * LONG_S)
        if not over.is_set():
            sent_at.append(time.monotonic())
            os.kill(os.getpid(), number)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield sent_at
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_ends_it_with_whole_files(number: signal.Signals, code: int, model: Path, tmp_path: Path) -> None:
    with RtspServer(FILM) as server, signalled(number, lambda: len(server.sent) > 100) as sent_at:
        assert run(f"gate={server.url}", *PATIENT, "-o", f"{tmp_path}/", model=model) == code
        assert time.monotonic() - sent_at[0] < LONG_S
    (overlay,) = tmp_path.glob("gate_overlay_*.mp4")
    (stats,) = tmp_path.glob("gate_stats_*.csv")
    frames = len(times_of(overlay))
    assert frames == len(stats.read_text().splitlines()) - 1 > 0
    assert not list(tmp_path.glob("*partial*"))


@pytest.mark.parametrize("step", STEPS)
def test_a_signal_ends_it_while_the_server_hangs(step: Step, model: Path, tmp_path: Path) -> None:
    with (
        RtspServer(FILM, faults=Faults(hang_at=step)) as server,
        signalled(
            signal.SIGINT, lambda: server.sessions and (step == "connect" or step in server.sessions[0].requests)
        ) as sent_at,
    ):
        assert run(f"gate={server.url}", *PATIENT, "-o", tmp_path / "out.mp4", model=model) == 130
        assert time.monotonic() - sent_at[0] < LONG_S
    assert not list(tmp_path.iterdir())


@pytest.mark.logs_errors
def test_a_camera_that_is_given_up_ends_it_with_1_and_whole_files(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RtspServer(FILM) as server:

        def go_down() -> None:
            until(lambda: len(server.sent) > 100)
            server.go_down()

        going = threading.Thread(target=go_down)
        going.start()
        options = ("--max-retries", 2, "-o", tmp_path / "out.mp4")
        assert run(f"gate={server.url}", *options, model=model) == 1
        going.join()
    (overlay,) = tmp_path.iterdir()
    assert times_of(overlay)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "roadmask: gate: connection refused: nothing listens at this address; given up after 3 tries"


def test_each_camera_has_files_of_its_own(model: Path, tmp_path: Path) -> None:
    with (
        RtspServer(FILM) as left,
        RtspServer(FILM) as right,
        signalled(signal.SIGINT, lambda: len(left.sent) > 100 and len(right.sent) > 100),
    ):
        assert run(f"left={left.url}", f"right={right.url}", "-o", f"{tmp_path}/", model=model) == 130
    assert len(list(tmp_path.glob("left_overlay_*.mp4"))) == 1
    assert len(list(tmp_path.glob("right_overlay_*.mp4"))) == 1


def test_a_password_that_cannot_be_hidden_from_other_users_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "setproctitle", None)
    monkeypatch.setattr(sys, "argv", ["roadmask", "run", "rtsp://joe:secret@camera/1"])
    hide_arguments(["rtsp://joe:secret@camera/1"], None)
    assert "shown to all users of this machine, in the list of processes; to hide it: pip install" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.skipif(not shutil.which("ps"), reason="looks at the list of processes")
def test_a_password_is_seen_nowhere(model: Path, tmp_path: Path) -> None:
    """Of three cameras, two of which have one that is hard to tell from the rest of a URL."""
    command = [sys.executable, "-m", "roadmask", "run", "--model", str(model), "-o", f"{tmp_path}/", "--log", "json"]
    passwords = {"plain": "secret", "hash": "se#secret", "query": "s/e?secret=&secret"}
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(RtspServer(FILM, faults=Faults(user="joe", password=password)))
            for name, password in passwords.items()
        }
        for name, server in servers.items():
            command.append(f"{name}={server.url.replace('//', f'//joe:{passwords[name]}@')}?token=secret")
        process = ends_with_test(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        until(lambda: all(len(server.sent) > 100 for server in servers.values()))
        shown = subprocess.run(["ps", "-o", "args=", "-p", str(process.pid)], capture_output=True, text=True)
        for server in servers.values():
            server.faults.password = "changed"
            server.go_down()
            server.accept()
        until(lambda: all(len(server.sessions) > 1 and server.sessions[-1].is_over for server in servers.values()))
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=LONG_S)
    assert process.returncode == 0
    assert "roadmask run" in shown.stdout
    for text in (shown.stdout, out, err, *(str(path) for path in tmp_path.rglob("*"))):
        assert "secret" not in text
        assert "joe" not in text
    events = [event for line in err.splitlines() if "state" in (event := json.loads(line))]
    for name in passwords:
        states = [event["state"] for event in events if event["camera"] == name and event["state"] != "connecting"]
        assert states[:2] == ["running", "reconnecting"]
    assert err.count("wrong user name or password") >= len(passwords)


def test_no_way_of_writing_an_option_shows_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr("setproctitle.setproctitle", shown.append)
    url, target = "front=rtsp://joe:pa#ss@10.0.0.7/user=a_password=secret.sdp", "rtsp://joe:se?cret@host/x"
    monkeypatch.setattr(sys, "argv", ["roadmask", "run", url, f"--output={target}", "--token=a word"])
    hide_arguments([url, target], "a word")
    assert shown == ["roadmask run front=rtsp://10.0.0.7/user=***_password=*** --output=rtsp://host/x --token=***"]


def test_a_password_in_the_place_of_a_file_is_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["info", "rtsp://joe:pa#ss@10.0.0.7/x?pwd=secret"], ["report", "http://joe:secret@10.0.0.7/"]):
        assert main(arguments) != 0
        told = capsys.readouterr().err
        assert "10.0.0.7" in told
        for secret in ("joe", "pa", "ss@", "secret"):
            assert secret not in told.replace("path", "").replace("roadmask", "")


def test_an_unknown_kind_of_address_is_one_line(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("gopher://joe:secret@camera/1", "-o", "out.mp4", model=model) == 1
    error = capsys.readouterr().err
    assert error.startswith("roadmask: gopher://camera/1: unknown kind of address gopher://; known are rtsp, ")
    assert error.count("\n") == 1
    assert "secret" not in error
