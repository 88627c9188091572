"""The window: its process and its sink with a toolkit that is drawn up here, and with the real one where there is one.

The stand-in for OpenCV's windows is a module `cv2` in the window's process: it notes what it is told, and presses a key
or closes the window when a file says so.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadmask.stream.encode.overlay import Overlay
from roadmask.stream.errors import OutputError
from roadmask.stream.live import window_sink
from roadmask.stream.live.window_sink import WindowSink, refuse_no_window
from tests.support.clips import SPEC, video_info
from tests.support.seen import seen
from tests.support.waiting import LONG_S, until

HAS_WINDOWS = not re.search(r"GUI:\s+NONE", cv2.getBuildInformation())
HAS_DISPLAY = bool(os.environ.get("DISPLAY"))

STAND_IN = """
import os, sys, threading, time
from pathlib import Path

FOLDER = Path(__file__).parent
WINDOW_NORMAL = WINDOW_KEEPRATIO = WND_PROP_VISIBLE = WINDOW_GUI_NORMAL = 0
class error(Exception):
    err = "no such function"

def note(words):
    with (FOLDER / "notes").open("a") as notes:
        notes.write(words + "\\n")

def namedWindow(title, flags):
    assert threading.current_thread() is threading.main_thread()
    if (FOLDER / "broken").exists():
        raise error
    if (FOLDER / "no display").exists():
        os._exit(134)
    note(f"window {title}")

def imshow(title, picture):
    note(f"picture {picture.shape[1]}x{picture.shape[0]} {picture[0, 0].tolist()}")

def resizeWindow(title, width, height):
    note(f"size {width}x{height}")

def waitKey(milliseconds):
    while (FOLDER / "slow").exists():
        time.sleep(0.01)
    if (FOLDER / "crash").exists():
        os._exit(1)
    time.sleep(milliseconds / 1000)
    return ord((FOLDER / "key").read_text()) if (FOLDER / "key").exists() else -1

def getWindowProperty(title, name):
    return 0.0 if (FOLDER / "close").exists() else 1.0
"""


@pytest.fixture
def toolkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Its folder: `notes` is what it was told; a file there tells it what to do."""
    (tmp_path / "cv2.py").write_text(STAND_IN)
    (tmp_path / "notes").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(window_sink, "refuse_no_window", lambda: None)
    return tmp_path


def render() -> Overlay:
    return Overlay(SPEC.classes, alpha=1)


def notes(toolkit: Path) -> list[str]:
    return (toolkit / "notes").read_text().splitlines()


def test_the_newest_picture_is_shown_in_its_colours_and_size(toolkit: Path) -> None:
    with WindowSink("front", render().render) as sink:
        sink.write(seen(1, mask=1)[0])
        until(lambda: len(notes(toolkit)) == 3, what="it is shown")
        sink.write(seen(1, info=video_info(96, 64))[0])
        until(lambda: len(notes(toolkit)) == 5, what="the second is shown")
    shown = notes(toolkit)
    blue = [int(value) for value in re.findall(r"\d+", shown[1])[2:]]
    assert [shown[0], shown[2], shown[4]] == ["window front", "size 64x48", "size 96x64"]
    assert np.abs(np.array(blue) - (142, 0, 0)).max() <= 3  # a car is (0, 0, 142) in RGB; YUV rounds
    assert shown[3].startswith("picture 96x64")


@pytest.mark.parametrize("key", ["q", "Q", "\x1b", None])
def test_a_key_or_closing_it_ends_the_run(toolkit: Path, key: str | None) -> None:
    closed = threading.Event()
    with WindowSink("front", render().render, on_close=closed.set) as sink:
        sink.write(seen(1)[0])
        assert not closed.is_set()
        if key:
            (toolkit / "key").write_text(key)
        else:
            (toolkit / "close").touch()
        assert closed.wait(LONG_S)
        for result in seen(5):
            sink.write(result)  # harms nobody


def test_a_window_that_is_slow_holds_no_run_up_and_stays_current(toolkit: Path) -> None:
    (toolkit / "slow").touch()
    with WindowSink("front", render().render) as sink:
        started = time.thread_time()
        for result in seen(500):
            sink.write(result)
        assert time.thread_time() - started < 5
        sink.write(seen(1, info=video_info(96, 64))[0])
        (toolkit / "slow").unlink()
        until(lambda: notes(toolkit)[-1] == "size 96x64", what="the last one is shown")
    assert len(notes(toolkit)) < 100


def test_a_window_that_hangs_does_not_keep_a_run_from_ending(toolkit: Path) -> None:
    sink = WindowSink("front", render().render)
    with sink:
        (toolkit / "slow").touch()
        for result in seen(200, info=video_info(640, 480)):
            sink.write(result)
        pid = sink._helper._process.pid
        started = time.monotonic()
    assert time.monotonic() - started < LONG_S
    assert not Path(f"/proc/{pid}").exists()


def test_a_window_that_is_lost_with_its_display_is_a_warning(toolkit: Path, caplog: pytest.LogCaptureFixture) -> None:
    closed = threading.Event()
    with WindowSink("front", render().render, on_close=closed.set) as sink:
        sink.write(seen(1)[0])
        (toolkit / "crash").touch()
        until(lambda: sink._helper.has_ended, what="it crashes")
        sink.write(seen(1)[0])
        until(lambda: caplog.messages, what="it is told")
    assert caplog.messages == ["front: the window is gone, as its display is; the run goes on"]
    assert not closed.is_set()


@pytest.mark.parametrize(("state", "reason"), [("broken", "no such function"), ("no display", "no display answers")])
def test_a_window_that_cannot_be_opened_is_told_before_the_run(toolkit: Path, state: str, reason: str) -> None:
    (toolkit / state).touch()
    with (
        pytest.raises(OutputError, match=rf"--show: no window can be opened \({reason}\)"),
        WindowSink("front", render().render),
    ):
        pass


@pytest.mark.skipif(HAS_WINDOWS, reason="this OpenCV has windows")
def test_an_opencv_without_windows_is_told_with_what_to_install() -> None:
    with pytest.raises(OutputError, match="pip uninstall opencv-python-headless, then pip install opencv-python"):
        WindowSink("front", render().render)


def test_no_display_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:    QT5\n")
    monkeypatch.setattr(window_sink.sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(OutputError, match=r"there is no display here \(DISPLAY is not set\); use ssh -X, or --serve"):
        refuse_no_window()


@pytest.mark.skipif(not (HAS_WINDOWS and HAS_DISPLAY), reason="needs opencv-python and a display")
def test_a_real_window_opens_and_closes() -> None:
    with WindowSink("front", render().render) as sink:
        for result in seen(5):
            sink.write(result)
        assert not sink._helper.has_ended
