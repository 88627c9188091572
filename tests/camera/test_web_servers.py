"""What stands between us and a camera's web server: cookies, proxies, addresses that are none, damage on the way."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence
from dataclasses import replace

import pytest

from roadmask.stream.camera.access import Login
from roadmask.stream.camera.jpegs import jpegs
from roadmask.stream.system.url import parse_url
from tests.support.jpeg_parts import PICTURES, in_parts, mixed, part
from tests.support.live_viewer import EVERY_FRAME, LiveViewer
from tests.support.odd_http import head, odd_server

pytestmark = pytest.mark.usefixtures("short_pauses")
ONCE = replace(EVERY_FRAME, max_retries=0)
FILM = [mixed("x"), *in_parts("--x")]


def watched(url: str) -> LiveViewer:
    """To its end."""
    with LiveViewer(url, ONCE) as viewer:
        viewer.until(lambda: viewer.is_over)
    return viewer


def test_a_cookie_that_a_camera_gives_is_given_back_to_it() -> None:
    def answer(request: str) -> Sequence[bytes]:
        if "\r\nCookie: session=abc; lang=en\r\n" in request:
            return FILM
        cookies = b"Set-Cookie: session=abc; Path=/; HttpOnly\r\nSet-Cookie: lang=en\r\n"
        return [head("302 Found", Location="/mjpeg", Content_Length="0").replace(b"\r\n", b"\r\n" + cookies, 1)]

    with odd_server(answer) as server:
        assert watched(f"{server.url}/").numbers == list(range(len(PICTURES)))
    assert "Cookie" not in server.requests[0]


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment says by which proxy to go; no other does."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@pytest.mark.parametrize("scheme", ["http://", ""])
def test_a_proxy_is_asked_for_the_whole_address_of_a_camera(scheme: str, proxied: pytest.MonkeyPatch) -> None:
    with odd_server(lambda _: FILM) as server:
        proxied.setenv("http_proxy", scheme + server.url.removeprefix("http://"))
        assert watched("http://camera.example/mjpeg?size=1").numbers == list(range(len(PICTURES)))
    lines = server.requests[0].split("\r\n")
    assert lines[0] == "GET http://camera.example:80/mjpeg?size=1 HTTP/1.1"
    assert "Host: camera.example" in lines


def test_through_a_proxy_nothing_is_said_to_a_camera_but_within_tls(proxied: pytest.MonkeyPatch) -> None:
    with odd_server(lambda _: [head("403 Forbidden", Content_Length="0")]) as server:
        proxied.setenv("https_proxy", server.url)
        viewer = watched("https://joe:secret@camera.example/mjpeg")
    assert server.requests[0].startswith("CONNECT camera.example:443 HTTP/1.")
    assert "Authorization" not in server.requests[0]
    where = server.url.removeprefix("http://")
    assert str(viewer.error) == (
        f"gate: the proxy {where} does not lead to it (Tunnel connection failed: 403 Forbidden); "
        "with no_proxy=camera.example in the environment it is asked itself; given up after 1 try"
    )


def test_a_proxy_that_is_not_there_is_told_as_the_proxy(proxied: pytest.MonkeyPatch) -> None:
    proxied.setenv("http_proxy", "http://joe:secret@127.0.0.1:1")
    told = str(watched("http://camera.example/mjpeg").error)
    assert told.startswith("gate: the proxy 127.0.0.1:1 does not lead to it (Connection refused); with no_proxy=")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_gets_its_password_and_the_camera_does_not_and_one_that_wants_another_is_told(
    scheme: str, proxied: pytest.MonkeyPatch
) -> None:
    with odd_server(lambda _: [head("407 Proxy Authentication Required", Content_Length="0")]) as server:
        proxied.setenv(f"{scheme}_proxy", server.url.replace("://", "://jo%40e:secret@"))
        told = str(watched(f"{scheme}://camera.example/mjpeg").error)
    given = base64.b64encode(b"jo@e:secret").decode()
    assert f"\r\nProxy-Authorization: Basic {given}\r\n" in server.requests[0]
    assert "\r\nAuthorization" not in server.requests[0]
    assert "407 Proxy Authentication Required); write its password into it, http://user:password@host:port; " in told
    assert "secret" not in told


def test_a_host_that_is_to_be_asked_without_the_proxy_is(proxied: pytest.MonkeyPatch) -> None:
    with odd_server(lambda _: FILM) as server:
        proxied.setenv("http_proxy", "http://127.0.0.1:1")
        proxied.setenv("no_proxy", "127.0.0.1")
        assert watched(f"{server.url}/mjpeg").numbers == list(range(len(PICTURES)))
    assert server.requests[0].startswith("GET /mjpeg HTTP/1.1")


@pytest.mark.parametrize("location", ["http://[::1", "http://camera:port/"])
def test_to_be_sent_on_to_an_address_that_is_none_is_told(location: str) -> None:
    with odd_server(lambda _: [head("302 Found", Location=location, Content_Length="0")]) as server:
        told = str(watched(f"{server.url}/").error)
    assert "it sends us on to an address that cannot be read; name the one it is at" in told


def test_what_is_no_http_at_all_is_told_in_a_line() -> None:
    with odd_server(lambda _: [b"220 camera FTP server ready\r\n"]) as server:
        told = str(watched(f"{server.url}/").error)
    assert told.startswith("gate: ")
    assert "\n" not in told


def test_a_jpeg_that_cannot_be_decoded_is_counted_and_the_next_is_seen() -> None:
    without_pixels = b"\xff\xd8\xff\xfe\x00\x04ab\xff\xd9"
    film = [part("--x", len(picture), "\r\n", picture) for picture in (PICTURES[0], without_pixels, PICTURES[1])]
    with odd_server(lambda _: [mixed("x"), *film]) as server:
        viewer = watched(f"{server.url}/mjpeg")
    assert viewer.numbers == [0, 1]
    assert viewer.status.numbers().undecodable == 1


@pytest.mark.parametrize("step", [1, 2, 7, 4096])
def test_bytes_that_fill_up_before_a_marker_are_part_of_the_picture_and_one_that_is_cut_off_is_none(step: int) -> None:
    filled = PICTURES[0][:2] + b"\xff\xff" + PICTURES[0][2:]
    content = io.BytesIO(filled + PICTURES[1] + PICTURES[2][:-2])
    assert list(jpegs(lambda size: content.read(min(size, step)))) == [filled, PICTURES[1]]


def test_a_digest_for_a_session_is_made_with_both_nonces() -> None:
    """RFC 7616, 3.4.2."""
    login = Login(parse_url("http://joe:secret@camera/"))
    assert login.ask(['Digest realm="r", nonce="theirs", qop="auth", algorithm=MD5-sess'])
    given = login.header("GET", "/") or ""
    own = given.split('cnonce="')[1].split('"')[0]

    def hashed(text: str) -> str:
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    known = hashed(f"{hashed('joe:r:secret')}:theirs:{own}")
    proof = hashed(f"{known}:theirs:00000001:{own}:auth:{hashed('GET:/')}")
    assert f'response="{proof}"' in given
