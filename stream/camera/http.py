"""What a camera has on the web, read as files: with its password, from its own host, within our time-outs.

FFmpeg is given these, and opens nothing itself: it would follow a camera to any host, and read a playlist's pieces from
anywhere.
"""

from __future__ import annotations

import io
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import quote
from urllib.request import getproxies, proxy_bypass

import av

from ..errors import SourceError, first_line
from ..system.url import Url, parse_url
from .access import MOST_REDIRECTS, Login, basic, naming_failures, sent_on, unverified
from .camera import Camera
from .status import CameraStatus

_HEAD_BYTES = 64  # that tell what it is
_PLAYLIST_BYTES = 1 << 22  # FFmpeg keeps all that a playlist names
_PAGES = {"text/html": "a web page", "application/json": "JSON", "text/xml": "XML", "application/xml": "XML"}
_JPEGS = re.compile(r"multipart/|image/jpe?g|video/(x-)?m(otion-)?jpe?g", re.IGNORECASE)


class Web:
    """Opens what is on a camera's host.

    Args:
        camera: whose URL is HTTP's.
        status: of the camera, which warns.
    """

    def __init__(self, camera: Camera, status: CameraStatus) -> None:
        self.refusal: str | None = None  # why something was not opened, in words
        self._camera, self._status = camera, status
        self._address = parse_url(camera.url)
        self._logins: dict[tuple[str, int | None], Login] = {}
        self._cookies: dict[tuple[str, int | None], dict[str, str]] = {}
        self._socket: socket.socket | None = None  # of the last answer

    def open(self) -> WebFile:
        """The camera's own URL.

        Raises:
            SourceError: it leads elsewhere.
            OSError, av.FFmpegError: it cannot be had.
        """
        return WebFile(self._get, self._address, 0, None)

    def open_piece(self, url: str, _flags: int, options: Mapping[str, str]) -> WebFile | io.BytesIO:
        """What FFmpeg asks for when it reads a playlist; raises as `open`."""
        try:
            _refuse_encrypted(url)
            address = sent_on(self._address, url, allow=self._camera.allow_redirects)
            first, end = int(options.get("offset", 0)), int(options.get("end_offset", 0))
            try:
                file = WebFile(self._get, address, first, end or None)
            except av.error.HTTPNotFoundError:
                if address.rest.partition("?")[0].endswith(".m3u8"):
                    raise
                self._status.warn_once(
                    "a piece that its playlist names is not there (404); such pieces are passed over"
                )
                return io.BytesIO()  # FFmpeg goes on with the piece after it
            file.most = _PLAYLIST_BYTES if file.is_playlist else None
        except SourceError as exc:
            self.refusal = str(exc)
            raise
        return file

    def cut(self) -> None:
        """Break the connection off, whoever waits for it; any thread may."""
        if own := self._socket:
            with suppress(OSError):
                own.shutdown(socket.SHUT_RDWR)

    def _get(self, address: Url, headers: dict[str, str]) -> tuple[Url, HTTPResponse]:
        """An answer that has something, and from where it is."""
        was_refused = False
        for _ in range(2 * MOST_REDIRECTS):
            login = self._logins.setdefault(address.origin, Login(address))
            target = _target(address)
            cookies = self._cookies.setdefault(address.origin, {})
            known = {
                "Authorization": login.header("GET", target),
                "Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()),
            }
            response = self._asked(address, target, headers | {name: text for name, text in known.items() if text})
            for cookie in response.headers.get_all("Set-Cookie") or []:
                name, _, value = cookie.partition(";")[0].partition("=")
                cookies[name.strip()] = value.strip()
            location = response.headers.get("Location")
            challenges = response.headers.get_all("WWW-Authenticate") or []
            if response.status == 401 and not was_refused and login.ask(challenges):
                was_refused = True
            elif 300 <= response.status < 400 and location:
                address, was_refused = sent_on(address, location, allow=self._camera.allow_redirects), False
            elif response.status >= 300:
                response.close()
                raise _error(response.status)
            else:
                return address, response
            response.close()
        raise SourceError("it sends us on again and again; name the address it is at")

    def _asked(self, address: Url, target: str, headers: dict[str, str]) -> HTTPResponse:
        timeout_s = self._camera.socket_timeout_s
        host, port = address.connect_to
        is_secure = address.scheme == "https"
        proxy = None if proxy_bypass(host) else getproxies().get(address.scheme)
        hop = parse_url(proxy if "://" in proxy else f"http://{proxy}") if proxy else address
        via = hop.connect_to
        permit = {"Proxy-Authorization": basic(*hop.credentials)} if proxy and hop.user else {}
        connection = (
            HTTPSConnection(*via, timeout=timeout_s, context=unverified())
            if is_secure
            else HTTPConnection(*via, timeout=timeout_s)
        )
        if proxy and is_secure:
            connection.set_tunnel(host, port, permit)
        elif proxy:
            target = f"http://{address.host}:{port}{target}"
            headers = headers | permit
        named = address.host if address.port is None else f"{address.host}:{address.port}"
        with ExitStack() as stack, naming_failures():
            stack.callback(connection.close)
            try:
                connection.connect()
            except OSError as exc:
                if not proxy or isinstance(exc, ssl.SSLError):
                    raise
                raise _closed_proxy(via, first_line(exc), host) from exc
            self._socket = connection.sock
            connection.request(
                "GET", target, headers={"Host": named, "User-Agent": "roadmask", "Accept": "*/*", **headers}
            )
            response = connection.getresponse()
            if connection.sock:  # the response has the socket now, and closes it
                connection.sock.close()
            stack.pop_all()
        if proxy and response.status == 407:
            response.close()
            raise _closed_proxy(via, f"407 {response.reason}", host)
        return response


