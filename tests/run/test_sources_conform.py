"""What holds for every source there is: files, pictures in a file, a pipe, and what is watched."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import pytest

from roadmask.stream.camera.camera import Camera, CameraSettings, parse_camera
from roadmask.stream.camera.live import LiveSource
from roadmask.stream.camera.status import CameraStatus
from roadmask.stream.decode.place import Selection
from roadmask.stream.decode.source import Source, open_source
from roadmask.stream.frames import Frame
from tests.support.clips import make_clip
from tests.support.live_viewer import FILM, play_into
from tests.support.rtsp_server import RtspServer
from tests.support.stream_servers import http_camera
from tests.support.waiting import until

PTS = [0, 512, 1500, 1536, 9000, 9512, 10_024, 10_536, 11_048, 11_560, 12_072, 12_584]  # in `TICK`s
SIZE = (32, 48)
WANTED = 8  # frames, of sources that never end
SETTINGS = CameraSettings(policy="every-frame")


def live(camera: Camera) -> Source:
    return LiveSource(camera, status=CameraStatus("gate"), stop=threading.Event(), selection=Selection())


@contextmanager
def of_a_file(folder: Path, suffix: str, codec: str = "libx264") -> Iterator[Source]:
    yield open_source(make_clip(folder / f"drive{suffix}", PTS, codec=codec))


@contextmanager
def of_a_pipe(folder: Path) -> Iterator[Source]:
    clip = make_clip(folder / "clip.mkv", PTS)
    os.mkfifo(folder / "pipe")
    writing = play_into(folder / "pipe", clip)
    try:
        yield live(parse_camera(str(folder / "pipe")))
    finally:
        writing.join(10)


@contextmanager
def of_rtsp(_: Path) -> Iterator[Source]:
    with RtspServer(FILM) as server:
        yield live(parse_camera(server.url, SETTINGS))


@contextmanager
def of_http(path: str) -> Iterator[Source]:
    with http_camera(FILM) as server:
        yield live(parse_camera(f"{server.url}/{path}", SETTINGS))


@contextmanager
def of_a_webcam(_: Path) -> Iterator[Source]:
    yield live(Camera("street", "testsrc2=size=64x48:rate=25", "lavfi", every_frame=True))


@dataclass(frozen=True)
class SourceKind:
    name: str
    open: Callable[[Path], object]
    times_are_known: bool = False  # to the tick of its container

    def __str__(self) -> str:
        return self.name


KINDS = [
    *(SourceKind(suffix, lambda folder, suffix=suffix: of_a_file(folder, suffix), True) for suffix in (".mp4", ".mov")),  # type: ignore[misc]
    SourceKind(".mkv", lambda folder: of_a_file(folder, ".mkv")),
    SourceKind("pictures", lambda folder: of_a_file(folder, ".mov", "mjpeg"), True),
    SourceKind("pipe", of_a_pipe),
    SourceKind("rtsp", of_rtsp),
    *(SourceKind(path, lambda _, path=path: of_http(path)) for path in ("mjpeg", "video.ts")),  # type: ignore[misc]
    SourceKind("webcam", of_a_webcam),
]
every_source = pytest.mark.parametrize("kind", KINDS, ids=str)


@pytest.fixture
def source(kind: SourceKind, tmp_path: Path) -> Iterator[Source]:
    if kind.name == "pipe" and not hasattr(os, "mkfifo"):
        pytest.skip("this system has no FIFOs")
    with kind.open(tmp_path) as opened, opened as source:  # type: ignore[attr-defined]
        yield source


def frames_of(source: Source) -> Iterator[Frame]:
    """All of a file or pipe; of a camera the first ones."""
    return islice(source.frames(lambda _: SIZE), WANTED if source.info.live else None)


@every_source
def test_every_frame_comes_once_in_order_with_its_own_pts(source: Source, kind: SourceKind) -> None:
    frames = list(frames_of(source))
    assert len(frames) == (WANTED if source.info.live else len(PTS))
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert all(before.pts < after.pts for before, after in pairwise(frames))
    assert {frame.time_base for frame in frames} == {source.info.time_base}
    if kind.times_are_known:
        assert [frame.pts - frames[0].pts for frame in frames] == PTS
    if not source.info.live:  # Matroska counts in milliseconds
        times = [float(frame.time - frames[0].time) for frame in frames]
        assert times == pytest.approx([pts / 12_800 for pts in PTS], abs=0.0011)
    assert source.undecodable == source.dropped == source.missing_s == 0
    assert source.failure is None


@every_source
def test_pictures_and_inputs_have_the_sizes_that_are_told(source: Source) -> None:
    asked = []

    def size(info: object) -> tuple[int, int]:
        asked.append(info)
        return SIZE

    for frame in islice(source.frames(size), 3):
        assert (frame.picture.width, frame.picture.height) == (source.info.width, source.info.height)
        assert frame.input.shape == (*SIZE, 3)
        assert frame.info is source.info
        assert not frame.damaged
    assert asked == [source.info]


@every_source
def test_leaving_in_the_middle_and_twice_is_harmless(source: Source) -> None:
    frames = source.frames(lambda _: SIZE)
    next(frames)
    source.__exit__(None, None, None)
    source.__exit__(None, None, None)
    frames.close()  # type: ignore[attr-defined]


@every_source
def test_a_frame_that_was_given_is_not_kept(source: Source) -> None:
    frames = frames_of(source)
    first = next(frames)
    picture, network_input = first.picture, first.input
    del first
    for _ in range(4):
        next(frames)

    def held() -> int:
        """By how many, besides this test, the call itself, and the picture's own side data, which know it."""
        gc.collect()
        own = sum(type(holder).__module__.startswith("av.sidedata") for holder in gc.get_referrers(picture))
        return max(sys.getrefcount(picture) - own, sys.getrefcount(network_input)) - 2

    until(lambda: held() <= 0, what="nobody holds the first frame")
