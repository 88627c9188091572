"""Publishing: real listeners get every frame; whatever they do, the run neither waits nor ends for them."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from statistics import median
from typing import Self

import av
import numpy as np
import pytest

from roadmask.stream.decode.pixels import planes_of
from roadmask.stream.encode.h264 import Encoding
from roadmask.stream.encode.overlay import Overlay
from roadmask.stream.errors import OutputError
from roadmask.stream.frames import SegmentedFrame
from roadmask.stream.live.live_encoding import PacketQueue
from roadmask.stream.live.publish_sink import PublishSink
from roadmask.stream.live.publisher import parse_target
from tests.support.clips import SPEC, TICK, video_info
from tests.support.heard import with_tone
from tests.support.own_process import ends_with_test, python
from tests.support.seen import seen
from tests.support.server_process import a_free_port
from tests.support.waiting import LONG_S, until

SECRET = "hunter2"
render = Overlay(SPEC.classes).render


def url_of(kind: str, port: int) -> str:
    return {
        "rtsp": f"rtsp://camera:{SECRET}@127.0.0.1:{port}/live",
        "flv": f"rtmp://127.0.0.1:{port}/app/{SECRET}",
        "mpegts": f"udp://127.0.0.1:{port}",
    }[kind]


class Peer:
    """`stream_peer.py`, and what it says."""

    def __init__(self, kind: str, port: int) -> None:
        self.lines: list[str] = []
        url = url_of(kind, port).replace(f"camera:{SECRET}@", "")
        command = [*python("from tests.support.stream_peer import main; main()"), url, kind]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout
        self.lines += (line.strip() for line in iter(self.process.stdout.readline, ""))

    @property
    def frames(self) -> list[tuple[float, bool, int]]:
        """Time, whether it is a keyframe, width."""
        words = [line.split() for line in list(self.lines)]
        return [(float(word[0]), word[1] == "1", int(word[2])) for word in words if len(word) == 3]

    @property
    def heard(self) -> list[float]:
        """When each packet of sound begins."""
        return [float(line.removeprefix("heard ")) for line in list(self.lines) if line.startswith("heard ")]

    def kill(self) -> None:
        self.process.kill()
        with self.process:
            self._listener.join(10)


@contextmanager
def peer(kind: str, port: int) -> Iterator[Peer]:
    started = Peer(kind, port)
    try:
        until(lambda: "listening" in started.lines, what="the peer listens")
        if kind == "mpegts":  # nobody waits for it: what is sent before is lost
            until(lambda: takes_datagrams(port), what="the peer has its port")
        yield started
    finally:
        started.kill()


def takes_datagrams(port: int) -> bool:
    """Whether anybody does there."""
    lines = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
    return any(line[1].endswith(f":{port:04X}") for line in lines)


class Run:
    """Writes a frame every 10 ms to a sink, on a thread of its own, until it is left."""

    def __init__(self, sink: PublishSink, frames: Iterator[SegmentedFrame] | None = None) -> None:
        self.took_s: list[float] = []  # each frame
        self._sink = sink
        self._frames = frames or (seen(1, first=number)[0] for number in count())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def _write(self) -> None:
        for result in self._frames:
            started = time.monotonic()
            self._sink.write(result)
            self.took_s.append(time.monotonic() - started)
            if self._stop.wait(0.01):
                break

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)


def alive(pid: int) -> bool:
    """A process that has ended, but was not asked how, is not."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def helper_of(sink: PublishSink) -> int:
    helper = sink._publisher._helper
    assert helper
    return helper._process.pid


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@contextmanager
def mute_server() -> Iterator[int]:
    """Takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken: list[socket.socket] = []

        def take() -> None:
            with suppress(OSError):
                while True:
                    taken.append(server.accept()[0])

        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in taken:
                connection.close()


@pytest.mark.parametrize("kind", ["rtsp", "flv", "mpegts"])
def test_a_listener_gets_every_frame_from_a_keyframe_on_at_its_time(kind: str) -> None:
    port = a_free_port()
    with peer(kind, port) as listener:
        with PublishSink(url_of(kind, port), render) as sink, Run(sink):
            until(lambda: len(listener.frames) > 100, 60, what="frames arrive")
        sent = sink.written - sink.dropped
        until(lambda: len(listener.frames) >= sent - 2, what="the last ones arrive")  # a decoder may keep two
    assert len(listener.frames) <= sent
    assert listener.frames[0][1]
    times = [time for time, *_ in listener.frames][20:]  # RTSP's clocks are still being set in the beginning
    assert [round((time - times[0]) * 25) for time in times] == list(range(len(times)))
    assert sink.connections == 1


@pytest.mark.parametrize("kind", ["rtsp", "flv", "mpegts"])
def test_a_listener_hears_what_the_camera_does(kind: str) -> None:
    port = a_free_port()
    frames = with_tone((seen(1, first=number)[0] for number in count()), from_s=0)
    with peer(kind, port) as listener, PublishSink(url_of(kind, port), render) as sink, Run(sink, frames):
        until(lambda: len(listener.frames) > 50 and len(listener.heard) > 15, 60, what="pictures and sound arrive")
    assert listener.heard == sorted(listener.heard)
    times = [time for time, *_ in listener.frames]
    assert abs(listener.heard[-1] - times[-1]) < 1
    assert sink.connections == 1


def test_neither_the_password_nor_the_stream_key_is_to_be_seen(caplog: pytest.LogCaptureFixture) -> None:
    for kind in ("rtsp", "flv"):
        port = a_free_port()
        with caplog.at_level("DEBUG"), PublishSink(url_of(kind, port), render, timeout_s=1) as sink:
            sink.write(seen(1)[0])
            until(lambda: sink._publisher._helper, what="the process starts")
            pid = helper_of(sink)
            for name in ("cmdline", "environ"):
                assert SECRET.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()
            until(lambda: "connection refused" in caplog.text, 30, what="nobody listens")
        assert f"127.0.0.1:{port}" in caplog.text
        caplog.clear()
    assert SECRET not in caplog.text + repr(parse_target(url_of("rtsp", 1), timeout_s=1))


@pytest.mark.parametrize("kind", ["rtsp", "flv"])
def test_a_server_that_never_answers_is_given_up_and_tried_again_and_holds_nothing_up(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    with mute_server() as port, PublishSink(url_of(kind, port), render, timeout_s=0.5) as sink:
        with Run(sink) as run:
            until(lambda: len(lost_lines(caplog)) >= 2, 60, what="two tries")
        assert median(run.took_s) < 0.1
        assert sink.dropped == sink.written
        until(lambda: sink._publisher._helper and not sink._publisher._helper.has_ended, what="the third try")
        pid = helper_of(sink)
        started = time.monotonic()
        sink.__exit__(None, None, None)
        assert time.monotonic() - started < LONG_S
        assert not alive(pid)
    assert SECRET not in caplog.text


def lost_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line for line in caplog.messages if "next try in" in line]


def grey_then_noise(changed: threading.Event) -> Iterator[SegmentedFrame]:
    """In the end, pictures that no encoder makes small, so that they fill the system's buffers."""
    info = video_info(640, 480)
    pixels = np.random.default_rng(0).integers(0, 255, (info.height, info.width), np.uint8)
    for number in count():
        result = seen(1, first=number, info=info)[0]
        if changed.is_set():
            planes_of(result.frame.picture)[0][:] = np.roll(pixels, 37 * number, axis=1)
        yield result


