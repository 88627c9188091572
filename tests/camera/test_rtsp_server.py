"""The servers that other tests break: they deliver what they say, and each fault is the fault it is called."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice, pairwise
from pathlib import Path
from statistics import median
from typing import Literal

import av
import numpy as np
import pytest
from av.container import InputContainer
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.clips import cfr, make_clip
from tests.support.numbered_camera import CLOCK, Film, VideoCodec, draw_number, read_number
from tests.support.rtmp_server import rtmp_camera
from tests.support.rtsp_faults import STEPS, Faults, Step
from tests.support.rtsp_request import Scheme
from tests.support.rtsp_server import RtspServer
from tests.support.rtsp_session import Session
from tests.support.server_process import ServerProcess, a_free_port
from tests.support.stream_servers import http_camera, udp_camera
from tests.support.waiting import LONG_S, until

RATE = 50
FILM = Film(rate=RATE, gop=10)
TIMEOUT_S = 1.0  # where there is to be one


@contextmanager
def watching(
    url: str, transport: str = "tcp", *, timeout_s: float = LONG_S, open_s: float = LONG_S
) -> Iterator[InputContainer]:
    options = {"analyzeduration": "100000"} | ({"rtsp_transport": transport} if url.startswith("rtsp") else {})
    with av.open(url, options=options, timeout=(open_s, timeout_s)) as container:
        yield container


def numbers(container: InputContainer, count: int | None = None) -> list[int | None]:
    return [read_number(picture) for picture in islice(container.decode(video=0), count)]


def steps(values: list[int | None]) -> set[int]:
    """From each to the next."""
    assert None not in values
    return {after - before for before, after in pairwise(values)}  # type: ignore[operator]


def watch(url: str, count: int = 20, transport: str = "tcp") -> list[int | None]:
    with watching(url, transport) as container:
        return numbers(container, count)


@settings(max_examples=30)
@given(st.integers(0, 65535), st.integers(32, 300))
def test_a_number_that_is_drawn_can_be_read(number: int, width: int) -> None:
    pixels = np.full((32, width), 128, np.uint8)
    draw_number(pixels, number)
    assert read_number(av.VideoFrame.from_ndarray(pixels, format="gray")) == number
    pixels[8:16] = pixels[:8]
    assert read_number(av.VideoFrame.from_ndarray(pixels, format="gray")) is None, "damage is no number"


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("codec", ["h264", "hevc", "mjpeg"])
def test_each_codec_arrives_frame_by_frame_with_its_times(codec: VideoCodec, transport: str) -> None:
    with RtspServer(Film(rate=RATE, codec=codec)) as server, watching(server.url, transport) as container:
        pictures = list(islice(container.decode(video=0), 20))
        assert container.streams.video[0].codec_context.name == codec
        seen = [read_number(picture) for picture in pictures]
        until(lambda: len(server.sent) >= 20)  # it notes what it has sent, and is then a moment behind
        assert seen == server.sent[:20]
        assert steps([picture.pts for picture in pictures[1:]]) == {CLOCK // RATE}, "FFmpeg gives the first none"


def test_pictures_larger_than_a_packet_arrive_and_show_the_clip(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", cfr(5), size=(270, 480))
    with RtspServer(Film(640, 360, RATE, clip=clip)) as server, watching(server.url) as container:
        pictures = list(islice(container.decode(video=0), 12))
        assert steps([read_number(picture) for picture in pictures]) == {1}
        shades = [picture.to_ndarray(format="gray")[40:].mean() for picture in pictures]
        assert shades[:5] == pytest.approx(shades[5:10], abs=3)
        assert shades[4] - shades[0] > 4


def test_several_clients_see_the_same_camera() -> None:
    with RtspServer(FILM) as server, watching(server.url) as first, watching(server.url, "udp") as second:
        assert steps(numbers(first, 20)) == steps(numbers(second, 20)) == {1}
        assert set(server.sessions[0].sent) & set(server.sessions[1].sent)


def test_nobody_connects_while_it_refuses_and_it_comes_back_at_the_same_port() -> None:
    with RtspServer(FILM) as server:
        assert watch(server.url, 1)
        server.go_down()
        with pytest.raises(ConnectionRefusedError):
            watch(server.url)
        server.accept()
        assert watch(server.url, 1)


@pytest.mark.parametrize("step", STEPS)
def test_it_hangs_at_the_step_that_is_named(step: Step) -> None:
    with RtspServer(FILM, faults=Faults(hang_at=step)) as server:
        started = time.monotonic()
        with pytest.raises((av.FFmpegError, OSError)), watching(server.url, open_s=TIMEOUT_S):
            pass
        assert time.monotonic() - started > 0.9 * TIMEOUT_S, "it answered"
        assert server.sessions[0].requests == list(STEPS[1 : STEPS.index(step) + 1])


def test_a_stalled_stream_sends_nothing_and_goes_on_when_told() -> None:
    with RtspServer(FILM) as server, watching(server.url) as container:
        before = numbers(container, 10)
        server.faults.stalled = "all"
        (session,) = server.sessions
        until(lambda: session.held_back > 10)
        server.resume()
        after = numbers(container, 30)
        assert not session.is_over
        assert max(steps(before + after)) > 10


def test_a_stall_is_noticed_by_a_time_out_alone() -> None:
    with RtspServer(FILM) as server, watching(server.url, timeout_s=TIMEOUT_S) as container:
        numbers(container, 5)
        server.faults.stalled = "all"
        with pytest.raises(av.error.ExitError):
            numbers(container)


def test_sound_goes_on_while_the_video_stalls() -> None:
    with RtspServer(FILM, faults=Faults(media="both")) as server, watching(server.url) as container:
        server.faults.stalled = "video"
        packets = container.demux()
        until(lambda: next(packets).stream.type == "video" or server.sessions[0].held_back > 0)
        tail = [next(packets).stream.type for _ in range(60)]
        assert tail[-20:] == ["audio"] * 20


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_goodbye_is_the_end_of_the_stream(transport: str) -> None:
    with RtspServer(FILM) as server, watching(server.url, transport) as container:
        seen = numbers(container, 5)
        server.break_off(Session.say_goodbye)
        assert seen + numbers(container) == server.sent


@pytest.mark.parametrize("how", [Session.close, Session.reset])
def test_a_connection_that_is_closed_or_reset_ends_the_frames(how: Callable[[Session], None]) -> None:
    with RtspServer(FILM) as server, watching(server.url) as container:
        numbers(container, 5)
        server.break_off(how)
        started = time.monotonic()
        with suppress(av.FFmpegError, OSError):  # PyAV tells it now as an end, now as an error
            numbers(container)
        assert time.monotonic() - started < LONG_S, "it was the time-out"


def test_after_half_a_packet_nothing_comes() -> None:
    with RtspServer(FILM) as server, watching(server.url, timeout_s=TIMEOUT_S) as container:
        numbers(container, 5)
        server.break_off(Session.send_half)
        with pytest.raises(av.error.ExitError):
            numbers(container)


def test_an_answer_may_be_garbage() -> None:
    with RtspServer(FILM, faults=Faults(garbage_at="DESCRIBE")) as server:
        with pytest.raises((av.FFmpegError, OSError)), watching(server.url, open_s=TIMEOUT_S):
            pass
        server.faults.garbage_at = None
        assert steps(watch(server.url)) == {1}


def test_garbage_in_the_stream_is_between_packets() -> None:
    with RtspServer(FILM) as server, watching(server.url) as container:
        before = numbers(container, 5)
        server.break_off(Session.send_garbage)
        after = numbers(container, 40)
        assert len(after) == 40
        assert (after[-1] or 0) - (before[-1] or 0) >= 40


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_the_share_of_packets_that_is_named_gets_lost(transport: str) -> None:
    with RtspServer(Film(rate=200, gop=10)) as server, watching(server.url, transport) as container:
        server.faults.loss = 0.2
        seen = {number for number in numbers(container, 100) if number is not None}
        (session,) = server.sessions
        assert 0.1 < len(session.hurt) / (len(session.hurt) + len(session.sent)) < 0.5
        assert seen <= set(session.sent) | set(session.hurt)


@pytest.mark.parametrize("scheme", ["basic", "digest"])
def test_it_lets_in_who_knows_the_password(scheme: Scheme) -> None:
    with RtspServer(FILM, faults=Faults(user="joe", password="secret", auth=scheme)) as server:
        url = server.url.replace("//", "//joe:{}@")
        assert watch(url.format("secret"), 1)
        for wrong in (url.format("guess"), server.url):
            with pytest.raises(av.error.HTTPUnauthorizedError):
                watch(wrong)


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, av.error.HTTPNotFoundError), (403, av.error.HTTPForbiddenError), (503, av.error.HTTPServerError)],
)
def test_it_answers_with_an_error(status: int, error: type[Exception]) -> None:
    with RtspServer(FILM, faults=Faults(status=status)) as server, pytest.raises(error):
        watch(server.url)


def test_a_stream_may_have_no_video() -> None:
    with RtspServer(FILM, faults=Faults(media="audio")) as server, watching(server.url) as container:
        assert [stream.type for stream in container.streams] == ["audio"]
        assert next(container.demux()).size == 160


def test_the_picture_may_change_its_size_in_mid_stream() -> None:
    with RtspServer(FILM) as server, watching(server.url) as container:
        pictures = container.decode(video=0)
        first = list(islice(pictures, 5))
        server.show(width=320, height=192)
        later = list(islice(pictures, 20))
        assert {(picture.width, picture.height) for picture in first + later} == {(160, 96), (320, 192)}
        assert steps([read_number(picture) for picture in first + later]) == {1}


def test_the_next_connection_may_have_another_codec() -> None:
    with RtspServer(FILM) as server:
        assert watch(server.url, 1)
        server.break_off(Session.close)
        server.show(codec="hevc")
        with watching(server.url) as container:
            assert container.streams.video[0].codec_context.name == "hevc"
            assert steps(numbers(container, 5)) == {1}


def test_a_codec_that_changes_in_mid_stream_cannot_be_watched() -> None:
    with RtspServer(FILM) as server, watching(server.url, timeout_s=TIMEOUT_S) as container:
        numbers(container, 5)
        server.show(codec="hevc")
        with pytest.raises((av.FFmpegError, OSError)):
            numbers(container)


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_the_clock_jumps(seconds: int) -> None:
    with RtspServer(FILM) as server, watching(server.url) as container:
        pictures = container.decode(video=0)
        before = list(islice(pictures, 5))
        server.jump(seconds)
        times = [picture.pts for picture in before[1:] + list(islice(pictures, 20))]
        assert len(steps(times)) == 2
        assert max(steps(times), key=abs) % (1 << 32) == (seconds * CLOCK + CLOCK // RATE) % (1 << 32)


def test_the_clock_begins_again_after_32_bits() -> None:
    faults = Faults(first_timestamp=(1 << 32) - 5 * CLOCK // RATE)
    with RtspServer(FILM, faults=faults) as server, watching(server.url) as container:
        assert steps([picture.pts for picture in islice(container.decode(video=0), 1, 20)]) == {CLOCK // RATE}


def test_a_burst_is_frames_at_once_and_then_a_pause() -> None:
    with RtspServer(FILM, faults=Faults(burst_s=0.4)) as server, watching(server.url) as container:
        arrived = [time.monotonic() for _ in islice(container.demux(video=0), 50)]
        pauses = [after - before for before, after in pairwise(arrived)]
        assert max(pauses) > 0.2
        assert median(pauses) < 0.5 / RATE


def test_a_source_may_be_faster_than_its_times_say() -> None:
    with RtspServer(FILM, faults=Faults(speed=20)) as server, watching(server.url) as container:
        pictures = container.decode(video=0)
        (first,) = islice(pictures, 1, 2)
        started = time.monotonic()
        (last,) = islice(pictures, 199, 200)
        assert steps([first.pts, last.pts]) == {200 * CLOCK // RATE}
        assert time.monotonic() - started < 4, "seconds of video"


def test_a_client_may_come_in_between_two_key_frames() -> None:
    with RtspServer(Film(rate=RATE, gop=20)) as server, watching(server.url):
        server.faults.joins_at_key = False
        (first,) = watch(server.url, 1)
        until(lambda: server.sessions[0].sent)
        key = server.sessions[0].sent[0]
        sent = server.sessions[1].sent[0]
        assert sent <= (first or 0)
        assert ((first or 0) - key) % 20 == 0


def test_nothing_of_it_is_left() -> None:
    before = set(threading.enumerate())
    with RtspServer(FILM) as server, watching(server.url) as container:
        numbers(container, 1)
    assert set(threading.enumerate()) <= before
    with RtspServer(FILM, port=server.port) as again:
        assert watch(again.url, 1)


def test_as_a_process_it_is_killed_and_stopped(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "sent.txt", f"rate={RATE}") as server:
        with watching(server.url) as container:
            seen = numbers(container, 10)
            server.stop()
            server.go_on()
            server.kill()
            with suppress(av.FFmpegError, OSError):
                seen.extend(read_number(picture) for picture in container.decode(video=0))
            assert set(seen) <= {*server.sent, server.sent[-1] + 1}, "it may have been killed before it noted the last"
        with pytest.raises(ConnectionRefusedError):
            watch(server.url)
        server.start()
        assert watch(server.url, 1)
        server.set("status=404")
        until(lambda: _is_not_found(server.url))


def _is_not_found(url: str) -> bool:
    try:
        watch(url, 1)
    except av.error.HTTPNotFoundError:
        return True
    return False


@pytest.mark.parametrize("path", ["mjpeg", "video.ts", "live.m3u8"])
def test_http_cameras_send_each_frame(path: Literal["mjpeg", "video.ts", "live.m3u8"]) -> None:
    with http_camera(FILM) as server:
        until(lambda: len(server.parts) > 2 or path != "live.m3u8")
        assert steps(watch(f"{server.url}/{path}")) == {1}


def test_an_http_camera_stalls() -> None:
    with http_camera(FILM) as server, watching(f"{server.url}/mjpeg", timeout_s=TIMEOUT_S) as container:
        assert numbers(container, 5)
        server.stalled.set()
        with pytest.raises(av.error.ExitError):
            numbers(container)


def test_a_udp_camera_sends_each_frame() -> None:
    free_port = a_free_port()
    with udp_camera(free_port, FILM):
        assert steps(watch(f"udp://127.0.0.1:{free_port}?timeout=3000000")) == {1}


def test_an_rtmp_camera_sends_each_frame() -> None:
    with rtmp_camera(FILM) as server:
        assert steps(watch(server.url)) == {1}
