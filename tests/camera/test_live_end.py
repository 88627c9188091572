"""Cameras that cannot be had, are given up or are left: why, in words, and how soon."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from roadmask.stream.camera import lost
from roadmask.stream.camera.camera import Camera, CameraSettings, Transport, parse_camera
from roadmask.stream.camera.live import LiveSource
from roadmask.stream.camera.status import CameraState, CameraStatus
from roadmask.stream.decode.place import Selection
from roadmask.stream.errors import SourceError, Stopped
from roadmask.stream.run.segment import segment_video
from tests.support.live_viewer import FILM, PATIENT, SETTINGS, STOPPED_S, TIMEOUT_S, WATCHFUL, LiveViewer, play_into
from tests.support.odd_http import head, odd_server
from tests.support.rtsp_faults import Faults
from tests.support.rtsp_server import RtspServer
from tests.support.server_process import a_free_port
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("short_pauses")


@pytest.fixture
def server() -> Iterator[RtspServer]:
    with RtspServer(FILM) as server:
        yield server


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
        ("rtsps", "the connection failed; does this server speak rtsps?; given up after 1 try"),
        (
            "rtsp",
            "what answers is a web server: write http://, or the port that RTSP has there, often 554; "
            "given up after 1 try",
        ),
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


def ended_of(url: str, settings: CameraSettings = SETTINGS) -> str:
    """Why the one try that it has failed."""
    with LiveViewer(url, replace(settings, max_retries=0)) as viewer:
        viewer.until(lambda: viewer.is_over)
    return str(viewer.error).removesuffix("; given up after 1 try")


def test_rtsp_where_http_was_asked_for_is_told_with_what_to_write(server: RtspServer) -> None:
    told = ended_of(server.url.replace("rtsp", "http"))
    assert told == "gate: what answers speaks RTSP: write rtsp:// in place of http://"


def test_who_gives_no_password_is_told_where_to_write_it() -> None:
    with RtspServer(FILM, faults=Faults(user="joe", password="right")) as server:
        told = ended_of(server.url)
    assert told == (
        "gate: it asks for a user name and a password, which are written before its host: USER:PASSWORD@HOST"
    )


@pytest.mark.parametrize(
    ("transport", "cure"), [("tcp", ""), ("udp", "; a firewall may keep UDP out: --rtsp-transport tcp")]
)
def test_a_camera_that_plays_and_sends_nothing_is_told_apart_from_one_that_is_silent(
    transport: Transport, cure: str
) -> None:
    with RtspServer(FILM, faults=Faults(stalled="all")) as server:
        told = ended_of(server.url, replace(WATCHFUL, transport=transport))
    assert told == f"gate: it plays, and no picture comes for {TIMEOUT_S:g} s{cure}"


@pytest.mark.parametrize(
    ("kind", "what"), [("text/html; charset=utf-8", "a web page"), ("application/json", "JSON"), ("text/xml", "XML")]
)
def test_a_page_for_people_or_programs_is_told_from_a_stream(kind: str, what: str) -> None:
    with odd_server(lambda _: [head(Content_Type=kind), b"<html>" * 20]) as server:
        told = ended_of(f"{server.url}/")
    assert told == f"gate: what comes is {what}, and no video; the camera's manual tells its stream's address"


def test_a_webcam_that_is_not_there_is_told_with_what_to_look_at() -> None:
    camera = replace(parse_camera("/dev/video9", replace(SETTINGS, max_retries=0)), format="v4l2")
    with LiveViewer(camera) as viewer:
        viewer.until(lambda: viewer.is_over)
    assert re.match(
        r"dev_video9: there is no /dev/video9(; there are /dev/video|, nor any other camera; is it plugged in)",
        str(viewer.error),
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_an_empty_pipe_is_told_in_words(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with LiveViewer(tmp_path / "pipe") as viewer:
        (tmp_path / "pipe").write_bytes(b"")
        viewer.until(lambda: viewer.is_over)
    assert str(viewer.error).startswith("pipe: what comes is no video that can be read; an MP4 ")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_pipe_with_no_video_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"no video " * 5000)
    os.mkfifo(tmp_path / "pipe")
    with LiveViewer(tmp_path / "pipe") as viewer:
        writing = play_into(tmp_path / "pipe", tmp_path / "text")
        viewer.until(lambda: viewer.is_over)
        writing.join()
    assert str(viewer.error).startswith("pipe: what comes is no video that can be read; an MP4 ")


def test_a_wrong_password_is_not_tried_again_soon() -> None:
    with RtspServer(FILM, faults=Faults(user="joe", password="secret")) as server, LiveViewer(server.url) as viewer:
        viewer.wait_lost(1)
        (retry_s,) = (event.retry_s for _, event in viewer.events if event.state is CameraState.RECONNECTING)
        assert retry_s is not None
        assert 20 < retry_s < 40
        assert viewer.end() < STOPPED_S


def test_pauses_grow_to_half_a_minute_and_are_never_quite_the_same() -> None:
    for tries in range(1, 40):
        told = {lost.pause_s(tries) for _ in range(20)}
        assert len(told) > 1
        middle = min(lost.FIRST_S * 1.2 ** (tries - 1), 30)
        assert 0.8 * middle <= min(told) <= max(told) <= 1.2 * middle


def test_nobody_there_is_tried_as_often_as_allowed_with_longer_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda least, most: (least + most) / 2)
    url = f"rtsp://127.0.0.1:{a_free_port()}/camera"
    with LiveViewer(url, replace(SETTINGS, max_retries=3)) as viewer:
        viewer.until(lambda: viewer.is_over)
    assert str(viewer.error) == ("gate: connection refused: nothing listens at this address; given up after 4 tries")
    told = [event.retry_s or 0 for _, event in viewer.events if event.state is CameraState.RECONNECTING]
    assert len(told) == 3
    assert told == sorted(set(told))
    assert viewer.states[-1] is CameraState.ENDED


def test_given_up_after_frames_it_ends_with_the_reason(server: RtspServer) -> None:
    with LiveViewer(server.url, replace(SETTINGS, max_retries=1)) as viewer:
        viewer.wait(5)
        server.go_down()
        viewer.until(lambda: viewer.is_over)
        assert viewer.error is None
        assert viewer.failure == "connection refused: nothing listens at this address; given up after 2 tries"
        assert len(viewer.reasons) == 1


def test_a_camera_that_gives_a_few_frames_and_closes_each_time_is_given_up_in_the_end() -> None:
    camera = Camera("gate", "testsrc2=size=64x48:rate=10:duration=0.3", "lavfi", max_retries=2)
    status = CameraStatus("gate")
    with LiveSource(camera, status=status, stop=threading.Event(), selection=Selection()) as source:
        assert len(list(source.frames(lambda _: (32, 32)))) > 0
        assert source.failure == "the stream ended; given up after 3 tries"


@pytest.mark.parametrize("moment", ["connecting", "between tries", "running", "stalled", "refused"])
def test_it_stops_at_any_moment(server: RtspServer, moment: str) -> None:
    if moment == "connecting":
        server.faults.hang_at = "DESCRIBE"
    if moment == "refused":
        server.faults.user = "joe"
    with LiveViewer(server.url, PATIENT) as viewer:
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


def test_a_loop_in_python_can_be_left_while_the_camera_sends_nothing(server: RtspServer, model: Path) -> None:
    results = segment_video(parse_camera(f"gate={server.url}", PATIENT), model=model, device="cpu")
    next(results)
    server.faults.stalled = "all"
    until(lambda: server.sessions[0].held_back > 20)
    started = time.monotonic()
    results.close()
    assert time.monotonic() - started < STOPPED_S


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_pipe_that_nobody_writes_to_can_be_left(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with LiveViewer(tmp_path / "pipe") as viewer:
        viewer.until(lambda: viewer.states)
        assert viewer.end() < STOPPED_S
        (tmp_path / "pipe").write_bytes(b"")  # lets the thread go that waits for a writer
