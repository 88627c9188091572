"""Cameras that never end, and all that happens to them: real servers, broken on purpose."""

from __future__ import annotations

import gc
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from clips import make_clip
from live_viewer import SETTINGS, TIMEOUT_S, WATCHFUL, LiveViewer
from numbered_camera import CLOCK, Film, VideoCodec
from rtmp_server import rtmp_camera
from rtsp_faults import STEPS, Faults, Step
from rtsp_server import RtspServer
from rtsp_session import Session
from server_process import ServerProcess, a_free_port, until
from stream_servers import http_camera, udp_camera

import stream.camera.live
import stream.camera.lost
from stream.camera.camera import Camera, Transport, parse_camera
from stream.camera.live import TIME_BASE, LiveSource, Stopped
from stream.camera.status import CameraState, CameraStatus
from stream.decode.place import Selection
from stream.errors import SourceError

RATE = 50
FILM = Film(rate=RATE, gop=10)
EVERY_FRAME = replace(SETTINGS, policy="every-frame")
NOTICED_S = TIMEOUT_S + 2
STOPPED_S = 2.0


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream.camera.lost, "_FIRST_S", 0.1)


@pytest.fixture
def server() -> Iterator[RtspServer]:
    with RtspServer(FILM) as server:
        yield server


def rises(viewer: LiveViewer) -> bool:
    return all(after.pts > before.pts for before, after in pairwise(viewer.seen))


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("codec", ["h264", "hevc", "mjpeg"])
def test_every_frame_comes_with_the_time_between_frames(codec: VideoCodec, transport: Transport) -> None:
    settings = replace(EVERY_FRAME, transport=transport)
    with RtspServer(Film(rate=RATE, gop=10, codec=codec)) as server, LiveViewer(server.url, settings) as viewer:
        viewer.wait(25)
        numbers = viewer.numbers
        until(lambda: len(server.sent) >= len(numbers))
        assert numbers == server.sent[: len(numbers)]
        assert {after.pts - before.pts for before, after in pairwise(viewer.seen[1:])} == {CLOCK // RATE}
        assert viewer.states == [CameraState.CONNECTING, CameraState.RUNNING]
        info = viewer.seen[0].info
        assert (info.width, info.height, info.rate, info.live) == (160, 96, Fraction(RATE), True)
        assert info.codec == codec
        assert all(seen.info is info for seen in viewer.seen)


def test_it_comes_back_each_time_the_server_does(server: RtspServer) -> None:
    with LiveViewer(server.url) as viewer:
        for times in range(1, 5):
            viewer.wait(5)
            server.go_down()
            viewer.wait_lost(times + 1)
            server.accept()
            back = time.monotonic()
            viewer.wait_state(CameraState.RUNNING, since=back)
            assert time.monotonic() - back < 3
            assert viewer.status.numbers().reconnects == times
        assert rises(viewer)
        assert len(set(viewer.numbers)) == len(viewer.numbers)


def test_the_time_that_it_was_away_is_a_gap_in_the_times(server: RtspServer) -> None:
    with LiveViewer(server.url) as viewer:
        viewer.wait(20)
        server.go_down()
        viewer.wait_lost(3)
        server.accept()
        viewer.wait(20)
        for before, after in pairwise(viewer.seen):
            assert float((after.pts - before.pts) * TIME_BASE) == pytest.approx(after.arrived - before.arrived, abs=0.5)
        assert max(after.pts - before.pts for before, after in pairwise(viewer.seen)) > CLOCK // 4


@pytest.mark.parametrize("how", [Session.close, Session.reset, Session.say_goodbye])
def test_the_end_of_a_stream_is_a_loss_noticed_at_once(server: RtspServer, how: Callable[[Session], None]) -> None:
    with LiveViewer(server.url) as viewer:
        viewer.wait(5)
        server.break_off(how)
        assert viewer.until(lambda: viewer.reasons) < 1
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
        assert viewer.until(lambda: viewer.reasons) < 0.2
        assert viewer.reasons == [f"no frame for {TIMEOUT_S:g} s"]
        server.faults.stalled = "no"
        viewer.wait(5)
        assert rises(viewer)


def test_a_stream_that_cannot_be_decoded_for_long_is_given_up() -> None:
    with RtspServer(Film(rate=RATE, gop=10_000)) as server, LiveViewer(server.url, WATCHFUL) as first:
        first.wait(1)
        server.faults.joins_at_key = False
        with LiveViewer(server.url, WATCHFUL) as viewer:
            assert viewer.until(lambda: viewer.reasons) < NOTICED_S
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
        assert rises(viewer)


def test_lost_packets_end_nothing_and_damage_is_counted() -> None:
    with RtspServer(Film(640, 360, RATE, gop=1)) as server, LiveViewer(server.url) as viewer:
        viewer.wait(5)
        server.faults.loss = 0.2
        viewer.until(lambda: viewer.status.numbers().damaged)
        server.faults.loss = 0.0
        viewer.wait(20)
        assert rises(viewer)
        assert viewer.reasons == []


@pytest.mark.parametrize(
    ("faults", "path", "reason"),
    [
        (Faults(user="joe", password="right"), "camera", "wrong user name or password"),
        (Faults(user="joe", password="right", auth="basic"), "camera", "wrong user name or password"),
        (Faults(status=404), "camera?token=secret", "the server has no such stream (404)"),
        (Faults(status=403), "camera", "the server forbids it (403)"),
        (Faults(status=503), "camera", "the server has a fault of its own (5xx)"),
        (Faults(media="audio"), "camera", "no video"),
    ],
)
def test_why_a_camera_cannot_be_had_is_one_line_without_the_password(
    faults: Faults, path: str, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = replace(SETTINGS, max_retries=0)
    with RtspServer(FILM, faults=faults) as server:
        url = f"rtsp://joe:secret@127.0.0.1:{server.port}/{path}"
        with LiveViewer(url, settings) as viewer:
            viewer.until(lambda: viewer.is_over)
    assert isinstance(viewer.error, SourceError)
    message = str(viewer.error)
    assert message.startswith("gate: ")
    assert reason in message
    assert "\n" not in message
    talk = capfd.readouterr()
    told = [message, repr(viewer.camera), talk.out, talk.err, *(str(event) for _, event in viewer.events)]
    assert not any("secret" in text for text in told)


@pytest.mark.parametrize(
    ("scheme", "reason"),
    [
        ("rtmp", "the server closed the connection at once; given up after 1 try"),
        ("https", "the connection failed; does this server speak https?; given up after 1 try"),
        ("rtsp", "what comes is no video that can be read; given up after 1 try"),
    ],
)
def test_a_server_of_another_kind_is_told_in_words(scheme: str, reason: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/camera"
        with LiveViewer(url, replace(SETTINGS, max_retries=0)) as viewer:
            client, _ = listener.accept()
            with client:
                client.recv(4096)
                client.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
            viewer.until(lambda: viewer.is_over)
    assert str(viewer.error) == f"gate: {reason}"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_an_empty_pipe_is_told_in_words(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with LiveViewer(tmp_path / "pipe") as viewer:
        (tmp_path / "pipe").write_bytes(b"")
        viewer.until(lambda: viewer.is_over)
    assert str(viewer.error) == "pipe: what comes is no video that can be read"


def test_a_right_password_lets_in() -> None:
    with RtspServer(FILM, faults=Faults(user="joe", password="secret")) as server:
        url = f"rtsp://joe:secret@127.0.0.1:{server.port}/camera"
        with LiveViewer(url) as viewer:
            viewer.wait(5)


def test_a_wrong_password_is_not_tried_again_soon() -> None:
    with RtspServer(FILM, faults=Faults(user="joe", password="secret")) as server, LiveViewer(server.url) as viewer:
        viewer.wait_lost(1)
        (retry_s,) = (event.retry_s for _, event in viewer.events if event.state is CameraState.RECONNECTING)
        assert retry_s is not None
        assert 20 < retry_s < 40
        assert viewer.end() < STOPPED_S


def test_nobody_there_is_tried_as_often_as_allowed_with_longer_pauses() -> None:
    url = f"rtsp://127.0.0.1:{a_free_port()}/camera"
    with LiveViewer(url, replace(SETTINGS, max_retries=3)) as viewer:
        viewer.until(lambda: viewer.is_over)
    assert str(viewer.error) == ("gate: connection refused: nothing listens at this address; given up after 4 tries")
    pauses = [event.retry_s or 0 for _, event in viewer.events if event.state is CameraState.RECONNECTING]
    assert len(pauses) == 3
    assert pauses[2] > pauses[0]
    assert viewer.states[-1] is CameraState.ENDED


def test_given_up_after_frames_it_ends_with_the_reason(server: RtspServer) -> None:
    with LiveViewer(server.url, replace(SETTINGS, max_retries=1)) as viewer:
        viewer.wait(5)
        server.go_down()
        viewer.until(lambda: viewer.is_over)
        assert viewer.error is None
        assert viewer.failure == "connection refused: nothing listens at this address; given up after 2 tries"
        assert len(viewer.reasons) == 1


def test_a_slow_viewer_gets_the_latest_and_every_drop_is_counted() -> None:
    with RtspServer(Film(rate=100, gop=10)) as server, LiveViewer(server.url, takes_s=0.02) as viewer:
        viewer.wait(60, timeout_s=20)
        server.refuse()
        server.break_off(Session.say_goodbye)
        viewer.wait_lost(1)
        viewer.end()
        numbers = viewer.status.numbers()
        assert numbers.received == len(server.sent)
        assert len(viewer.seen) + numbers.dropped == len(server.sent)
        assert numbers.dropped > 20
        assert viewer.numbers == sorted(viewer.numbers)
        late = [seen.at - seen.arrived for seen in viewer.seen]
        assert sorted(late)[len(late) // 2] < 0.3, "it does not fall behind"


def test_with_every_frame_a_slow_viewer_gets_all_of_them() -> None:
    with RtspServer(Film(rate=100, gop=10)) as server, LiveViewer(server.url, EVERY_FRAME, takes_s=0.02) as viewer:
        viewer.wait(40)
        assert viewer.steps == {1}
        assert viewer.status.numbers().dropped == 0


def test_seconds_sent_at_once_are_seen_or_counted() -> None:
    with RtspServer(FILM, faults=Faults(burst_s=0.6)) as server, LiveViewer(server.url) as viewer:
        viewer.wait(30, timeout_s=20)
        server.refuse()
        server.break_off(Session.say_goodbye)
        viewer.wait_lost(1)
        viewer.end()
        numbers = viewer.status.numbers()
        assert len(viewer.seen) + numbers.dropped == numbers.received == len(server.sent)
        assert rises(viewer)


def test_another_size_in_mid_stream_is_another_stretch(server: RtspServer) -> None:
    with LiveViewer(server.url, EVERY_FRAME) as viewer:
        viewer.wait(5)
        server.show(width=320, height=192)
        viewer.until(lambda: viewer.seen[-1].size == (320, 192))
        viewer.wait(5)
        assert all(seen.size == (seen.info.width, seen.info.height) for seen in viewer.seen)
        assert len({id(seen.info) for seen in viewer.seen}) == 2
        assert viewer.steps == {1}
        assert viewer.reasons == []


def test_another_codec_after_a_reconnection_is_another_stretch_and_the_same_is_not(server: RtspServer) -> None:
    with LiveViewer(server.url) as viewer:
        viewer.wait(5)
        server.break_off(Session.close)
        viewer.wait_reconnected(1)
        viewer.wait(5)
        assert len({id(seen.info) for seen in viewer.seen}) == 1
        server.break_off(Session.close)
        server.show(codec="hevc")
        viewer.until(lambda: viewer.seen[-1].info.codec == "hevc")
        viewer.wait(5)
        assert len({id(seen.info) for seen in viewer.seen}) == 2


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_times_go_on_when_the_cameras_clock_jumps(server: RtspServer, seconds: int) -> None:
    with LiveViewer(server.url, EVERY_FRAME) as viewer:
        viewer.wait(20)
        server.jump(seconds)
        viewer.wait(20)
        assert viewer.steps == {1}
        assert rises(viewer)
        assert viewer.seen[-1].pts * TIME_BASE < 10


def test_times_go_on_when_the_cameras_clock_begins_again() -> None:
    faults = Faults(first_timestamp=(1 << 32) - 10 * CLOCK // RATE)
    with RtspServer(FILM, faults=faults) as server, LiveViewer(server.url, EVERY_FRAME) as viewer:
        viewer.wait(30)
        assert {after.pts - before.pts for before, after in pairwise(viewer.seen[1:])} == {CLOCK // RATE}


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="counts what Linux shows in /proc")
def test_nothing_is_left_of_twenty_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream.camera.lost, "_FIRST_S", 0.01)
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
            assert (threading.active_count(), descriptors()) == (threads, opened)
            assert resident_bytes() < 1.05 * memory
        assert (threading.active_count(), descriptors()) == (threads_before, descriptors_before)


def test_a_connection_that_hangs_is_gone_soon_after(server: RtspServer) -> None:
    before = threading.active_count()
    server.faults.hang_at = "PLAY"
    with LiveViewer(server.url, WATCHFUL) as viewer:
        viewer.wait_lost(2)
        assert threading.active_count() <= before + 4, "the viewer, and connections"
        assert viewer.end() < STOPPED_S
    until(lambda: threading.active_count() == before, 2 * TIMEOUT_S + 3)


@pytest.mark.parametrize("moment", ["connecting", "between tries", "running", "stalled", "refused"])
def test_it_stops_at_any_moment(server: RtspServer, moment: str) -> None:
    if moment == "connecting":
        server.faults.hang_at = "DESCRIBE"
    if moment == "refused":
        server.faults.user = "joe"
    with LiveViewer(server.url, replace(SETTINGS, timeout_s=8)) as viewer:
        if moment == "connecting":
            until(lambda: server.sessions and server.sessions[0].requests[-1:] == ["DESCRIBE"])
        elif moment == "refused":
            viewer.wait_lost(1)
        else:
            viewer.wait(5)
        if moment == "between tries":
            server.go_down()
            viewer.wait_lost(2)
        if moment == "stalled":
            server.faults.stalled = "all"
            until(lambda: server.sessions[0].held_back > 20)
        assert viewer.end() < STOPPED_S
        assert viewer.states[-1] is CameraState.ENDED
        assert isinstance(viewer.error, Stopped) == (moment in ("connecting", "refused"))


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
        assert rises(viewer)


@pytest.mark.parametrize("path", ["mjpeg", "video.ts", "live.m3u8"])
def test_cameras_over_http_are_watched(path: str) -> None:
    with http_camera(FILM) as server:
        until(lambda: len(server.parts) > 2 or path != "live.m3u8")
        with LiveViewer(f"{server.url}/{path}", EVERY_FRAME) as viewer:
            viewer.wait(25)
            assert viewer.steps == {1}
            assert rises(viewer)


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
        assert rises(viewer)


def play_into(path: Path, clip: Path) -> threading.Thread:
    """Another program that writes a video, at its own pace, and ends."""
    thread = threading.Thread(target=lambda: path.write_bytes(clip.read_bytes()))
    thread.start()
    return thread


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_pipe_gives_every_frame_with_its_own_time_and_then_ends(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.ts", [0, 3600, 7200, 18_000, 21_600], time_base=TIME_BASE)
    os.mkfifo(tmp_path / "pipe")
    with LiveViewer(tmp_path / "pipe", takes_s=0.05) as viewer:
        writing = play_into(tmp_path / "pipe", clip)
        viewer.until(lambda: viewer.is_over)
        writing.join()
    assert viewer.error is None
    assert viewer.failure is None
    first = viewer.seen[0].pts
    assert [seen.pts - first for seen in viewer.seen] == [0, 3600, 7200, 18_000, 21_600]
    assert viewer.status.numbers().dropped == 0
    assert not viewer.seen[0].info.live
    assert viewer.states[-1] is CameraState.ENDED


def test_a_camera_that_gives_a_few_frames_and_closes_each_time_is_given_up_in_the_end() -> None:
    camera = Camera("gate", "testsrc2=size=64x48:rate=10:duration=0.3", "lavfi", max_retries=2)
    status = CameraStatus("gate")
    with LiveSource(camera, status=status, stop=threading.Event(), selection=Selection()) as source:
        assert len(list(source.frames(lambda _: (32, 32)))) > 0
        assert source.failure == "the stream ended; given up after 3 tries"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_pipe_with_no_video_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"no video " * 5000)
    os.mkfifo(tmp_path / "pipe")
    with LiveViewer(tmp_path / "pipe") as viewer:
        writing = play_into(tmp_path / "pipe", tmp_path / "text")
        viewer.until(lambda: viewer.is_over)
        writing.join()
    assert str(viewer.error) == "pipe: what comes is no video that can be read"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_pipe_that_nobody_writes_to_can_be_left(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with LiveViewer(tmp_path / "pipe") as viewer:
        viewer.until(lambda: viewer.states)
        assert viewer.end() < STOPPED_S
        (tmp_path / "pipe").write_bytes(b"")  # lets the thread go that waits for a writer