class WebFile:
    """A file of a web server; FFmpeg jumps about in it where the server lets it.

    Args:
        get: asks for an address with some headers.
        address: of the file.
        first: of its bytes.
        end: before which byte it ends; `None` for all that there is.
    """

    def __init__(
        self,
        get: Callable[[Url, dict[str, str]], tuple[Url, HTTPResponse]],
        address: Url,
        first: int,
        end: int | None,
    ) -> None:
        self._get, self._first, self._end = get, first, end
        self.most: int | None = None  # bytes, at which it ends
        self._at = 0
        self._response: HTTPResponse
        self.address = address
        self._open()
        self._rest = b""
        length = self._response.headers.get("Content-Length", "")
        ranges = self._response.headers.get("Accept-Ranges", "").lower()
        self._length = int(length) if length.isdecimal() and ranges == "bytes" else None

    def _open(self) -> None:
        begin, end = self._first + self._at, self._end
        headers = {"Range": f"bytes={begin}-{end - 1 if end else ''}"} if begin or end else {}
        self.address, self._response = self._get(self.address, headers)
        if begin and self._response.status != 206:
            self._response.close()
            raise av.error.InvalidDataError(0, "no ranges")

    @property
    def holds_jpegs(self) -> bool:
        kind = self._response.headers.get("Content-Type", "")
        return bool(_JPEGS.match(kind)) or self._head().startswith((b"--", b"\xff\xd8\xff"))

    @property
    def is_one_jpeg(self) -> bool:
        """Whether it is one picture, and no stream of them: of these no length is known."""
        fields = self._response.headers
        return bool(fields.get("Content-Type", "").lower().startswith("image/jp") and fields.get("Content-Length"))

    def refuse_page(self) -> None:
        """Raises `SourceError` where it is for people or programs, as cameras answer at their bare address."""
        kind = self._response.headers.get_content_type()
        if kind in _PAGES and not self.holds_jpegs and not self.is_playlist:
            raise SourceError(
                f"what comes is {_PAGES[kind]}, and no video; the camera's manual tells its stream's address"
            )

    @property
    def is_playlist(self) -> bool:
        return self._head().startswith(b"#EXTM3U")

    def _head(self) -> bytes:
        while len(self._rest) < _HEAD_BYTES and (piece := self._read(_HEAD_BYTES)):
            self._rest += piece
        return self._rest.removeprefix(b"\xef\xbb\xbf").lstrip()

    def read(self, size: int = -1) -> bytes:
        """Some of the next bytes, as they come; none at the end."""
        if self.most is not None and self._at >= self.most:
            return b""
        piece, self._rest = (self._rest[:size], self._rest[size:]) if self._rest else (self._read(size), b"")
        self._at += len(piece)
        return piece

    def _read(self, size: int) -> bytes:
        try:
            return self._response.read1(size)
        except (HTTPException, ValueError):
            return b""  # it ends before the length that it was declared to have

    def seekable(self) -> bool:
        return self._length is not None

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        place = offset + (0, self._at, self._length or 0)[whence]
        if place != self._at:
            self._response.close()
            self._rest, self._at = b"", place
            if self._length is None or place < self._length:
                self._open()
        return place

    def close(self) -> None:
        with suppress(OSError):
            self._response.close()


def _refuse_encrypted(url: str) -> None:
    """Raises `SourceError`."""
    if url.startswith("crypto"):
        raise SourceError("its playlist is encrypted, which is read with --allow-redirects only")


def _target(address: Url) -> str:
    """What stands in a request; a # would end it for the server, where it is part of a password."""
    rest = address.rest if address.rest.startswith("/") else f"/{address.rest}"
    return quote(rest, safe="/%:@!$&'()*+,;=?-._~[]|\\^`{}\"<>")


def _closed_proxy(proxy: tuple[str, int], reason: str, host: str) -> SourceError:
    # A tunnel's 407 is in words alone.
    cure = "write its password into it, http://user:password@host:port; " if "407" in reason else ""
    words = f"the proxy {proxy[0]}:{proxy[1]} does not lead to it ({reason})"
    return SourceError(f"{words}; {cure}with no_proxy={host} in the environment it is asked itself")


def _error(status: int) -> av.FFmpegError:
    """As FFmpeg tells it."""
    kinds = {
        401: av.error.HTTPUnauthorizedError,
        403: av.error.HTTPForbiddenError,
        404: av.error.HTTPNotFoundError,
    }
    kind = kinds.get(status) or (av.error.HTTPServerError if status >= 500 else av.error.HTTPOtherClientError)
    return kind(0, f"status {status}")
