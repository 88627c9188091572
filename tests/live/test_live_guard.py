"""Who may see the live view, and what browsers are told."""

from __future__ import annotations

import base64
import http.client
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from roadmask.stream.live import guard
from roadmask.stream.live.live_view import LiveView
from tests.support.clips import SPEC
from tests.support.live_client import Viewer, get
from tests.support.live_results import ANYWHERE, camera, striped
from tests.support.waiting import eventually

TOKEN = "correct horse"
PATHS = ["/", "/page/app.js", "/pictures", "/events", "/cameras/front/snapshot.jpg", "/metrics", "/nothing"]


@pytest.fixture(scope="module")
def running() -> Iterator[LiveView]:
    """For tests that change nothing: one camera, which has a picture."""
    with LiveView(ANYWHERE, SPEC.classes) as view:
        camera(view).write(striped())
        yield view


@pytest.fixture(scope="module")
def guarded() -> Iterator[LiveView]:
    with LiveView(ANYWHERE, SPEC.classes, token=TOKEN) as view:
        camera(view).write(striped())
        yield view


def test_with_a_token_every_path_but_healthz_needs_it(guarded: LiveView) -> None:
    for path in PATHS:
        status, _, body = get(guarded, path)
        assert status == 401
        assert b"needs its token" in body
    assert get(guarded, "/healthz")[0] == 200


@pytest.mark.parametrize(
    "authorization",
    [f"Bearer {TOKEN}", f"bearer  {TOKEN}", "Basic " + base64.b64encode(f"view:{TOKEN}".encode()).decode()],
)
def test_the_token_may_come_as_bearer_or_password(guarded: LiveView, authorization: str) -> None:
    assert get(guarded, "/metrics", {"Authorization": authorization})[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer wrong horse"},
        {"Authorization": "Bearer \xe9"},
        {"Authorization": "Basic ==="},
        {"Authorization": f"Digest {TOKEN}"},
        {"Authorization": ""},
        {"Cookie": "roadmask_0=x; \x01"},
        {"Cookie": f"roadmask_0={TOKEN}"},
    ],
)
def test_anything_else_is_refused(guarded: LiveView, headers: dict[str, str]) -> None:
    assert get(guarded, "/metrics", headers)[0] == 401


def test_a_token_in_the_address_becomes_a_strict_cookie(guarded: LiveView) -> None:
    status, headers, body = get(guarded, "/?token=correct+horse")
    assert (status, headers["Refresh"], body) == (200, "0; url=./", b"")
    assert re.search(r"; HttpOnly; Max-Age=\d+; SameSite=strict$", headers["Set-Cookie"])
    assert TOKEN not in headers["Set-Cookie"]
    cookie = headers["Set-Cookie"].partition(";")[0]
    port = guarded.url.rstrip("/").rpartition(":")[2]
    assert cookie.startswith(f"roadmask_{port}="), "pages at other ports of the host have cookies of their own"
    assert all(get(guarded, path, {"Cookie": cookie})[0] == 200 for path in ("/", "/page/app.js", "/metrics"))
    assert get(guarded, "/?token=wrong+horse")[0] == 401
    assert get(guarded, "/metrics?token=correct+horse")[0] == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8080", "192.168.0.7", "", "[", "localhost@evil"]
)
def test_a_page_under_another_name_gets_nothing_from_loopback(running: LiveView, host: str) -> None:
    for path in (*PATHS, "/healthz"):
        assert get(running, path, {"Host": host})[0] in (400, 403)


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:8080", "LOCALHOST"])
def test_loopback_goes_by_its_own_names(running: LiveView, host: str) -> None:
    assert get(running, "/metrics", {"Host": host})[0] == 200


def test_browsers_are_told_to_keep_to_themselves(running: LiveView) -> None:
    for path in ("/", "/page/app.js", "/metrics", "/cameras/front/snapshot.jpg", "/nothing", "/healthz"):
        _, headers, _ = get(running, path)
        assert "script-src 'self'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
    assert get(running, "/cameras/front/snapshot.jpg")[1]["Cache-Control"] == "no-store"


def test_viewers_beyond_the_most_are_sent_away_until_others_have_left(
    running: LiveView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "_MOST_ANSWERS", 2)
    with Viewer(running, "/events") as first, Viewer(running, "/pictures"):
        assert first.event()[0] == "hello"
        status, _, body = get(running, "/metrics")
        assert (status, body) == (503, b"There are too many viewers; try again when some have left.\n")
        assert get(running, "/healthz")[0] == 200
    eventually(lambda: get(running, "/metrics")[0] == 200)


@pytest.mark.parametrize("path", ["/page/../view_guard.py", "/page/%2e%2e/view_guard.py", "/page//etc/passwd"])
def test_only_the_page_is_served_from_the_disk(running: LiveView, path: str) -> None:
    assert get(running, path)[0] == 404


class _BelowCam1(BaseHTTPRequestHandler):
    """A reverse proxy that has one server below /cam1/, and nothing else."""

    port = 0

    def do_GET(self) -> None:
        if not self.path.startswith("/cam1/"):
            self.send_error(404)
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {name: value for name, value in self.headers.items() if name != "Connection"}
        connection.request("GET", self.path.removeprefix("/cam1"), headers=headers)
        response = connection.getresponse()
        self.send_response_only(response.status)
        for name, value in response.headers.items():
            if name != "transfer-encoding":
                self.send_header(name, value)
        self.end_headers()
        with closing(connection), suppress(OSError):
            while piece := response.read1():
                self.wfile.write(piece)
                self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class calls it
        """What is asked for is no matter of the test's output."""


def test_behind_a_proxy_the_page_and_its_token_work_below_a_path(guarded: LiveView, browser: webdriver.Chrome) -> None:
    _BelowCam1.port = int(guarded.url.rstrip("/").rpartition(":")[2])
    with ThreadingHTTPServer(("127.0.0.1", 0), _BelowCam1) as proxy, ExitStack() as stack:
        proxy.daemon_threads = True
        threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
        stack.callback(proxy.shutdown)
        below = f"http://127.0.0.1:{proxy.server_port}/cam1/"
        browser.get(f"{below}?token=correct+horse")
        eventually(lambda: browser.find_elements(By.CSS_SELECTOR, ".camera[data-index]"))
        assert browser.current_url == below
        assert browser.execute_cdp_cmd("Network.getCookies", {})["cookies"][0]["path"] == "/cam1"
        browser.get("about:blank")
