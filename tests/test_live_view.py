"""The live view's server: real requests on loopback, results made up."""

from __future__ import annotations

import base64
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families

from roadmask.stream.camera.status import CameraState, CameraStatus
from roadmask.stream.decode.source import open_source
from roadmask.stream.errors import OutputError
from roadmask.stream.frames import SegmentedFrame
from roadmask.stream.live.feed import CameraFeed
from roadmask.stream.live.guard import Address, parse_address
from roadmask.stream.live.live_view import LiveView
from roadmask.stream.live.pictures import packed
from tests.support.clips import SPEC, TICK, cfr, make_clip, result_of
from tests.support.live_client import Viewer, connection_to, get
from tests.support.waiting import LONG_S, eventually

ANYWHERE = Address("127.0.0.1", 0)
TOKEN = "correct horse"


@pytest.fixture
def view() -> Iterator[LiveView]:
    with LiveView(ANYWHERE, SPEC.classes) as view:
        yield view


@pytest.fixture(scope="module")
def running() -> Iterator[LiveView]:
    """For tests that change nothing: one camera, which has a picture."""
    with LiveView(ANYWHERE, SPEC.classes) as view:
        camera(view).write(striped())
        yield view


def camera(view: LiveView, name: str = "front", state: CameraState = CameraState.RUNNING) -> CameraFeed:
    status = CameraStatus(name, on_event=view.tell)
    feed = view.add(status)
    status.change(state)
    return feed


def striped(height: int = 48, width: int = 64, index: int = 0) -> SegmentedFrame:
    """Road, car and sky in turn, column by column; the picture is black."""
    mask = np.tile((np.arange(width) % 3).astype(np.uint8), (height, 1))
    result = result_of(mask, index)
    for plane, value in zip(result.frame.picture.planes, (16, 128, 128), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    return result


# Where it listens


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


def test_an_address_in_use_is_one_line(running: LiveView) -> None:
    port = int(running.url.rstrip("/").rpartition(":")[2])
    with pytest.raises(
        OutputError, match=rf"^--serve 127\.0\.0\.1:{port}: cannot be listened on \(Address already in use\);"
    ):
        LiveView(Address("127.0.0.1", port), SPEC.classes).__enter__()


def test_without_starlette_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roadmask.stream.live.live_view.find_spec", lambda _: None)
    with pytest.raises(OutputError, match=re.escape("--serve needs starlette: pip install 'roadmask[serve]'")):
        LiveView(ANYWHERE, SPEC.classes)


def test_two_cameras_of_one_name_are_refused(view: LiveView) -> None:
    camera(view)
    with pytest.raises(OutputError, match="front: two cameras have this name"):
        camera(view)


# Pictures


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.randoms(use_true_random=False))
def test_masks_survive_packing_exactly(height: int, width: int, random: object) -> None:
    mask = np.random.default_rng(random.getrandbits(32)).integers(0, 256, (height, width), np.uint8)  # type: ignore[attr-defined]
    import zlib

    changes = np.frombuffer(zlib.decompress(packed(mask)), np.uint8).reshape(mask.shape)
    assert (np.bitwise_xor.accumulate(changes, axis=0) == mask).all()


def test_a_viewer_gets_the_picture_its_ids_and_its_shares(view: LiveView) -> None:
    feed = camera(view)
    feed.write(striped(47, 63, index=5))
    with Viewer(view) as viewer:
        message = viewer.message()
    assert message.header["camera"] == "front"
    assert message.header["index"] == 5
    assert message.header["shares"] == [0.3333, 0.3333, 0.3333]
    assert (message.mask == striped(47, 63).mask).all()
    assert message.picture.shape == (47, 63, 3)
    assert message.picture.max() <= 3


def test_wide_pictures_are_shrunk_and_pixels_made_square() -> None:
    with LiveView(ANYWHERE, SPEC.classes, max_width=100) as view:
        wide = striped(100, 160)
        info = replace(wide.frame.info, sample_aspect_ratio=Fraction(5, 4))
        camera(view).write(replace(wide, frame=replace(wide.frame, info=info)))
        with Viewer(view) as viewer:
            message = viewer.message()
    assert message.mask.shape == message.picture.shape[:2] == (50, 100)
    assert message.header["full_size"] == [160, 100]


