"""Cameras that save: keyframes half a minute apart, and few frames; neither is a camera that is lost."""

from __future__ import annotations

import re
import time
from fractions import Fraction
from pathlib import Path

import pytest

from roadmask.stream.camera import status as status_module
from roadmask.stream.camera.camera import CameraSettings, Policy
from roadmask.stream.camera.live import TIME_BASE, LiveClock
from roadmask.stream.camera.status import CameraState, CameraStatus, rate_text
from tests.support.clips import cfr, make_clip
from tests.support.live_viewer import RATE, TIMEOUT_S, WATCHFUL, LiveViewer
from tests.support.numbered_camera import Film
from tests.support.odd_http import head, odd_server
from tests.support.rtsp_faults import Faults
from tests.support.rtsp_server import RtspServer

pytestmark = pytest.mark.usefixtures("short_pauses")


def test_a_stream_joined_long_before_its_next_keyframe_is_waited_for() -> None:
    with RtspServer(Film(rate=RATE, gop=10_000)) as server, LiveViewer(server.url) as first:
        first.wait(1)
        server.faults.joins_at_key = False
        with LiveViewer(server.url, WATCHFUL) as viewer:
            viewer.until(lambda: [event.reason for _, event in viewer.events][1:] == ["waiting for a keyframe"])
            waited = time.monotonic() + 3 * TIMEOUT_S
            viewer.until(lambda: time.monotonic() > waited)
            assert viewer.states == [CameraState.CONNECTING, CameraState.CONNECTING]
            server.resume()  # with a keyframe
            viewer.wait(5)
            assert viewer.states[-1] is CameraState.RUNNING
            assert viewer.reasons == []
            assert len(server.sessions) == 2
            assert viewer.status.numbers().reconnects == 0


def test_what_sends_nothing_at_all_is_still_lost_in_time() -> None:
    with RtspServer(Film(rate=RATE, gop=10_000)) as server, LiveViewer(server.url) as first:
        first.wait(1)
        server.faults.joins_at_key = False
        with LiveViewer(server.url, WATCHFUL) as viewer:
            viewer.until(lambda: [event.reason for _, event in viewer.events][1:] == ["waiting for a keyframe"])
            server.faults.stalled = "all"
            viewer.wait_lost(1)
            assert viewer.reasons == [f"no frame for {TIMEOUT_S:g} s"]


class Clock:
    """`time.monotonic` of a module, put forward by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(status_module.time, "monotonic", lambda: self.now)


def test_one_frame_in_35_seconds_has_a_rate_and_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, status = Clock(monkeypatch), CameraStatus("gate")
    status.change(CameraState.RUNNING)
    for _ in range(4):
        status.count(received=1)
        clock.now += 0.1
        status.count_written(clock.now - 0.1)
        clock.now += 34.9
        numbers = status.numbers()
        assert numbers.unwritten_s == 0
    assert numbers.fps == pytest.approx(1 / 35)
    assert rate_text(numbers.fps) == "0.029"
    clock.now += 70
    assert status.numbers().fps < 1 / 50, "it falls when frames stop coming"
    status.change(CameraState.STALLED)
    assert status.numbers().fps == 0
    clock.now += 1
    status.change(CameraState.RUNNING)
    status.count(received=1)
    clock.now += 31
    assert status.numbers().unwritten_s == 31


def times(clock: LiveClock, frames: list[tuple[Fraction, float]]) -> list[float]:
    return [round(float(clock.pts(camera_time, arrived) * TIME_BASE), 3) for camera_time, arrived in frames]


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("speed", [2, 10, 1000])
def test_what_comes_faster_than_it_plays_keeps_its_own_times(speed: int, waits: bool) -> None:
    frames = [(Fraction(number, 25), 100 + number / 25 / speed) for number in range(24 * 25)]
    assert times(LiveClock(waits=waits), frames) == [round(number / 25, 3) for number in range(24 * 25)]


def test_what_is_taken_slower_than_it_plays_keeps_its_own_times() -> None:
    frames = [(Fraction(number, 25), 100 + number / 10) for number in range(24 * 25)]
    assert times(LiveClock(waits=True), frames) == [round(number / 25, 3) for number in range(24 * 25)]


def test_what_a_network_held_up_and_sent_at_once_keeps_its_own_times() -> None:
    frames = [
        (Fraction(number, 25), 100 + (max(number / 25, 18) if number > 250 else number / 25)) for number in range(600)
    ]
    assert times(LiveClock(), frames) == [round(number / 25, 3) for number in range(600)]


def test_a_clock_that_counts_frames_and_not_seconds_is_set_by_arrival() -> None:
    frames = [(Fraction(number, 25), 100.0 + number) for number in range(120)]
    assert times(LiveClock(), frames)[-1] > 105


def test_a_film_over_rtsp_at_four_times_its_speed_has_its_own_length() -> None:
    with RtspServer(Film(rate=RATE, gop=10), faults=Faults(speed=4)) as server, LiveViewer(server.url) as viewer:
        viewer.wait(6 * RATE, timeout_s=20)
        first, last = viewer.seen[0], viewer.seen[-1]
        assert first.number is not None
        assert last.number is not None
        # FFmpeg sets times right by the server's reports, which are late on a busy machine.
        assert float((last.pts - first.pts) * TIME_BASE) == pytest.approx((last.number - first.number) / RATE, rel=0.1)


@pytest.mark.parametrize("name", ["drive.ts", "drive.mp4"])
@pytest.mark.parametrize("policy", ["latest", "every-frame"])
def test_a_file_over_http_keeps_its_length(name: str, policy: Policy, tmp_path: Path) -> None:
    content = make_clip(tmp_path / name, cfr(600)).read_bytes()

    def answer(request: str) -> list[bytes]:
        """Of a mp4 the index stands at its end: it is asked for by its range."""
        asked = re.search(r"Range: bytes=(\d+)-", request)
        first = int(asked[1]) if asked else 0
        length = str(len(content) - first)
        return [
            head("206 Partial Content" if asked else "200 OK", Accept_Ranges="bytes", Content_Length=length),
            content[first:],
        ]

    settings = CameraSettings(policy=policy, timeout_s=5, max_retries=0)
    with odd_server(answer) as server, LiveViewer(f"{server.url}/{name}", settings) as viewer:
        viewer.until(lambda: viewer.is_over, 30)
    assert viewer.failure == "the stream ended; given up after 1 try"
    length_s = float((viewer.seen[-1].pts - viewer.seen[0].pts) * TIME_BASE)
    if policy == "every-frame":
        assert len(viewer.seen) == 600
        assert length_s == pytest.approx(599 / 25, abs=0.001)
    else:
        assert length_s > 5, "of what came within less than a second, and the first of which are dropped"
