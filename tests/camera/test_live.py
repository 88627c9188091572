"""The frames of cameras that never end: which come, with what times, and what of each stretch is told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

from roadmask.stream.camera.camera import Transport
from roadmask.stream.camera.live import TIME_BASE
from roadmask.stream.camera.status import CameraState
from tests.support.clips import make_clip
from tests.support.live_viewer import EVERY_FRAME, FILM, RATE, LiveViewer, play_into
from tests.support.numbered_camera import CLOCK, Film, VideoCodec
from tests.support.odd_http import head, odd_server
from tests.support.rtsp_faults import Faults
from tests.support.rtsp_server import RtspServer
from tests.support.rtsp_session import Session
from tests.support.stream_servers import http_camera
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("short_pauses")


@pytest.fixture
def server() -> Iterator[RtspServer]:
    with RtspServer(FILM) as server:
        yield server


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


def test_a_right_password_lets_in() -> None:
    with RtspServer(FILM, faults=Faults(user="joe", password="secret")) as server:
        url = f"rtsp://joe:secret@127.0.0.1:{server.port}/camera"
        with LiveViewer(url) as viewer:
            viewer.wait(5)
            assert viewer.reasons == []


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
        behind = [seen.received - 1 - server.sent.index(seen.number) for seen in viewer.seen if seen.number is not None]
        assert median(behind) < 5, "it does not fall behind"


def test_what_still_waits_when_a_camera_is_left_is_counted_too() -> None:
    with RtspServer(Film(rate=100, gop=10)) as server, LiveViewer(server.url, takes_s=0.1) as viewer:
        viewer.wait(5, timeout_s=20)
        viewer.end()
        until(lambda: len(viewer.seen) + viewer.status.numbers().dropped == viewer.status.numbers().received)


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
        assert viewer.rises


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
        assert viewer.rises
        assert viewer.seen[-1].pts * TIME_BASE < 10


def test_times_go_on_when_the_cameras_clock_begins_again() -> None:
    faults = Faults(first_timestamp=(1 << 32) - 10 * CLOCK // RATE)
    with RtspServer(FILM, faults=faults) as server, LiveViewer(server.url, EVERY_FRAME) as viewer:
        viewer.wait(30)
        assert {after.pts - before.pts for before, after in pairwise(viewer.seen[1:])} == {CLOCK // RATE}


@pytest.mark.parametrize("path", ["mjpeg", "video.ts", "live.m3u8"])
def test_cameras_over_http_are_watched(path: str) -> None:
    with http_camera(FILM) as server:
        until(lambda: len(server.parts) > 2 or path != "live.m3u8")
        with LiveViewer(f"{server.url}/{path}", EVERY_FRAME) as viewer:
            viewer.wait(25)
            assert viewer.steps == {1}
            assert viewer.rises


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


def test_a_piece_that_its_playlist_names_and_is_gone_is_passed_over() -> None:
    with http_camera(FILM) as camera:
        until(lambda: len(camera.parts) > 3)
        parts = {f"/part{number}.ts": part for number, part in list(camera.parts)[:4]}
        names = list(parts)
        del parts[names[1]]

        def answer(request: str) -> list[bytes]:
            name = request.split()[1]
            if name in names and name not in parts:
                return [head("404 Not Found", Content_Length="0")]
            lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:1", *(f"#EXTINF:0.2,\n{name}" for name in names)]
            body = parts.get(name) or "\n".join([*lines, "#EXT-X-ENDLIST\n"]).encode()
            return [head(Content_Length=str(len(body))), body]

        settings = replace(EVERY_FRAME, max_retries=0)
        with odd_server(answer) as server, LiveViewer(f"{server.url}/live.m3u8", settings) as viewer:
            viewer.until(lambda: viewer.is_over)
        gop = FILM.gop
        first = viewer.numbers[0]
        assert viewer.numbers == [*range(first, first + gop), *range(first + 2 * gop, first + 4 * gop)]
        assert viewer.rises
