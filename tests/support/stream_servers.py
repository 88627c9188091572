"""Cameras that speak something else than RTSP: MJPEG, MPEG-TS and HLS over HTTP, and MPEG-TS over UDP.

All show numbered frames from 0 on, and go on for ever.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import av

from tests.support.numbered_camera import CLOCK, Film, NumberedCamera, Shot

_JOIN_S = 5.0
_BOUNDARY = "frame"
_DATAGRAM_BYTES = 7 * 188  # packets of MPEG-TS
_PLAYLIST_PARTS = 4


@contextmanager
def http_camera(film: Film | None = None) -> Iterator[HttpCamera]:
    """Serves `/mjpeg`, `/video.ts` and `/live.m3u8`; with `stalled` set it sends nothing, but stays connected."""
    with HttpCamera(film or Film(gop=10)) as server:
        threads = [threading.Thread(target=server.serve_forever, args=(0.05,)), threading.Thread(target=server.cut)]
        for thread in threads:
            thread.start()
        try:
            yield server
        finally:
            server.stopping.set()
            server.shutdown()
            for thread in threads:
                thread.join(_JOIN_S)


class HttpCamera(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for the last answer

    def __init__(self, film: Film) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.film = film
        self.stopping = threading.Event()
        self.stalled = threading.Event()
        self.asked: list[str] = []  # heads of the requests
        self.parts: deque[tuple[int, bytes]] = deque(maxlen=2 * _PLAYLIST_PARTS)  # of HLS, numbered

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def cut(self) -> None:
        """Film for HLS: a part for each group of pictures."""
        part: list[Shot] = []
        with filming(self.film, self.stopping) as (camera, shots):
            for shot in shots:
                if shot.is_key and part:
                    number = self.parts[-1][0] + 1 if self.parts else 0
                    self.parts.append((number, b"".join(_mpegts(camera, iter(part)))))
                    part = []
                part.append(shot)

    def playlist(self) -> str:
        seconds = self.film.gop / self.film.rate
        parts = list(self.parts)[-_PLAYLIST_PARTS:]
        lines = ["#EXTM3U", "#EXT-X-VERSION:3", f"#EXT-X-TARGETDURATION:{round(seconds) or 1}"]
        lines.append(f"#EXT-X-MEDIA-SEQUENCE:{parts[0][0] if parts else 0}")
        for number, _ in parts:
            lines += [f"#EXTINF:{seconds:.3f},", f"part{number}.ts"]
        return "\n".join([*lines, ""])


class _Answers(BaseHTTPRequestHandler):
    server: HttpCamera

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(f"{self.requestline}\n{self.headers}")
        try:
            if path == "/mjpeg":
                self._send_for_ever(f"multipart/x-mixed-replace;boundary={_BOUNDARY}", self._jpegs())
            elif path == "/video.ts":
                self._send_for_ever("video/mp2t", self._transport_stream())
            elif path == "/live.m3u8":
                self._send("application/vnd.apple.mpegurl", self.server.playlist().encode())
            elif parts := [part for number, part in list(self.server.parts) if path == f"/part{number}.ts"]:
                self._send("video/mp2t", parts[0])
            else:
                self.send_error(404)
        except ConnectionError:
            self.close_connection = True

    def _send(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_for_ever(self, kind: str, pieces: Iterator[bytes]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        for piece in pieces:
            if not self.server.stalled.is_set():
                self.wfile.write(piece)

    def _jpegs(self) -> Iterator[bytes]:
        film = self.server.film
        with filming(Film(film.width, film.height, film.rate, "mjpeg"), self.server.stopping) as (_, shots):
            for shot in shots:
                head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(shot.bytes)}\r\n\r\n"
                yield head.encode() + shot.bytes + b"\r\n"

    def _transport_stream(self) -> Iterator[bytes]:
        with filming(self.server.film, self.server.stopping) as (camera, shots):
            yield from _mpegts(camera, shots)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class calls it
        """What is asked for is no matter of the test's output."""


@contextmanager
def udp_camera(port: int, film: Film | None = None) -> Iterator[threading.Event]:
    """Sends MPEG-TS to a port on loopback, whether anybody listens or not; set what it gives, and it stops sending."""
    stopping = threading.Event()

    def send() -> None:
        with filming(film or Film(gop=10), stopping) as (camera, shots), socket.socket(type=socket.SOCK_DGRAM) as own:
            for piece in _mpegts(camera, shots):
                for start in range(0, len(piece), _DATAGRAM_BYTES):
                    own.sendto(piece[start : start + _DATAGRAM_BYTES], ("127.0.0.1", port))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield stopping
    finally:
        stopping.set()
        thread.join(_JOIN_S)


@contextmanager
def filming(film: Film, stopping: threading.Event) -> Iterator[tuple[NumberedCamera, Iterator[Shot]]]:
    """A camera, and its frames as they happen."""
    camera = NumberedCamera(film)
    try:
        yield camera, _shots(camera, stopping)
    finally:
        camera.close()


def _shots(camera: NumberedCamera, stopping: threading.Event) -> Iterator[Shot]:
    started, number, rate = time.monotonic(), 0, camera.film.rate
    while not stopping.is_set():
        yield camera.shoot(number, pts=number * CLOCK // rate)
        number += 1
        stopping.wait(max(0.0, started + number / rate - time.monotonic()))


def _mpegts(camera: NumberedCamera, shots: Iterator[Shot]) -> Iterator[bytes]:
    """The bytes of a transport stream, those of each shot at once."""
    pieces: list[bytes] = []
    with av.open(_Pieces(pieces), "w", format="mpegts", options={"flush_packets": "1"}) as muxer:
        stream = muxer.add_stream_from_template(camera.stream)
        for shot in shots:
            packet = av.Packet(shot.bytes)
            packet.pts = packet.dts = shot.pts
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, CLOCK), stream, shot.is_key
            muxer.mux(packet)
            yield b"".join(pieces)
            pieces.clear()


class _Pieces:
    """A file of the muxer's that can only be appended to."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def write(self, piece: bytes) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)
