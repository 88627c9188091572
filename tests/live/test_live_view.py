"""The live view's server: where it listens, what it tells of its cameras, how it ends."""

from __future__ import annotations

import re
import socket
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from ipaddress import ip_address
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from roadmask.stream.camera.status import CameraState
from roadmask.stream.errors import OutputError
from roadmask.stream.live.live_view import Address, LiveView, parse_address
from roadmask.stream.system.talk import install_command
from tests.support.clips import SPEC
from tests.support.live_client import Viewer, connection_to, get
from tests.support.live_results import ANYWHERE, camera, noisy, striped
from tests.support.waiting import LONG_S, eventually


@pytest.mark.parametrize(
    ("text", "address", "is_loopback"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080), True),
        ("8080", Address("127.0.0.1", 8080), True),
        ("[::1]:8080", Address("::1", 8080), True),
        ("localhost:80", Address("localhost", 80), True),
        ("0.0.0.0:8080", Address("0.0.0.0", 8080), False),
        ("[::]:8080", Address("::", 8080), False),
        ("camera-box.lan:8080", Address("camera-box.lan", 8080), False),
    ],
)
def test_an_address_is_a_host_and_a_port_or_a_port(text: str, address: Address, is_loopback: bool) -> None:
    assert parse_address(text) == address
    assert parse_address(text).is_loopback == is_loopback


@pytest.mark.parametrize(
    "text", ["", ":8080", "127.0.0.1", "127.0.0.1:", "1.2.3.4:70000", "::1:8080", "a b:1", "http://x:1"]
)
def test_what_is_no_address_is_told_with_examples(text: str) -> None:
    with pytest.raises(OutputError, match=r"is no address; name one like 127\.0\.0\.1:8080"):
        parse_address(text)


def test_an_address_that_others_reach_needs_a_token() -> None:
    with pytest.raises(OutputError, match=r"--serve 0\.0\.0\.0:8080: is open to other machines; pass --token"):
        LiveView(parse_address("0.0.0.0:8080"), SPEC.classes)
    with pytest.raises(OutputError, match="shorter than 8"):
        LiveView(parse_address("0.0.0.0:8080"), SPEC.classes, token="short")


def test_a_phone_is_told_an_address_at_which_the_page_is_and_that_it_needs_the_token() -> None:
    with LiveView(Address("0.0.0.0", 0), SPEC.classes, token="correct horse") as view:
        assert view.invitation == f"live view at {view.url}, the first time with ?token=... at its end"
        address = urlsplit(view.url)
        assert address.hostname == socket.gethostname() or not ip_address(address.hostname or "").is_loopback
        with socket.create_connection((address.hostname, address.port), 10):
            pass


def test_an_address_in_use_is_one_line(running: LiveView) -> None:
    port = int(running.url.rstrip("/").rpartition(":")[2])
    with pytest.raises(
        OutputError, match=rf"^--serve 127\.0\.0\.1:{port}: cannot be listened on \(Address already in use\);"
    ):
        LiveView(Address("127.0.0.1", port), SPEC.classes).__enter__()


def test_without_starlette_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roadmask.stream.live.live_view.find_spec", lambda _: None)
    with pytest.raises(OutputError, match=re.escape(f"--serve needs starlette: {install_command('serve')}")):
        LiveView(ANYWHERE, SPEC.classes)


def test_two_cameras_of_one_name_are_refused(view: LiveView) -> None:
    camera(view)
    with pytest.raises(OutputError, match="front: two cameras have this name"):
        camera(view)


def test_events_begin_with_the_present_and_go_on(view: LiveView) -> None:
    feed = camera(view, state=CameraState.RECONNECTING)
    feed.status.change(CameraState.RECONNECTING, "refused", retry_s=30)
    with Viewer(view, "/events") as viewer:
        kind, hello = viewer.event()
        assert kind == "hello"
        assert [item["name"] for item in hello["classes"]] == ["road", "car", "sky"]
        [front] = hello["cameras"]
        assert (front["camera"], front["state"], front["reason"]) == ("front", "reconnecting", "refused")
        assert 25 < front["retry_s"] <= 30
        feed.status.change(CameraState.RUNNING)
        feed.status.count(received=3, dropped=2)
        feed.write(striped())
        news = [viewer.event() for _ in range(3)]
    assert [content["state"] for kind, content in news if kind == "camera"] == ["running"]
    numbers = [content["cameras"][0] for kind, content in news if kind == "numbers"]
    assert numbers[-1]["dropped"] == 2
    assert [camera["sample"]["shares"] for camera in numbers if camera["sample"]] == [[0.3438, 0.3281, 0.3281]]


def test_a_page_opened_later_gets_the_shares_of_the_last_minutes(view: LiveView) -> None:
    feed = camera(view)
    feed.write(striped())
    eventually(feed.history)
    with Viewer(view, "/events") as viewer:
        _, hello = viewer.event()
    [sample] = hello["cameras"][0]["history"]
    assert abs(datetime.fromisoformat(sample["time"]).timestamp() - time.time()) < 5
    assert feed._history.maxlen == 300


