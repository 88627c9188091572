"""Cameras that want a password in their own way, or send us elsewhere: with what words, and to whom."""

from __future__ import annotations

import hashlib
import socket
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import av
import pytest

from roadmask.stream.camera.access import Login, sent_on
from roadmask.stream.camera.camera import CameraSettings, Transport, parse_camera
from roadmask.stream.camera.http import Web
from roadmask.stream.camera.relay import RtspRelay
from roadmask.stream.camera.status import CameraStatus
from roadmask.stream.errors import SourceError
from roadmask.stream.system.url import parse_url
from tests.support.clips import cfr, make_clip
from tests.support.jpeg_parts import in_parts, mixed
from tests.support.live_viewer import FILM, SETTINGS, LiveViewer
from tests.support.odd_http import head, odd_server
from tests.support.rtsp_faults import Faults
from tests.support.rtsp_request import Scheme
from tests.support.rtsp_server import RtspServer
from tests.support.stream_servers import http_camera
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("short_pauses")
ONCE = replace(SETTINGS, max_retries=0)
EVERY = replace(ONCE, policy="every-frame")
FOLLOWING = replace(ONCE, allow_redirects=True)


@pytest.mark.parametrize("scheme", ["digest", "basic", "SHA-256", "SHA-256 first"])
@pytest.mark.parametrize("password", ["secret", "pa#s/s?w@r:d=&%"])
def test_every_way_of_asking_lets_in_with_every_password(scheme: Scheme, password: str) -> None:
    with (
        RtspServer(FILM, faults=Faults(user="joe", password=password, auth=scheme)) as server,
        LiveViewer(server.url.replace("//", f"//joe:{password}@"), ONCE) as viewer,
    ):
        viewer.wait(5)
        assert viewer.reasons == []


def test_a_challenge_that_changes_in_mid_stream_is_answered() -> None:
    """What keeps the session alive is refused then, and a camera ends a session that is not kept alive."""
    faults = Faults(user="joe", password="secret", session_s=2)
    with RtspServer(FILM, faults=faults) as server:
        with LiveViewer(server.url.replace("//", "//joe:secret@"), ONCE) as viewer:
            viewer.wait(5)
            faults.nonce = "another"
            until(lambda: 'nonce="another"' in server.sessions[0].proofs[-1])
            viewer.wait(5)
        assert (viewer.reasons, len(server.sessions)) == ([], 1)


def test_a_camera_that_does_not_know_what_it_can_do_is_watched() -> None:
    faults = Faults(user="joe", password="secret", status=501, status_at="OPTIONS")
    with RtspServer(FILM, faults=faults) as server:
        with LiveViewer(server.url.replace("//", "//joe:secret@"), ONCE) as viewer:
            viewer.wait(5)
        assert server.sessions[0].requests[:2] == ["OPTIONS", "DESCRIBE"]


def test_lines_of_answers_may_end_as_on_unix() -> None:
    with (
        RtspServer(FILM, faults=Faults(user="joe", password="secret", line="\n")) as server,
        LiveViewer(server.url.replace("//", "//joe:secret@"), ONCE) as viewer,
    ):
        viewer.wait(5)
        assert viewer.reasons == []


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_rtsp_within_tls_is_watched(transport: Transport) -> None:
    faults = Faults(user="joe", password="secret")
    with RtspServer(FILM, faults=faults, tls=True) as server:
        url = server.url.replace("//", "//joe:secret@")
        with LiveViewer(url, replace(ONCE, transport=transport, policy="every-frame")) as viewer:
            viewer.wait(25)
            assert viewer.steps == {1}


def test_http_within_tls_is_watched() -> None:
    pictures = in_parts("--x")
    with odd_server(lambda _: [mixed("x"), *pictures], tls=True) as server, LiveViewer(server.url, EVERY) as viewer:
        viewer.until(lambda: viewer.is_over)
    assert len(viewer.seen) == len(pictures)


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("401 Unauthorized", "wrong user name or password"),
        ("403 Forbidden", "the server forbids it (403)"),
        ("404 Not Found", "the server has no such stream (404)"),
        ("418 Teapot", "the server refuses the request (4xx)"),
        ("503 Busy", "the server has a fault of its own (5xx)"),
    ],
)
def test_what_a_web_server_refuses_is_told_in_words(status: str, told: str) -> None:
    def answer(_: str) -> list[bytes]:
        return [head(status, WWW_Authenticate='Digest realm="x", nonce="y"', Content_Length="0")]

    with odd_server(answer) as server, LiveViewer(server.url.replace("//", "//joe:secret@"), ONCE) as viewer:
        viewer.until(lambda: viewer.is_over)
    assert str(viewer.error) == f"gate: {told}; given up after 1 try"


