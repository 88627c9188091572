"""Between FFmpeg and a camera that speaks RTSP: who lets in with the password, and goes nowhere else.

FFmpeg knows no digest but MD5, follows a camera to any host and takes the password along. So it speaks to this, on
loopback, and never learns the password. What a camera sends once it plays is passed on as it comes.
"""

from __future__ import annotations

import re
import secrets
import select
import socket
import ssl
import threading
from contextlib import suppress
from typing import Self

from ..errors import SourceError
from ..system.url import parse_url
from .access import MOST_REDIRECTS, Login, connected, sent_on
from .camera import Camera

_PIECE = 1 << 16
_LONGEST_HEAD = 1 << 16
_STATUS = re.compile(rb"RTSP/[\d.]+ +\d+[^\r\n]*")
_NOT_THERE = (404, 405, 501, 551)  # statuses that say that there is no such question
_REFUSAL = re.compile(rb"RTSP/[\d.]+ +401")  # also of what keeps a session alive, once the proof is too old
_BLANK_LINE = re.compile(rb"\n\r?\n")  # which ends a head; some end their lines with the second letter alone
_HEADER = re.compile(rb"^([\w-]+)[ \t]*:[ \t]*(.*?)[ \t]*\r?$", re.MULTILINE)
_JOIN_S = 1.0


class RtspRelay:
    """A context manager; `url` is what FFmpeg opens, once.

    Args:
        camera: to reach; it is connected to at once.

    Raises:
        OSError: it cannot be reached.
    """

    def __init__(self, camera: Camera) -> None:
        self.refusal: str | None = None  # why it was ended here, in words
        self.has_begun = False  # the camera has said that it sends now
        self._camera = camera
        self._address = parse_url(camera.url)
        self._login = Login(self._address)
        self._redirects = 0
        self._asked, self._answered = bytearray(), bytearray()  # that have come so far, and are not whole
        self._request = b""  # the last one, as it came
        self._is_ours = self._was_refused = self._plays = False
        self._server = connected(self._address, camera.socket_timeout_s)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(camera.socket_timeout_s)
        # Whoever else on this machine finds the port does not know the word.
        self._own = f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/{secrets.token_hex(8)}"
        self._rest = self._address.rest
        self.url = self._own + self._rest
        self._thread = threading.Thread(target=self._run, name=f"relay {camera.name}", daemon=True)

    def _run(self) -> None:
        with suppress(OSError):  # one of the two is gone, and so will be the other
            self._client, _ = self._listener.accept()
            try:
                self._pass_on()
            except SourceError as exc:
                self.refusal = str(exc)
            finally:
                self._client.close()
        self._server.close()

    def _pass_on(self) -> None:
        """Until one of the two hangs up."""
        while True:
            waiting = isinstance(self._server, ssl.SSLSocket) and self._server.pending()
            ready = [self._server] if waiting else select.select([self._client, self._server], [], [])[0]
            if self._client in ready and not self._hear_client():
                return
            if self._server in ready and not self._hear_server():
                return

    def _hear_client(self) -> bool:
        """Whether it is still there."""
        piece = self._client.recv(_PIECE)
        self._asked += piece
        while message := _taken(self._asked, b""):
            self._was_refused = False
            self._ask(message)
        return bool(piece)

    def _hear_server(self) -> bool:
        try:
            piece = self._received()
        except ssl.SSLWantReadError:  # what came is TLS's own
            return True
        if self._plays:
            self._client.sendall(piece)
            if self._login.is_known and (asked_anew := _REFUSAL.search(piece)):
                self._let_in(_BLANK_LINE.split(piece[asked_anew.start() :], 1)[0])
            return bool(piece)
        self._answered += piece
        while not self._plays and (message := _taken(self._answered, b"RTSP/")):
            self._answer(message)
        if self._answered.startswith(b"HTTP/"):
            raise SourceError("what answers is a web server: write http://, or the port that RTSP has there, often 554")
        speaks_it = self._answered.startswith((b"$", b"RTSP/"[: len(self._answered)]))
        if self._plays or not speaks_it:
            self._plays = True  # or says what FFmpeg may make something of
            self._client.sendall(self._answered)
        return bool(piece)

    def _received(self) -> bytes:
        if not isinstance(self._server, ssl.SSLSocket):
            return self._server.recv(_PIECE)
        self._server.setblocking(False)
        try:
            return self._server.recv(_PIECE)
        finally:
            self._server.setblocking(True)

    def _ask(self, message: bytes) -> None:
        """Pass a request on, as one to the camera, with what lets in."""
        if message.startswith(b"$"):
            self._server.sendall(message)
            return
        self._request = message
        line, _, rest = message.partition(b"\r\n")
        method, _, url = line.decode("latin-1").partition(" ")
        url, _, version = url.rpartition(" ")
        self._is_ours = self._is_ours or url.startswith(self._own)
        if not self._is_ours:
            raise SourceError("another program of this machine came first")
        url = self._on_camera(url)
        header = self._login.header(method, url)
        proof = f"Authorization: {header}\r\n" if header else ""
        self._server.sendall(f"{method} {url} {version}\r\n{proof}".encode("latin-1") + rest)

    def _on_camera(self, url: str) -> str:
        """A URL as the camera knows it; those that it has named itself are so already."""
        if not url.startswith(self._own):
            return url
        host, port = self._address.host, self._address.connect_to[1]
        rest = url.removeprefix(self._own)
        if rest.startswith(self._rest):  # which another host calls otherwise
            rest = self._address.rest + rest.removeprefix(self._rest)
        return f"{self._address.scheme}://{host}:{port}{rest}"

    def _answer(self, message: bytes) -> None:
        """Pass an answer on, or ask again in the way that it wants."""
        if message.startswith(b"$"):
            self._client.sendall(message)
            return
        head = _BLANK_LINE.split(message, 1)[0]
        status = int(_found(rb"RTSP/[\d.]+ +(\d+)", head) or 0)
        if status == 401 and self._let_in(head):
            return
        if 300 <= status < 400 and (location := _values(head, b"location")):
            self._go_on(location[0])
            return
        method = self._request.partition(b" ")[0]
        if method == b"OPTIONS" and status in _NOT_THERE:  # FFmpeg goes no further, though nothing depends on it
            message = _STATUS.sub(b"RTSP/1.0 200 OK", message, 1)
        self._plays = self.has_begun = method == b"PLAY" and status == 200
        self._client.sendall(self._with_source(message) if method == b"SETUP" else message)

    def _let_in(self, head: bytes) -> bool:
        """Ask again in the way that an answer wants; once, as it may be the password that is wrong."""
        if self._was_refused or not self._login.ask(_values(head, b"www-authenticate")):
            return False
        self._was_refused = True
        self._ask(self._request)
        return True

    def _go_on(self, location: str) -> None:
        self._redirects += 1
        if self._redirects > MOST_REDIRECTS:
            raise SourceError(f"it sends us on more than {MOST_REDIRECTS} times; name the address it is at")
        there = sent_on(self._address, location, allow=self._camera.allow_redirects)
        self._server.close()
        self._server, self._address, self._login = connected(there, self._camera.socket_timeout_s), there, Login(there)
        self._was_refused = False
        self._ask(self._request)

    def _with_source(self, message: bytes) -> bytes:
        """Over UDP the packets come from the camera itself: its address is told, and no other."""
        line = _found(rb"(?im)^(Transport:.*server_port.*?)\r?$", message)
        if line is None or b"multicast" in line or (b"source=" in line and self._camera.allow_redirects):
            return message
        source = f";source={self._server.getpeername()[0]}".encode()
        return message.replace(line, re.sub(rb";\s*source=[^;]*", b"", line) + source)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._listener.close()
        self._thread.join(_JOIN_S)

    def cut(self) -> None:
        """Break the connection off, whoever waits for what; any thread may."""
        for own in (self._listener, self._server):
            with suppress(OSError):
                own.shutdown(socket.SHUT_RDWR)


