"""A camera that speaks RTMP: what a player needs of the protocol, and numbered frames.

After Adobe's specification 1.0: a plain handshake, chunks, commands in AMF0, video as in FLV.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.support.numbered_camera import CLOCK, Film, Shot
from tests.support.stream_servers import filming

_HANDSHAKE_BYTES = 1536
_CLIENT_CHUNK, _OUR_CHUNK = 128, 60_000
_SET_CHUNK_SIZE, _USER_CONTROL, _WINDOW, _BANDWIDTH, _VIDEO, _COMMAND = 1, 4, 5, 6, 9, 20
_JOIN_S = 5.0


@contextmanager
def rtmp_camera(film: Film | None = None) -> Iterator[RtmpCamera]:
    camera = RtmpCamera(film or Film(gop=10))
    try:
        yield camera
    finally:
        camera.close()


class RtmpCamera:
    """Sends video to whoever asks; with `hangs` set it says nothing, or nothing more."""

    def __init__(self, film: Film) -> None:
        self.hangs = threading.Event()
        self._film = film
        self._stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._clients: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"rtmp://127.0.0.1:{self._listener.getsockname()[1]}/live/camera"

    def lose_clients(self) -> None:
        """The connections break."""
        for client in self._clients:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.lose_clients()
        for thread in self._threads:
            thread.join(_JOIN_S)

    def _accept(self) -> None:
        while not self._stopping.is_set():
            with suppress(OSError):
                client, _ = self._listener.accept()
                self._clients.append(client)
                thread = threading.Thread(target=self._serve, args=(client,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError, EOFError):
            connection = _Connection(client)
            if self.hangs.is_set():
                self._stopping.wait()
            connection.shake_hands()
            connection.answer_until_play()
            with filming(self._film, self._stopping) as (_, shots):
                for shot in shots:
                    if not self.hangs.is_set():
                        connection.send_frame(shot)


class _Connection:
    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self._reader = client.makefile("rb")
        self._lengths: dict[int, tuple[int, int]] = {}  # of a chunk stream's last message, and its type

    def shake_hands(self) -> None:
        self._read(1)
        theirs = self._read(_HANDSHAKE_BYTES)
        self._client.sendall(b"\3" + bytes(_HANDSHAKE_BYTES) + theirs)
        self._read(_HANDSHAKE_BYTES)

    def answer_until_play(self) -> None:
        """Say yes to all that a player asks, up to the stream."""
        while True:
            kind, body = self._message()
            if kind != _COMMAND:
                continue
            name, number = _command(body)
            if name == "connect":
                self._send(_WINDOW, struct.pack(">I", 5_000_000))
                self._send(_BANDWIDTH, struct.pack(">IB", 5_000_000, 2))
                self._send(_SET_CHUNK_SIZE, struct.pack(">I", _OUR_CHUNK))
                self._send(_COMMAND, _amf("_result", number, None, {"code": "NetConnection.Connect.Success"}))
            elif name == "createStream":
                self._send(_COMMAND, _amf("_result", number, None, 1.0))
            elif name == "play":
                self._send(_USER_CONTROL, struct.pack(">HI", 0, 1))  # the stream begins
                status = {"level": "status", "code": "NetStream.Play.Start"}
                self._send(_COMMAND, _amf("onStatus", 0.0, None, status), stream=1)
                return

    def send_frame(self, shot: Shot) -> None:
        units = [unit for unit in shot.bytes.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if unit]
        by_type = {unit[0] & 31: unit for unit in units}
        milliseconds = shot.pts * 1000 // CLOCK
        if shot.is_key:
            sps, pps = by_type[7], by_type[8]
            sets = b"\xe1" + struct.pack(">H", len(sps)) + sps + b"\1" + struct.pack(">H", len(pps)) + pps
            self._send(_VIDEO, b"\x17\0\0\0\0\1" + sps[1:4] + b"\xff" + sets, stream=1, milliseconds=milliseconds)
        frame = b"".join(struct.pack(">I", len(unit)) + unit for unit in units)
        head = b"\x17\1\0\0\0" if shot.is_key else b"\x27\1\0\0\0"
        self._send(_VIDEO, head + frame, stream=1, milliseconds=milliseconds)

    def _read(self, count: int) -> bytes:
        read = self._reader.read(count)
        if len(read) < count:
            raise EOFError
        return read

    def _message(self) -> tuple[int, bytes]:
        """The type and body of the next one. Clients send one after the other, never two interleaved."""
        body, length = b"", 1
        while len(body) < length:
            (basic,) = self._read(1)
            form, chunk_stream = basic >> 6, basic & 63
            if form < 3:
                head = self._read((11, 7, 3)[form])
                if form < 2:
                    self._lengths[chunk_stream] = int.from_bytes(head[3:6]), head[6]
            length, kind = self._lengths[chunk_stream]
            body += self._read(min(length - len(body), _CLIENT_CHUNK))
        return kind, body

    def _send(self, kind: int, body: bytes, *, stream: int = 0, milliseconds: int = 0) -> None:
        head = milliseconds.to_bytes(3) + len(body).to_bytes(3) + bytes([kind]) + struct.pack("<I", stream)
        pieces = [body[start : start + _OUR_CHUNK] for start in range(0, len(body), _OUR_CHUNK)]
        self._client.sendall(b"\3" + head + b"\xc3".join(pieces))


def _command(body: bytes) -> tuple[str, float]:
    """The name and number of a command."""
    end = 3 + int.from_bytes(body[1:3])
    (number,) = struct.unpack(">d", body[end + 1 : end + 9])
    return body[3:end].decode(), number


def _amf(*values: str | float | dict[str, str] | None) -> bytes:
    """In AMF0."""
    return b"".join(map(_amf_value, values))


def _amf_value(value: str | float | dict[str, str] | None) -> bytes:
    if value is None:
        return b"\5"
    if isinstance(value, str):
        return b"\2" + _amf_text(value)
    if isinstance(value, dict):
        return b"\3" + b"".join(_amf_text(name) + _amf_value(item) for name, item in value.items()) + b"\0\0\t"
    return b"\0" + struct.pack(">d", value)


def _amf_text(text: str) -> bytes:
    return struct.pack(">H", len(text)) + text.encode()
