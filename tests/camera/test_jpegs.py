"""JPEGs over HTTP as cameras really send them: what a browser shows is seen, and none takes more memory than it may."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import count, repeat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadmask.stream.camera.jpegs import MOST_BYTES, jpegs
from roadmask.stream.camera.live import TIME_BASE
from roadmask.stream.camera.status import CameraState
from roadmask.stream.errors import SourceError
from tests.support.jpeg_parts import PICTURES, in_parts, mixed, part
from tests.support.live_viewer import EVERY_FRAME, STOPPED_S, LiveViewer
from tests.support.odd_http import head, odd_server
from tests.support.waiting import LONG_S

pytestmark = pytest.mark.usefixtures("short_pauses")
ONCE = replace(EVERY_FRAME, max_retries=0)


def chunked(pieces: Iterable[bytes]) -> list[bytes]:
    return [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]


WAYS: dict[str, list[bytes]] = {
    "as it should be": [mixed("x"), *in_parts("--x")],
    "no first boundary": [mixed("x"), in_parts("--x")[0].removeprefix(b"--x\r\n"), *in_parts("--x")[1:]],
    "dashes in its name": [mixed("--x"), *in_parts("--x")],
    "two pairs of dashes": [mixed("--x"), *in_parts("----x")],
    "no dashes": [mixed("x"), *in_parts("x")],
    "in quotes": [mixed('"x"'), *in_parts("--x")],
    "another boundary": [mixed("x"), *in_parts("--something else")],
    "no length": [mixed("x"), *in_parts("--x", lambda _: None)],
    "no length, nor lines that end": [mixed("x"), *in_parts("--x", lambda _: None, "\n")],
    "lengths that are too small": [mixed("x"), *in_parts("--x", lambda picture: len(picture) // 2)],
    "lengths that are too large": [mixed("x"), *in_parts("--x", lambda picture: 2 * len(picture))],
    "lengths without end": [mixed("x"), *in_parts("--x", lambda _: 2147483647)],
    "words before": [mixed("x"), b"Welcome\r\n\r\n" * 100, *in_parts("--x")],
    "bare pictures": [head(Content_Type="image/jpeg"), *PICTURES],
    "of no declared kind": [head(), *in_parts("--x")],
    "in chunks": [
        head(Content_Type="multipart/x-mixed-replace; boundary=x", Transfer_Encoding="chunked"),
        *chunked(in_parts("--x")),
    ],
    "of the first HTTP": [mixed("x").replace(b"HTTP/1.1", b"HTTP/1.0"), *in_parts("--x")],
}


@pytest.mark.parametrize("way", WAYS)
def test_what_a_browser_shows_is_seen_picture_by_picture(way: str) -> None:
    with odd_server(lambda _: WAYS[way]) as server, LiveViewer(f"{server.url}/mjpeg", ONCE) as viewer:
        viewer.until(lambda: viewer.is_over)
    assert viewer.numbers == list(range(len(PICTURES)))
    assert viewer.seen[0].info.codec == "mjpeg"
    assert viewer.status.numbers().undecodable == 0
    assert "the stream ended" in str(viewer.failure)


def test_a_picture_is_there_before_the_next_one_begins() -> None:
    seen = threading.Event()

    def answer(_: str) -> Iterator[bytes]:
        yield from (mixed("x"), part("--x", None, "\r\n", PICTURES[0]).removesuffix(b"\r\n"))
        seen.wait(2 * LONG_S)

    with odd_server(answer) as server, LiveViewer(f"{server.url}/mjpeg", replace(ONCE, timeout_s=2 * LONG_S)) as viewer:
        try:
            viewer.wait(1)
        finally:
            seen.set()


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


ENDLESS: dict[str, tuple[list[bytes], str]] = {
    "a picture": ([mixed("x"), part("--x", None, "\r\n", PICTURES[0][:700])], "a picture has no end within 32 MB"),
    "a length": ([mixed("x"), part("--x", 2147483647, "\r\n", PICTURES[0][:700])], "a picture has no end within 32 MB"),
    "bare": ([head(Content_Type="image/jpeg"), PICTURES[0][:700]], "a picture has no end within 32 MB"),
    "nothing": ([mixed("x"), b"--x\r\n"], "what comes is no video that can be read"),
}


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks Linux for its memory")
@pytest.mark.parametrize("what", ENDLESS)
def test_what_has_no_end_is_one_line_and_takes_no_memory(what: str) -> None:
    beginning, told = ENDLESS[what]
    most = [0]

    def answer(_: str) -> Iterator[bytes]:
        yield from beginning
        for piece in repeat(b"\x55" * (1 << 16)):
            most[0] = max(most[0], resident_bytes())
            yield piece

    before = resident_bytes()
    with odd_server(answer) as server, LiveViewer(f"{server.url}/mjpeg", ONCE) as viewer:
        viewer.until(lambda: viewer.is_over, 30)
    assert str(viewer.error) == f"gate: {told}; given up after 1 try"
    assert most[0] - before < 6 * MOST_BYTES


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(1, 200))
def test_whatever_stands_between_two_pictures_does_not_harm_them(between: bytes, step: int) -> None:
    between = between.replace(b"\xff\xd8\xff", b"")
    content = io.BytesIO(between.rstrip(b"\xff\xd8").join([b"", *PICTURES[:3], b""]))
    assert list(jpegs(lambda size: content.read(min(size, step)))) == PICTURES[:3]


def test_a_picture_that_the_next_one_cuts_off_comes_as_it_is() -> None:
    cut = [PICTURES[0], PICTURES[1][: len(PICTURES[1]) // 2], PICTURES[2]]
    assert list(jpegs(io.BytesIO(b"".join(cut)).read)) == cut


def test_a_picture_cut_off_in_its_head_costs_no_other() -> None:
    """What stands where its length would may be any number."""
    for cut in range(24, 600):  # behind its notes, which may hold a small picture
        stream = [PICTURES[0], PICTURES[1][:cut] + b"\xc0\xff\xff", *PICTURES[2:12]]
        found = list(jpegs(io.BytesIO(b"".join(stream)).read))
        assert [picture for picture in PICTURES[:12] if picture in found] == [PICTURES[0], *PICTURES[2:12]], cut


def test_noise_ends_in_time() -> None:
    with pytest.raises(SourceError, match="what comes is no video"):
        list(jpegs(lambda size: bytes(next(NOISE) % 251 for _ in range(size // 8))))


NOISE = count()


def snapshots(number: Iterator[int]) -> list[bytes]:
    picture = PICTURES[next(number) % len(PICTURES)]
    return [head(Content_Type="image/jpeg", Content_Length=str(len(picture))), picture]


def test_of_a_camera_that_gives_one_picture_an_answer_another_is_asked_for_at_the_rate_that_is_wanted() -> None:
    number = count()
    settings = replace(ONCE, rate="20")
    with odd_server(lambda _: snapshots(number)) as server, LiveViewer(f"{server.url}/x", settings) as viewer:
        viewer.until(lambda: len(viewer.seen) >= 12)
        assert viewer.end() < STOPPED_S
    assert viewer.numbers[:12] == list(range(12))
    assert viewer.seen[0].info.rate == 20
    times = [seen.pts * TIME_BASE for seen in viewer.seen[:12]]
    assert times[-1] >= 11 / 20 - 0.06, "no faster than asked for"
    assert viewer.states == [CameraState.CONNECTING, CameraState.RUNNING, CameraState.ENDED], "none of it is a loss"


def test_a_pause_between_two_pictures_is_no_loss() -> None:
    number = count()
    settings = replace(ONCE, rate="0.5", timeout_s=1)
    with odd_server(lambda _: snapshots(number)) as server, LiveViewer(f"{server.url}/x", settings) as viewer:
        viewer.wait(2)
    assert CameraState.STALLED not in viewer.states


def test_a_pause_between_two_pictures_holds_no_end_up() -> None:
    number = count()
    settings = replace(ONCE, rate="1/100")
    with odd_server(lambda _: snapshots(number)) as server, LiveViewer(f"{server.url}/x", settings) as viewer:
        viewer.wait(1)
        assert viewer.end() < STOPPED_S


def test_a_rate_is_for_cameras_that_give_one_picture_an_answer() -> None:
    way, settings = WAYS["as it should be"], replace(ONCE, rate="5")
    with odd_server(lambda _: way) as server, LiveViewer(f"{server.url}/mjpeg", settings) as viewer:
        viewer.until(lambda: viewer.is_over)
    assert "--input-rate is for cameras that give one picture an answer; here comes a stream" in str(viewer.error)