def _taken(buffer: bytearray, begins: bytes) -> bytes | None:
    """The next whole message, taken from its buffer: text that begins so, or a packet.

    Raises:
        SourceError: it has no end.
    """
    del buffer[: len(buffer) - len(buffer.lstrip(b"\r\n"))]  # which some put between two
    if buffer.startswith(b"$"):
        size = 4 + int.from_bytes(buffer[2:4]) if len(buffer) >= 4 else 5
    else:
        blank = _BLANK_LINE.search(buffer)
        if blank is None and len(buffer) > _LONGEST_HEAD:
            raise SourceError("what it says has no end")
        if blank is None or not buffer.startswith(begins):
            return None
        length = _found(rb"(?im)^Content-Length[ \t]*:[ \t]*(\d{1,7})", buffer[: blank.start()])
        size = blank.end() + int(length or 0)
    if len(buffer) < size:
        return None
    message = bytes(buffer[:size])
    del buffer[:size]
    return message


def _values(head: bytes, name: bytes) -> list[str]:
    """Of the headers of that name, which is in lower case."""
    return [value.decode("latin-1") for own, value in _HEADER.findall(head) if own.lower() == name]


def _found(pattern: bytes, text: bytes | bytearray) -> bytes | None:
    match = re.search(pattern, text)
    return match[1] if match else None