@pytest.mark.parametrize("kind", ["rtsp", "flv"])
def test_a_listener_that_stops_reading_loses_frames_and_the_run_goes_on(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    port, stopped = a_free_port(), threading.Event()
    with (
        peer(kind, port) as listener,
        PublishSink(url_of(kind, port), render, encoding=Encoding(crf=1), timeout_s=2) as sink,
    ):
        with Run(sink, grey_then_noise(stopped)) as run:
            until(lambda: len(listener.frames) > 5, 60, what="frames arrive")
            dropped = sink.dropped
            listener.process.send_signal(signal.SIGSTOP)
            stopped.set()
            until(lambda: lost_lines(caplog), 60, what="it is given up")
            assert sink.dropped > dropped
        assert median(run.took_s) < 1  # most of it x264's
        started = time.monotonic()
        sink.__exit__(None, None, None)
        assert time.monotonic() - started < LONG_S


def test_a_listener_that_is_killed_and_started_again_gets_a_keyframe_first() -> None:
    port = a_free_port()
    with PublishSink(url_of("rtsp", port), render) as sink, Run(sink):
        for number in (1, 2):
            with peer("rtsp", port) as listener:
                until(lambda: len(listener.frames) > 10, 60, what=f"frames arrive at listener {number}")
                assert listener.frames[0][1]
        assert sink.connections >= 2


def test_another_size_is_published_anew() -> None:
    port = a_free_port()
    infos = [video_info(64, 48), video_info(96, 64)]
    switched = threading.Event()
    frames = (seen(1, first=number, info=infos[switched.is_set()])[0] for number in count())
    with peer("mpegts", port) as listener, PublishSink(url_of("mpegts", port), render) as sink, Run(sink, frames):
        until(lambda: len(listener.frames) > 10, 60, what="frames arrive")
        switched.set()
        until(lambda: listener.frames[-1][2] == 96, 60, what="larger frames arrive")
        assert sink.connections == 2


@contextmanager
def server_that_answers(answer: bytes) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        while request := connection.recv(4096):
                            number = request.partition(b"CSeq: ")[2].partition(b"\r")[0]
                            connection.sendall(answer.replace(b"N", number))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(LONG_S)


def test_a_wrong_password_is_told_and_not_tried_again_soon(caplog: pytest.LogCaptureFixture) -> None:
    refusal = b'RTSP/1.0 401 Unauthorized\r\nCSeq: N\r\nWWW-Authenticate: Basic realm="x"\r\n\r\n'
    with server_that_answers(refusal) as port, PublishSink(url_of("rtsp", port), render) as sink:
        sink.write(seen(1)[0])
        until(lambda: lost_lines(caplog), 30, what="it is refused")
    (line,) = lost_lines(caplog)
    assert line.startswith(f"rtsp://127.0.0.1:{port}/live: wrong user name or password; next try in ")
    assert float(line.split()[-2]) > 20


KILLED = """
    import os, signal, sys
    from {module} import *

    with PublishSink({url!r}, render, timeout_s=60) as sink, Run(sink):
        until(lambda: sink._publisher._helper, what="the process starts")
        print(helper_of(sink), flush=True)
        signal.pause()
"""


def test_the_process_ends_with_a_run_that_is_killed_even_where_it_hangs() -> None:
    with mute_server() as port:
        script = KILLED.format(module=__name__, url=url_of("flv", port))
        run = ends_with_test(subprocess.Popen(python(script), stdout=subprocess.PIPE, text=True))
        assert run.stdout
        pid = int(run.stdout.readline())
        until(lambda: connections_to(port), what="the process has connected, and hangs")
        assert alive(pid)
        run.kill()
        until(lambda: not alive(pid), what="the process ends")


def connections_to(port: int) -> int:
    """Established ones, of anybody."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(line[2].endswith(f":{port:04X}") and line[3] == "01" for line in lines)


def test_many_connections_leave_no_process_and_no_descriptor_behind() -> None:
    port = a_free_port()
    before = open_descriptors()
    for _ in range(3):
        with PublishSink(url_of("mpegts", port), render) as sink, Run(sink):
            until(lambda: sink.connections, 30, what="it is sent")
            pid = helper_of(sink)
        assert not alive(pid)
    assert open_descriptors() <= before


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("srt://host:9000", r"srt://host:9000: this FFmpeg has no SRT; publish to rtsp:// or udp://"),
        ("ftp://u:hunter2@host/x", r"ftp://host/x: cannot publish to ftp://; known are rtsp, rtsps, rtmp, rtmps, udp"),
        ("rtsp:///live", r"an address to publish to has a host$"),
        ("udp://239.0.0.1", r"udp://239\.0\.0\.1: an address to publish to has a host and a port$"),
        ("udp://239.0.0.1:99999", r"its port is no number from 0 to 65535"),
    ],
)
def test_what_cannot_be_published_to_is_told_before_the_run(url: str, words: str) -> None:
    with pytest.raises(OutputError, match=words) as caught:
        PublishSink(url, render)
    assert SECRET not in str(caught.value)


def packet(pts: int, *, key: bool = False) -> av.Packet:  # type: ignore[type-arg]
    made = av.Packet(b"picture")
    made.pts = made.dts = pts
    made.time_base, made.is_keyframe = TICK, key
    return made


def test_a_full_queue_is_emptied_and_goes_on_with_a_keyframe() -> None:
    queue = PacketQueue(longest_s=0.19)
    queue.open()
    queue.put(packet(0))
    assert (queue.dropped, queue.needs_key) == (1, True)  # no reader could do anything with it
    for number in range(1, 7):
        queue.put(packet(512 * number, key=number == 1))
    # With the sixth it would hold 0.2 s; it is of no use without the five before, which are too late.
    assert (queue.dropped, queue.overflowed, queue.needs_key) == (7, 5, True)
    queue.put(packet(512 * 7, key=True))
    queue.put(packet(512 * 8))
    taken = [queue.take(0) for _ in range(3)]
    assert [item and item.pts for item in taken] == [512 * 7, 512 * 8, None]


def test_a_queue_that_is_shut_takes_nothing_and_counts_it() -> None:
    queue = PacketQueue(longest_s=1)
    queue.put(packet(0, key=True))
    queue.open()
    queue.put(packet(512, key=True))
    queue.shut()
    assert queue.take(0) is None
    assert queue.dropped == 2
