"""Signals, pipes and terminals: a run ends in order, keeps what it has, and goes on later."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from roadmask.stream.archive.archive import open_masks
from tests.support.clips import times_of
from tests.support.fault_runs import (
    FRAMES,
    WAITING,
    InTheMiddle,
    command,
    gone_on_with,
    make_noise,
    masks_in,
    names_in,
    told,
)
from tests.support.own_process import LIMIT_S, ends_with_test, python
from tests.support.waiting import eventually, until


@pytest.fixture(autouse=True)
def not_under_nohup() -> Iterator[None]:
    """However the tests were started: processes inherit signals that are ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_noise(tmp_path_factory.mktemp("clip") / "drive.mkv")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_finishes_what_is_there_and_the_run_goes_on_later(
    clip: Path, model: Path, tmp_path: Path, name: str
) -> None:
    if not hasattr(signal, name):
        pytest.skip(f"this system has no {name}")
    run = InTheMiddle(clip, model, tmp_path / "out")
    run.process.send_signal(getattr(signal, name))
    code, errors = run.go()
    assert (code, told(errors)) == (130, [])
    with open_masks(tmp_path / "out/drive_masks") as masks:
        assert 20 <= len(list(masks)) < FRAMES
        assert masks.ending is not None
        assert masks.ending.state == "interrupted"
        assert len(times_of(tmp_path / "out/drive_overlay.mp4")) == len(masks)
    gone_on_with(clip, model, tmp_path / "out")


def test_a_killed_run_keeps_what_it_has_by_another_name_and_goes_on(clip: Path, model: Path, tmp_path: Path) -> None:
    run = InTheMiddle(clip, model, tmp_path / "out")
    run.process.kill()
    assert run.go()[0] == -signal.SIGKILL
    assert names_in(tmp_path / "out") == {"drive_masks.partial", "drive_overlay.partial.mp4", "drive_stats.partial.csv"}
    with open_masks(tmp_path / "out/drive_masks.partial") as masks:
        assert len(list(masks)) >= 20
    assert " of them from before" in gone_on_with(clip, model, tmp_path / "out")


def test_under_nohup_a_run_outlives_its_terminal(clip: Path, model: Path, tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # which a new process inherits
    try:
        run = InTheMiddle(clip, model, tmp_path / "out")
    finally:
        signal.signal(signal.SIGHUP, before)
    run.process.send_signal(signal.SIGHUP)
    assert run.go()[0] == 0
    assert len(times_of(tmp_path / "out/drive_overlay.mp4")) == FRAMES


def test_a_terminal_that_is_closed_ends_a_run_in_order(clip: Path, model: Path, tmp_path: Path) -> None:
    out, go = tmp_path / "out", tmp_path / "go"
    arguments = command(clip, "-o", f"{out}/", model=model)[3:-2]  # with its progress shown
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [*python(WAITING), str(go), *arguments])
    try:
        until(lambda: masks_in(out / "drive_masks.partial") >= 20, LIMIT_S, what="it has written 20 masks")
        os.close(terminal)
        go.touch()
        _, status = eventually(lambda: (ending := os.waitpid(child, os.WNOHANG))[0] and ending, LIMIT_S, what="it ends")
    except AssertionError:
        os.kill(child, signal.SIGKILL)
        raise
    assert os.waitstatus_to_exitcode(status) == 130
    with open_masks(out / "drive_masks") as masks:
        assert 20 <= len(list(masks)) < FRAMES
        assert len(times_of(out / "drive_overlay.mp4")) == len(masks)


def test_a_reader_that_closes_the_pipe_ends_a_run_well(clip: Path, model: Path) -> None:
    arguments = command(clip, "-o", "-", model=model)
    run = ends_with_test(subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    assert run.stdout is not None
    assert run.stderr is not None
    assert len(run.stdout.read(1000)) == 1000
    run.stdout.close()
    errors = run.stderr.read().decode()
    assert (run.wait(LIMIT_S), told(errors)) == (0, ["roadmask: -: nobody reads standard output any more"])


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_that_nobody_reads_what_is_said_harms_no_run(clip: Path, model: Path, tmp_path: Path, closed: str) -> None:
    """As after `| head -1`: the other end of the pipe is closed before a word is said."""
    shutil.copy(clip, tmp_path / "other.mkv")
    arguments = command(clip, tmp_path, "-o", f"{tmp_path}/out/", "--max-frames", 5, model=model)[:-2]
    reader, writer = os.pipe()
    os.close(reader)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, closed: writer}
    done = subprocess.run(arguments, **streams, text=True, timeout=LIMIT_S, check=False)  # type: ignore[call-overload]
    os.close(writer)
    assert done.returncode == 0, done.stderr
    assert told(done.stderr or "") == []
    assert {"drive_overlay.mp4", "other_overlay.mp4", "summary.json"} <= names_in(tmp_path / "out")


def test_results_that_do_not_fit_where_they_are_sent_are_an_error(clip: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        arguments = [sys.executable, "-m", "roadmask", "info", str(clip), "--json"]
        done = subprocess.run(arguments, stdout=full, stderr=subprocess.PIPE, timeout=LIMIT_S, check=False)
    assert done.returncode != 0
    assert b"No space left on device" in done.stderr
