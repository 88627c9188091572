"""All that happens to cameras, on real servers that are broken on purpose: it is noticed, and outlived."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from roadmask.stream.camera.camera import parse_camera
from roadmask.stream.camera.live import TIME_BASE
from roadmask.stream.camera.status import CameraState
from tests.support.live_viewer import FILM, NOTICED_S, RATE, SETTINGS, STOPPED_S, TIMEOUT_S, WATCHFUL, LiveViewer
from tests.support.numbered_camera import Film
from tests.support.rtmp_server import rtmp_camera
from tests.support.rtsp_faults import STEPS, Faults, Step
from tests.support.rtsp_server import RtspServer
from tests.support.rtsp_session import Session
from tests.support.server_process import ServerProcess, a_free_port
from tests.support.stream_servers import http_camera, udp_camera
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("short_pauses")


@pytest.fixture
def server() -> Iterator[RtspServer]:
    with RtspServer(FILM) as server:
        yield server


def test_it_comes_back_each_time_the_server_does(server: RtspServer) -> None:
    with LiveViewer(server.url) as viewer:
        for times in range(1, 5):
            viewer.wait(5)
            server.go_down()
            viewer.wait_lost(times + 1)
            server.accept()
            back = time.monotonic()
            viewer.wait_state(CameraState.RUNNING, since=back)
            assert viewer.status.numbers().reconnects == times
        assert viewer.rises
        assert len(set(viewer.numbers)) == len(viewer.numbers)


def test_the_time_that_it_was_away_is_a_gap_in_the_times(server: RtspServer) -> None:
    with LiveViewer(server.url) as viewer:
        viewer.wait(20)
        server.go_down()
        viewer.wait_lost(3)
        server.accept()
        viewer.wait(20)
    lost = viewer.when(CameraState.RECONNECTING)
    assert lost is not None
    first, before = viewer.seen[0], [seen for seen in viewer.seen if seen.arrived < lost][-1]
    after = viewer.seen[viewer.seen.index(before) + 1]
    # The camera's clock is set anew by ours, to which the frame before may have come late by its own.
    late = max(0.0, before.arrived - first.arrived - float((before.pts - first.pts) * TIME_BASE))
    gap = after.arrived - before.arrived
    assert float((after.pts - before.pts) * TIME_BASE) == pytest.approx(gap + late, abs=0.001)
    assert gap > 0.25, "two tries in vain"


@pytest.mark.parametrize("how", [Session.close, Session.reset, Session.say_goodbye])
def test_the_end_of_a_stream_is_a_loss_noticed_at_once(server: RtspServer, how: Callable[[Session], None]) -> None:
    with LiveViewer(server.url) as viewer:
        viewer.wait(5)
        server.break_off(how)
        assert viewer.until(lambda: viewer.reasons) < SETTINGS.timeout_s
        viewer.wait(5)
        assert viewer.reasons[0] in ("the stream ended", "the connection broke")


@pytest.mark.parametrize("step", STEPS)
def test_a_hang_in_the_handshake_is_noticed_and_outlived(step: Step) -> None:
    with RtspServer(FILM, faults=Faults(hang_at=step)) as server, LiveViewer(server.url, WATCHFUL) as viewer:
        assert viewer.until(lambda: viewer.reasons) < NOTICED_S
        assert viewer.reasons == [f"no answer for {TIMEOUT_S:g} s"]
        server.faults.hang_at = None
        viewer.wait(5)


@pytest.mark.parametrize("step", ["OPTIONS", "DESCRIBE", "PLAY"])
def test_garbage_for_an_answer_is_noticed_and_outlived(step: Step) -> None:
    with RtspServer(FILM, faults=Faults(garbage_at=step)) as server, LiveViewer(server.url, WATCHFUL) as viewer:
        assert viewer.until(lambda: viewer.reasons) < NOTICED_S
        server.faults.garbage_at = None
        viewer.wait(5)


def stall(server: RtspServer) -> None:
    server.faults.stalled = "all"


def stall_video(server: RtspServer) -> None:
    server.faults.stalled = "video"


def break_a_packet(server: RtspServer) -> None:
    server.break_off(Session.send_half)


def change_codec(server: RtspServer) -> None:
    server.show(codec="hevc")


@pytest.mark.parametrize("fault", [stall, stall_video, break_a_packet, change_codec])
def test_a_stall_is_noticed_and_outlived(fault: Callable[[RtspServer], None]) -> None:
    with RtspServer(FILM, faults=Faults(media="both")) as server, LiveViewer(server.url, WATCHFUL) as viewer:
        viewer.wait(5)
        fault(server)
        assert viewer.until(lambda: CameraState.STALLED in viewer.states) < NOTICED_S
        viewer.wait_lost(1)
        assert viewer.reasons == [f"no frame for {TIMEOUT_S:g} s"]
        server.faults.stalled = "no"
        viewer.wait(5)
        assert viewer.rises


def test_a_stream_that_cannot_be_decoded_for_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roadmask.stream.camera.live._LONGEST_GOP_S", TIMEOUT_S)
    with RtspServer(Film(rate=RATE, gop=10_000)) as server, LiveViewer(server.url, WATCHFUL) as first:
        first.wait(1)
        server.faults.joins_at_key = False
        with LiveViewer(server.url, WATCHFUL) as viewer:
            assert viewer.until(lambda: viewer.reasons) < NOTICED_S
            assert viewer.reasons == [f"no keyframe for {TIMEOUT_S:g} s"]
            server.faults.joins_at_key = True
            viewer.wait(5)


def test_a_process_that_stands_still_is_noticed_and_outlived(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "sent", f"rate={RATE}") as server, LiveViewer(server.url, WATCHFUL) as viewer:
        viewer.wait(5)
        server.stop()
        assert viewer.until(lambda: CameraState.STALLED in viewer.states) < NOTICED_S
        viewer.wait_lost(2)
        server.kill()
        server.start()
        viewer.wait(5)
        assert viewer.reasons[:2] == [f"no frame for {TIMEOUT_S:g} s", f"no answer for {TIMEOUT_S:g} s"]


def test_garbage_between_packets_is_outlived(server: RtspServer) -> None:
    with LiveViewer(server.url, WATCHFUL) as viewer:
        for _ in range(3):
            viewer.wait(5)
            server.break_off(Session.send_garbage)  # may look like a packet that is longer than all to come
        viewer.wait(20)
        assert viewer.rises


def test_lost_packets_end_nothing_and_damage_is_counted() -> None:
    with RtspServer(Film(640, 360, RATE, gop=1)) as server, LiveViewer(server.url) as viewer:
        viewer.wait(5)
        server.faults.loss = 0.2
        viewer.until(lambda: viewer.status.numbers().damaged)
        server.faults.loss = 0.0
        viewer.wait(20)
        assert viewer.rises
        assert viewer.reasons == []


def test_a_camera_over_rtmp_is_watched_lost_and_found() -> None:
    with rtmp_camera(FILM) as server, LiveViewer(server.url, replace(WATCHFUL, policy="every-frame")) as viewer:
        viewer.wait(20)
        assert viewer.steps == {1}
        server.lose_clients()
        viewer.wait_reconnected(1)
        server.hangs.set()
        assert viewer.until(lambda: CameraState.STALLED in viewer.states) < NOTICED_S
        losses = len(viewer.reasons)
        viewer.wait_lost(losses + 1)
        assert viewer.reasons[-1] == f"no answer for {TIMEOUT_S:g} s"
        assert viewer.rises


def test_a_camera_over_http_that_stalls_is_noticed_and_outlived() -> None:
    with http_camera(FILM) as server, LiveViewer(f"{server.url}/mjpeg", WATCHFUL) as viewer:
        viewer.wait(5)
        server.stalled.set()
        assert viewer.until(lambda: CameraState.STALLED in viewer.states) < NOTICED_S
        server.stalled.clear()
        viewer.wait(5)


def test_a_camera_over_udp_may_come_and_go() -> None:
    port = a_free_port()
    with LiveViewer(f"udp://127.0.0.1:{port}", WATCHFUL) as viewer:
        viewer.wait_lost(1)
        for _ in range(2):
            with udp_camera(port, FILM):
                viewer.wait(20)
            viewer.until(lambda: viewer.states[-1] is not CameraState.RUNNING)
        assert viewer.rises
    silent = [f"no {what} for {TIMEOUT_S:g} s" for what in ("answer", "frame")]
    assert set(viewer.reasons) <= set(silent), "its port is free again before the next try"


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="counts what Linux shows in /proc")
def test_nothing_is_left_of_twenty_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roadmask.stream.camera.lost.FIRST_S", 0.01)
    with ServerProcess(tmp_path / "sent", f"rate={RATE}") as server:
        threads_before, descriptors_before = threading.active_count(), descriptors()
        camera = parse_camera(server.url, SETTINGS)
        quick = replace(camera, options=(*camera.options, ("analyzeduration", "50000")))
        with LiveViewer(quick) as viewer:
            viewer.wait(5)
            threads, opened = threading.active_count(), descriptors()
            for times in range(1, 21):
                server.set("do=reset" if times % 2 else "do=close")
                viewer.wait_reconnected(times)
                if times == 5:
                    memory = resident_bytes()
            viewer.wait(5)
            until(
                lambda: threading.active_count() <= threads and descriptors() <= opened, what="the last one is closed"
            )
            assert resident_bytes() < 1.05 * memory
        # What another test left may end meanwhile, so there may be less than before.
        until(lambda: threading.active_count() <= threads_before and descriptors() <= descriptors_before)


def test_a_connection_that_hangs_is_gone_soon_after(server: RtspServer) -> None:
    before = set(threading.enumerate())
    server.faults.hang_at = "PLAY"
    with LiveViewer(server.url, WATCHFUL) as viewer:
        viewer.wait_lost(2)
        assert len(set(threading.enumerate()) - before) <= 4, "the viewer, and connections"
        assert viewer.end() < STOPPED_S
    until(lambda: set(threading.enumerate()) <= before)