def test_frames_of_a_real_file_keep_their_colours(view: LiveView, tmp_path: Path) -> None:
    blue = np.full((64, 96, 3), (40, 60, 200), np.uint8)
    clip = make_clip(tmp_path / "a.mp4", cfr(3), size=(64, 96), picture=blue)
    feed = camera(view)
    with open_source(clip) as source, Viewer(view) as viewer:
        for frame in source.frames(lambda _: (32, 32)):
            feed.write(SegmentedFrame(frame, np.ones((64, 96), np.uint8)))
            message = viewer.message()
            assert message.header["index"] == frame.index
            # H.264 and JPEG each cost some levels.
            assert np.abs(message.picture.mean(axis=(0, 1)) - (200, 60, 40)).max() < 6


def test_nothing_is_encoded_while_nobody_watches(view: LiveView) -> None:
    feed = camera(view)
    for index in range(20):
        feed.write(striped(index=index))
    assert feed.pictures.made[0] == feed.overlays.made[0] == 0


def test_viewers_share_one_encoding(view: LiveView) -> None:
    feed = camera(view)
    viewers = [Viewer(view) for _ in range(5)]
    for index in range(10):
        feed.write(striped(index=index))
        assert {viewer.message().header["index"] for viewer in viewers} == {index}
        eventually(lambda: feed.pictures.wanted)
    assert feed.pictures.made[0] == 10
    for viewer in viewers:
        viewer.__exit__()


def test_a_viewer_that_never_reads_delays_nobody_and_fills_no_memory(view: LiveView) -> None:
    feed = camera(view)
    noise = noisy(360, 640)
    with Viewer(view) as stuck, Viewer(view) as viewer:
        for index in range(15):
            feed.write(replace(noise, frame=replace(noise.frame, index=index)))
            assert viewer.message().header["index"] == index
            eventually(lambda: feed.pictures.wanted)
        # What was on its way to it is not the last, but what was left when it stopped reading.
        first = stuck.message().header["index"]
        assert first == 0
        assert view._server is not None
        waiting = [
            connection.transport.get_write_buffer_size() for connection in view._server._server.server_state.connections
        ]
        assert max(waiting) < 2_000_000


def noisy(height: int, width: int) -> SegmentedFrame:
    """About a third of a megabyte as a message, so that buffers are soon full."""
    result = result_of(np.random.default_rng(1).integers(0, 3, (height, width), np.uint8))
    for plane in result.frame.picture.planes:
        plane.update(np.random.default_rng(2).bytes(plane.buffer_size))
    return result


def test_a_page_can_ask_for_some_cameras(view: LiveView) -> None:
    for name in ("front", "rear"):
        camera(view, name).write(striped())
    with Viewer(view) as both, Viewer(view, "/pictures?camera=rear") as rear:
        assert {both.message().header["camera"], both.message().header["camera"]} == {"front", "rear"}
        assert rear.message().header["camera"] == "rear"
    status, _, body = get(view, "/pictures?camera=left")
    assert (status, body) == (404, b"no camera is called left; there are front, rear\n")


def test_a_player_shows_the_overlay(view: LiveView) -> None:
    feed = camera(view)
    feed.write(flat(1))
    with av.open(f"{view.url}cameras/front/overlay.mjpg", format="mpjpeg") as container:
        for color in (1, 2):
            feed.write(flat(color))
            picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
            seen = picture.mean(axis=(0, 1))
            if color == 1:
                assert np.abs(seen - np.array(SPEC.classes[1].color) / 2).max() < 4


def flat(class_id: int) -> SegmentedFrame:
    result = striped(64, 64)
    return replace(result, mask=np.full((64, 64), class_id, np.uint8))


