"""The pictures of the live view: real requests on loopback, results made up."""

from __future__ import annotations

from contextlib import closing
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

from roadmask.stream.decode.source import open_source
from roadmask.stream.frames import SegmentedFrame
from roadmask.stream.live.feed import Rendition
from roadmask.stream.live.live_view import LiveView
from roadmask.stream.live.pictures import packed
from roadmask.stream.spec import NO_CLASS
from tests.support.clips import SPEC, TICK, cfr, make_clip
from tests.support.live_client import Viewer, connection_to, get
from tests.support.live_results import ANYWHERE, camera, noisy, striped
from tests.support.waiting import eventually


@settings(max_examples=30)
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


def test_wide_pictures_are_shrunk_and_pixels_made_square(view: LiveView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roadmask.stream.live.feed._WIDTH", 100)
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


def test_where_nothing_new_comes_a_player_gets_the_last_picture_again_and_the_page_a_sign_of_life(
    view: LiveView, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has gone is found out by that, and nothing on the way takes the connection for dead."""
    monkeypatch.setattr("roadmask.stream.live.app._IDLE_S", 0.05)
    camera(view).write(flat(1))
    with Viewer(view, "/cameras/front/overlay.mjpg") as player:
        assert len({next_part(player) for _ in range(3)}) == 1
    with Viewer(view) as page:
        page.message()
        assert page.response.read(24) == bytes(24)


def next_part(player: Viewer) -> bytes:
    """The content of the next picture of an endless answer."""
    while not (line := player.response.readline()).startswith(b"Content-Length: "):
        assert line, "it has ended"
    player.response.readline()
    return player.response.read(int(line.partition(b": ")[2]))


@pytest.mark.parametrize("path", ["/pictures", "/events", "/cameras/front/overlay.mjpg"])
def test_who_asks_for_the_head_of_an_endless_answer_has_it_at_once(running: LiveView, path: str) -> None:
    with closing(connection_to(running)) as connection:
        connection.request("HEAD", path)
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"")


def flat(class_id: int) -> SegmentedFrame:
    result = striped(64, 64)
    return replace(result, mask=np.full((64, 64), class_id, np.uint8))


def test_a_snapshot_has_the_full_size_and_what_is_switched_on(view: LiveView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roadmask.stream.live.feed._WIDTH", 32)
    camera(view, "a/b").write(flat(2))
    status, headers, body = get(view, "/cameras/a%2Fb/snapshot.png?alpha=1&classes=SKY,road")
    assert (status, headers["Content-Type"]) == (200, "image/png")
    assert (pixels(body) == SPEC.classes[2].color[::-1]).all()
    _, _, body = get(view, "/cameras/a%2Fb/snapshot.jpg?alpha=1&classes=road")
    assert pixels(body).shape == (64, 64, 3)
    assert pixels(body).max() < 4


def test_what_is_left_out_is_not_drawn_and_has_no_share(view: LiveView) -> None:
    feed, result = camera(view), flat(2)
    result.mask[32:] = NO_CLASS
    feed.write(replace(result, ignores=True))
    with Viewer(view) as viewer:
        assert viewer.message().header["shares"] == [0, 0, 1]
    _, _, body = get(view, "/cameras/front/snapshot.png?alpha=1")
    assert (pixels(body)[:32] == SPEC.classes[2].color[::-1]).all()
    assert pixels(body)[32:].max() < 4


def test_a_snapshot_has_lines_where_the_run_or_its_address_says_so() -> None:
    halves = np.zeros((64, 64), np.uint8)
    halves[:, 32:] = 2
    colors, line = np.array([item.color[::-1] for item in SPEC.classes]), np.s_[:, 31:33]
    with LiveView(ANYWHERE, SPEC.classes, style="outline") as view:
        camera(view).write(replace(striped(64, 64), mask=halves))
        path = "/cameras/front/snapshot.png?alpha=1"
        plain, filled, both = (
            pixels(get(view, f"{path}{also}")[2]) for also in ("", "&style=fill", "&style=fill+outline&classes=sky")
        )
    assert (filled == colors[halves]).all()
    assert (plain[line] == filled[line]).all()
    assert plain[:, :31].max() <= 3
    assert plain[:, 33:].max() <= 3
    assert (both[:, 32:] == colors[2]).all()
    assert both[:, :32].max() <= 3


def pixels(content: bytes) -> NDArray[np.uint8]:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/cameras/rear/snapshot.jpg", 404, "no camera is called rear; there are front"),
        ("/cameras/front/snapshot.jpg?alpha=2", 400, "alpha 2 is not between 0 and 1"),
        ("/cameras/front/snapshot.jpg?style=a", 400, "style 'a' is none of fill, outline, fill+outline"),
        (
            "/cameras/front/snapshot.jpg?classes=bus",
            400,
            "class 'bus' is not known here; there are road, car, sky",
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


def test_a_picture_is_made_once_for_each_time_that_somebody_wants_one() -> None:
    rendition, (first, second) = Rendition(lambda result: b"%d" % result.frame.index), (striped(), striped(index=1))
    assert not rendition.make(first)
    rendition.wanted = True
    assert [rendition.make(result) for result in (None, first, first, second)] == [False, True, False, False]
    rendition.wanted = True
    assert [rendition.make(result) for result in (first, second)] == [False, True]
    assert rendition.made == (2, b"1")


def test_times_of_results_are_told(view: LiveView) -> None:
    feed = camera(view)
    feed.write(striped(index=25))
    with Viewer(view) as viewer:
        assert viewer.message().header["time"] == float(25 * 512 * TICK)