def test_health_is_good_only_while_every_camera_runs(view: LiveView) -> None:
    assert get(view, "/healthz")[0] == 503
    front = camera(view, "front")
    rear = camera(view, "rear", CameraState.CONNECTING)
    assert get(view, "/healthz")[0] == 503
    rear.status.change(CameraState.RUNNING)
    assert get(view, "/healthz")[0] == 200
    front.status.change(CameraState.STALLED, "no frame for 10 s")
    status, _, body = get(view, "/healthz")
    assert status == 503
    assert b'"front":{"well":false,"state":"stalled","reason":"no frame for 10 s"' in body


def test_a_run_that_gives_no_frames_is_not_well(view: LiveView, monkeypatch: pytest.MonkeyPatch) -> None:
    feed = camera(view)
    earlier = time.monotonic() - 31
    with monkeypatch.context() as patched:
        patched.setattr(time, "monotonic", lambda: earlier)
        feed.status.count(received=1)
        feed.status.count_written(earlier)
    assert get(view, "/healthz")[0] == 200, "no more has come since"
    with monkeypatch.context() as patched:
        patched.setattr(time, "monotonic", lambda: earlier)
        feed.status.count(received=1)
    status, _, body = get(view, "/healthz")
    assert status == 503
    assert re.search(rb"frames arrive, but none has come out of the run for 3\d s", body)


def test_metrics_are_as_prometheus_reads_them(view: LiveView) -> None:
    feed = camera(view, 'the "front"\ncamera')
    feed.status.count(received=7, dropped=2, undecodable=1, damaged=3, reconnects=4)
    arrived = time.monotonic() - 0.25
    feed.status.count_written(arrived)
    most = time.monotonic() - arrived
    feed.write(striped())
    eventually(feed.history)
    _, headers, body = get(view, "/metrics")
    assert headers["Content-Type"].startswith("text/plain")
    samples = [sample for family in text_string_to_metric_families(body.decode()) for sample in family.samples]
    assert {sample.labels["camera"] for sample in samples} == {'the "front"\ncamera'}
    values = {sample.name: sample.value for sample in samples if len(sample.labels) == 1}
    assert 0.25 <= values["roadmask_latency_seconds"] <= most
    counts = {name: value for name, value in values.items() if name.endswith("_total")}
    assert counts == {
        "roadmask_frames_received_total": 7,
        "roadmask_frames_written_total": 1,
        "roadmask_frames_dropped_total": 2,
        "roadmask_frames_undecodable_total": 1,
        "roadmask_frames_damaged_total": 3,
        "roadmask_reconnects_total": 4,
    }
    assert [sample.labels["state"] for sample in samples if "state" in sample.labels and sample.value] == ["running"]
    assert {sample.labels["class"]: sample.value for sample in samples if "class" in sample.labels}["road"] == 0.3438


def test_leaving_waits_for_no_viewer_whatever_they_do() -> None:
    before = set(threading.enumerate())
    view = LiveView(ANYWHERE, SPEC.classes).__enter__()
    feed = camera(view)
    noise = noisy(360, 640)
    viewers = [Viewer(view), Viewer(view, "/events"), Viewer(view, "/cameras/front/overlay.mjpg")]
    port = int(view.url.rstrip("/").rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as silent, Viewer(view) as reading:
        silent.send(b"GET /pict")
        for index in range(8):
            feed.write(replace(noise, frame=replace(noise.frame, index=index)))
            reading.message()
        started = time.monotonic()
        view.__exit__(None, None, None)
        assert time.monotonic() - started < LONG_S
    for viewer in viewers:
        viewer.__exit__()
    assert set(threading.enumerate()) <= before
    with pytest.raises(ConnectionRefusedError):
        connection_to(view).connect()


def test_connections_that_ask_for_nothing_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roadmask.stream.live.app._REQUEST_S", 1.0)
    with LiveView(ANYWHERE, SPEC.classes, token="correct horse") as view, ExitStack() as stack:
        camera(view)
        port = int(view.url.rstrip("/").rpartition(":")[2])
        silent = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(300)]
        for connection in silent:
            connection.send(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1")
        assert get(view, "/healthz")[0] == 200
        assert get(view, "/metrics", {"Authorization": "Bearer correct horse"})[0] == 200
        silent[-1].settimeout(LONG_S)
        assert silent[-1].recv(1) == b"", "it is sent away"


def test_streams_end_in_order_when_it_is_left() -> None:
    with LiveView(ANYWHERE, SPEC.classes) as view:
        viewer = Viewer(view)
    with viewer, pytest.raises(EOFError):
        viewer.message()


def test_a_result_after_the_end_is_no_error() -> None:
    with LiveView(ANYWHERE, SPEC.classes) as view:
        feed = camera(view)
    feed.write(striped())
    feed.status.change(CameraState.ENDED)
    assert feed.newest is not None