def test_a_way_of_asking_that_is_not_known_is_named() -> None:
    with (
        RtspServer(FILM, faults=Faults(user="joe", password="secret", auth="SHA-1")) as server,
        LiveViewer(server.url.replace("//", "//joe:secret@"), ONCE) as viewer,
    ):
        viewer.until(lambda: viewer.is_over)
    assert "it asks for the password by digest SHA-1, which is not supported" in str(viewer.error)


def test_the_digest_is_that_of_the_rfc() -> None:
    """RFC 7616, 3.9.1, but for the client's own nonce."""
    login = Login(parse_url("http://Mufasa:Circle%20of%20Life@www.example.org/dir/index.html"))
    nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
    fields = f'realm="http-auth@example.org", qop="auth, auth-int", nonce="{nonce}", opaque="FQhe"'
    assert login.ask([f"Digest {fields}, algorithm=SHA-256", f"Digest {fields}, algorithm=MD5"])
    given = login.header("GET", "/dir/index.html") or ""
    own = given.split('cnonce="')[1].split('"')[0]

    def hashed(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()

    known = hashed("Mufasa:http-auth@example.org:Circle of Life")
    proof = hashed(f"{known}:{nonce}:00000001:{own}:auth:{hashed('GET:/dir/index.html')}")
    assert f'response="{proof}"' in given
    assert "nc=00000001" in given
    assert "nc=00000002" in (login.header("GET", "/dir/index.html") or ""), "a number that came before is refused"
    assert login.ask(['Digest realm="r", qop="auth", nonce="another"'])
    assert "nc=00000001" in (login.header("GET", "/dir/index.html") or "")


@pytest.mark.parametrize("scheme", ["digest", "basic"])
def test_rtsp_does_not_lead_to_another_host_and_never_with_the_password(scheme: Scheme) -> None:
    with (
        RtspServer(FILM) as other,
        RtspServer(FILM, faults=Faults(user="joe", password="secret", auth=scheme)) as server,
    ):
        elsewhere = other.url.replace("127.0.0.1", "localhost")
        server.faults.sends_to = elsewhere
        url = server.url.replace("//", "//joe:secret@")
        with LiveViewer(url, ONCE) as viewer:
            viewer.until(lambda: viewer.is_over)
        assert str(viewer.error).startswith(f"gate: it sends us on to another host, localhost:{other.port}; --allow")
        assert not other.sessions
        with LiveViewer(url, FOLLOWING) as viewer:
            viewer.wait(5)
        assert server.sessions[-1].proofs
        assert other.sessions
        assert not other.sessions[-1].proofs
        other.faults.user = "joe"  # it would like to know his password, too
        with LiveViewer(url, FOLLOWING) as viewer:
            viewer.until(lambda: viewer.is_over)
        assert "wrong user name or password" in str(viewer.error)
        assert not other.sessions[-1].proofs


def test_rtsp_is_followed_on_its_own_host() -> None:
    with RtspServer(FILM, faults=Faults(user="joe", password="secret")) as server:
        server.faults.sends_to = f"{server.url}/again"
        with LiveViewer(server.url.replace("//", "//joe:secret@"), ONCE) as viewer:
            viewer.until(lambda: viewer.is_over)
        assert "it sends us on more than 5 times" in str(viewer.error)


@pytest.mark.parametrize("path", ["mjpeg", "video.ts"])
def test_http_does_not_lead_to_another_host_and_never_with_the_password(path: str) -> None:
    with http_camera(FILM) as other:

        def answer(request: str) -> list[bytes]:
            if "authorization" not in request.lower():
                return [head("401 Unauthorized", WWW_Authenticate='Basic realm="x"', Content_Length="0")]
            return [head("302 Found", Location=f"http://localhost:{other.server_port}/{path}", Content_Length="0")]

        with odd_server(answer) as server:
            url = server.url.replace("//", "//joe:secret@") + "/live"
            with LiveViewer(url, ONCE) as viewer:
                viewer.until(lambda: viewer.is_over)
            assert "it sends us on to another host, localhost:" in str(viewer.error)
            assert not other.asked
            with LiveViewer(url, FOLLOWING) as viewer:
                viewer.wait(5)
        assert other.asked
        assert not any("authorization" in headers.lower() for headers in other.asked)


def test_http_is_let_in_again_where_it_is_followed() -> None:
    """With a challenge of its own for each answer, as some servers want it."""
    given: list[str] = []

    def answer(request: str) -> list[bytes]:
        is_proven = bool(given) and f'nonce="{given[-1]}"' in request
        given.append(f"n{len(given)}")
        if not is_proven:
            challenge = f'Digest realm="x", nonce="{given[-1]}", stale=true'
            return [head("401 Unauthorized", WWW_Authenticate=challenge, Content_Length="0")]
        if request.startswith("GET /live"):
            return [mixed("x"), *in_parts("--x")]
        return [head("302 Found", Location="/live", Content_Length="0")]

    with odd_server(answer) as server, LiveViewer(server.url.replace("//", "//joe:secret@"), EVERY) as viewer:
        viewer.until(lambda: viewer.is_over)
    assert len(viewer.seen) == len(in_parts("--x"))


@pytest.mark.parametrize("is_nested", [False, True])
def test_a_playlist_does_not_lead_to_another_host(is_nested: bool) -> None:
    with http_camera(FILM) as other:
        until(lambda: len(other.parts) > 2)
        elsewhere = f"http://localhost:{other.server_port}"

        def answer(_: str) -> list[bytes]:
            if is_nested:
                body = f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100000\n{elsewhere}/live.m3u8\n"
            else:
                body = other.playlist().replace("part", f"{elsewhere}/part")
            return [head(Content_Type="application/vnd.apple.mpegurl", Content_Length=str(len(body))), body.encode()]

        with odd_server(answer) as server:
            with LiveViewer(f"{server.url}/live.m3u8", replace(ONCE, timeout_s=2)) as viewer:
                viewer.until(lambda: viewer.is_over)
            assert "it sends us on to another host, localhost:" in str(viewer.error)
            assert not other.asked
            with LiveViewer(f"{server.url}/live.m3u8", FOLLOWING) as viewer:
                viewer.wait(5)


@pytest.mark.parametrize("kind", ["list", "description"])
def test_what_a_list_over_http_names_is_not_opened(kind: str, tmp_path: Path) -> None:
    own = make_clip(tmp_path / "own.mp4", cfr(20))
    with http_camera(FILM) as other, socket.socket(type=socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        named = f"http://127.0.0.1:{other.server_port}/video.ts"
        bodies = {
            "list": f"ffconcat version 1.0\nfile '{own}'\nfile '{named}'\n",
            "description": "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
            f"m=video {listening.getsockname()[1]} RTP/AVP 26\r\n",
        }
        body = bodies[kind].encode() + bytes(4096)

        def answer(_: str) -> list[bytes]:
            return [head(Content_Length=str(len(body))), body]

        with odd_server(answer) as server, LiveViewer(f"{server.url}/live", replace(ONCE, timeout_s=2)) as viewer:
            viewer.until(lambda: viewer.is_over)
        assert viewer.error
        assert not viewer.seen
        assert not other.asked


def test_a_description_over_http_opens_no_port() -> None:
    """FFmpeg would listen at the one that it names."""
    with socket.socket(type=socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    session = f"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video {port} RTP/AVP 26\r\n"

    def is_taken() -> bool:
        with socket.socket(type=socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                return True
        return False

    body = session.encode()
    with (
        odd_server(lambda _: [head(Content_Length=str(len(body))), body]) as server,
        LiveViewer(f"{server.url}/live", replace(ONCE, timeout_s=2)) as viewer,
    ):
        viewer.until(lambda: viewer.is_over or is_taken())
        assert viewer.is_over


def test_an_encrypted_playlist_is_told() -> None:
    with http_camera(FILM) as other:
        until(lambda: len(other.parts) > 2)

        def answer(request: str) -> list[bytes]:
            name = request.split()[1]
            key = '#EXT-X-KEY:METHOD=AES-128,URI="key",IV=0x00000000000000000000000000000000\n#EXTINF'
            body = b"k" * 16 if name == "/key" else other.playlist().replace("#EXTINF", key, 1).encode()
            if name.startswith("/part"):
                body = bytes(160)
            return [head(Content_Type="video/mp2t", Content_Length=str(len(body))), body]

        with odd_server(answer) as server:
            with LiveViewer(f"{server.url}/live.m3u8", ONCE) as viewer:
                viewer.until(lambda: viewer.is_over)
            assert "its playlist is encrypted, which is read with --allow-redirects only" in str(viewer.error)


@pytest.mark.parametrize("scheme", ["rtsp", "http", "https"])
@pytest.mark.parametrize("host", ["a..b", "x" * 80, "no-such-host.invalid"])
def test_a_host_that_cannot_be_is_one_line(scheme: str, host: str) -> None:
    with LiveViewer(f"{scheme}://joe:secret@{host}/live", ONCE) as viewer:
        viewer.until(lambda: viewer.is_over, 20)
    assert str(viewer.error) == f"gate: the host {host} is not known; given up after 1 try"
    with pytest.raises(SourceError, match="has a host"):
        parse_camera(f"{scheme}://joe:secret@/live", ONCE)


def test_a_playlist_behind_a_password_is_read() -> None:
    with http_camera(FILM) as other:
        until(lambda: len(other.parts) > 2)

        def answer(request: str) -> list[bytes]:
            if "authorization: basic am9lonnly3jlda==" not in request.lower():
                return [head("401 Unauthorized", WWW_Authenticate='Basic realm="x"', Content_Length="0")]
            name = request.split()[1]
            body = {f"/part{number}.ts": part for number, part in list(other.parts)}.get(name)
            body = body or other.playlist().encode()
            return [head(Content_Type="video/mp2t", Content_Length=str(len(body))), body]

        with (
            odd_server(answer) as server,
            LiveViewer(server.url.replace("//", "//joe:secret@") + "/live.m3u8", ONCE) as viewer,
        ):
            viewer.wait(10)


def test_a_password_that_went_over_tls_goes_nowhere_without() -> None:
    address = parse_url("https://joe:secret@camera/a")
    assert str(sent_on(address, "/b", allow=False)) == "https://joe:secret@camera/b"
    with pytest.raises(SourceError, match="--allow-redirects follows it, without the password"):
        sent_on(address, "http://camera/b", allow=False)
    assert str(sent_on(address, "http://camera/b", allow=True)) == "http://camera/b"


def test_a_server_that_gives_the_beginning_where_a_part_is_asked_for_is_not_believed() -> None:
    with odd_server(lambda _: [head(Accept_Ranges="bytes", Content_Length="100"), bytes(100)]) as server:
        file = Web(parse_camera(f"{server.url}/drive.mp4", ONCE), CameraStatus("camera")).open()
        with closing(file), pytest.raises(av.error.InvalidDataError):
            file.seek(50)


def test_a_camera_that_sends_on_in_a_circle_is_given_up() -> None:
    circle = [head("302 Found", Location="/there", Content_Length="0")]
    with odd_server(lambda _: circle) as server, LiveViewer(f"{server.url}/here", ONCE) as viewer:
        viewer.until(lambda: viewer.is_over)
    assert "it sends us on again and again; name the address it is at" in str(viewer.error)


@pytest.mark.parametrize(
    ("location", "there"),
    [
        ("/b", "http://joe:secret@camera/b"),
        ("http://camera/b", "http://joe:secret@camera/b"),
        ("http://camera:80/b", "http://joe:secret@camera:80/b"),
        ("https://camera/b", "https://joe:secret@camera/b"),
        ("http://camera:8080/b", None),
        ("http://camera.evil.example/b", None),
        ("//other/b", None),
        ("ftp://camera/b", None),
        ("file:///etc/passwd", None),
    ],
)
def test_a_password_goes_where_it_belongs(location: str, there: str | None) -> None:
    address = parse_url("http://joe:secret@camera/a")
    if there:
        assert str(sent_on(address, location, allow=False)) == there
        return
    with pytest.raises(SourceError, match="it sends us on to"):
        sent_on(address, location, allow=False)
    if location.startswith(("http", "//")):
        assert "secret" not in str(sent_on(address, location, allow=True))


def test_another_program_that_finds_the_relay_is_let_to_nothing() -> None:
    with RtspServer(FILM, faults=Faults(user="joe", password="secret")) as server:
        camera = parse_camera(server.url.replace("//", "//joe:secret@"), CameraSettings())
        with RtspRelay(camera) as relay:
            assert "secret" not in relay.url
            port = int(relay.url.split(":")[2].split("/")[0])
            with socket.create_connection(("127.0.0.1", port), 5) as curious:
                curious.sendall(f"DESCRIBE {server.url} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())
                assert curious.recv(100) == b""
        assert not any(session.requests for session in server.sessions)