def test_a_snapshot_has_the_full_size_and_what_is_switched_on() -> None:
    with LiveView(ANYWHERE, SPEC.classes, max_width=32) as view:
        camera(view, "a/b").write(flat(2))
        status, headers, body = get(view, "/cameras/a%2Fb/snapshot.png?alpha=1&classes=SKY,road")
        assert (status, headers["Content-Type"]) == (200, "image/png")
        assert (pixels(body) == SPEC.classes[2].color[::-1]).all()
        _, _, body = get(view, "/cameras/a%2Fb/snapshot.jpg?alpha=1&classes=road")
        assert pixels(body).shape == (64, 64, 3)
        assert pixels(body).max() < 4


def pixels(content: bytes) -> NDArray[np.uint8]:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/cameras/rear/snapshot.jpg", 404, "no camera is called rear; there are front"),
        ("/cameras/front/snapshot.jpg?alpha=2", 400, "alpha 2 is not between 0 and 1"),
        (
            "/cameras/front/snapshot.jpg?classes=bus",
            400,
            "class 'bus' is not known to this model; it has road, car, sky",
        ),
        ("/cameras/%3Cscript%3E/overlay.mjpg", 404, "no camera is called <script>; there are front"),
    ],
)
def test_a_wrong_request_is_told_in_plain_text(running: LiveView, path: str, status: int, message: str) -> None:
    answer = get(running, path)
    assert (answer[0], answer[2].decode()) == (status, f"{message}\n")
    assert answer[1]["Content-Type"] == "text/plain; charset=utf-8"


def test_before_the_first_picture_a_snapshot_says_so(view: LiveView) -> None:
    camera(view)
    status, _, body = get(view, "/cameras/front/snapshot.jpg")
    assert (status, body) == (503, b"front: no picture has come yet; try again when it is running\n")


def test_a_picture_that_cannot_be_encoded_is_told_once_and_ends_nothing(
    view: LiveView, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("of another world\nand a second line")

    feed = camera(view)
    with Viewer(view) as viewer:
        with monkeypatch.context() as patched:
            patched.setattr("roadmask.stream.live.feed.shown", fail)
            for broken in (striped(), striped()):
                feed.write(broken)
                eventually(lambda: feed.pictures._of is broken)  # noqa: B023 - called at once
        feed.write(striped(index=9))
        assert viewer.message().header["index"] == 9
    assert [record.message for record in caplog.records] == [
        "front: the live view cannot show its pictures (of another world)"
    ]


# What is told of the cameras


def test_events_begin_with_the_present_and_go_on(view: LiveView) -> None:
    feed = camera(view, state=CameraState.RECONNECTING)
    feed.status.change(CameraState.RECONNECTING, "refused", retry_s=30)
    with Viewer(view, "/events") as viewer:
        kind, hello = viewer.event()
        assert kind == "hello"
        assert [item["name"] for item in hello["classes"]] == ["road", "car", "sky"]
        [front] = hello["cameras"]
        assert (front["name"], front["state"], front["reason"]) == ("front", "reconnecting", "refused")
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
    assert abs(sample["time"] - time.time()) < 5
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
    a_minute_ago = time.time() - 60
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: a_minute_ago)
        feed = camera(view)  # runs since then
    feed.write(striped())
    assert get(view, "/healthz")[0] == 200
    assert feed.written_at is not None
    feed.written_at -= 31
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


# Who may see it

PATHS = ["/", "/page/app.js", "/pictures", "/events", "/cameras/front/snapshot.jpg", "/metrics", "/nothing"]


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
    assert (status, headers["Refresh"], body) == (200, "0; url=/", b"")
    assert re.search(r"; HttpOnly; Max-Age=\d+; Path=/; SameSite=strict$", headers["Set-Cookie"])
    assert TOKEN not in headers["Set-Cookie"]
    cookie = headers["Set-Cookie"].partition(";")[0]
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


@pytest.mark.parametrize("path", ["/page/../view_guard.py", "/page/%2e%2e/view_guard.py", "/page//etc/passwd"])
def test_only_the_page_is_served_from_the_disk(running: LiveView, path: str) -> None:
    assert get(running, path)[0] == 404


# How it ends


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


def test_times_of_results_are_told(view: LiveView) -> None:
    feed = camera(view)
    feed.write(striped(index=25))
    with Viewer(view) as viewer:
        assert viewer.message().header["time"] == float(25 * 512 * TICK)
