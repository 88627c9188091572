"""What holds for every sink there is: one for each kind of file, and those that only look on."""

from __future__ import annotations

import csv
import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.camera.parts import PartsSink
from roadmask.stream.camera.status import CameraStatus
from roadmask.stream.decode.pixels import planes_of
from roadmask.stream.encode.h264 import Encoding
from roadmask.stream.encode.overlay import Overlay
from roadmask.stream.encode.video_sink import OverlayVideoSink
from roadmask.stream.errors import OutputError, Stopped
from roadmask.stream.frames import Ending, Piece, Place, SegmentedFrame, Sink
from roadmask.stream.live import window_sink
from roadmask.stream.live.live_view import LiveView, parse_address
from roadmask.stream.live.publish_sink import PublishSink
from roadmask.stream.live.stream_sink import StreamSink
from roadmask.stream.live.window_sink import WindowSink
from roadmask.stream.stats.stats import open_stats_sink
from roadmask.stream.system.disk import remove_left
from tests.support.clips import SPEC, TICK, open_archive_sink, result_of, times_of, video_info
from tests.support.file_content import content, copy, pictures_of, remove
from tests.support.full_disk import full_disk
from tests.support.server_process import a_free_port
from tests.support.short_pieces import PIECE, shorten_pieces
from tests.support.waiting import until

INFO = video_info()
GAPS = (512, 40, 700, 13_000, 511)  # ticks, over and over: no two frames take each other's time
MILLISECOND = Fraction(1, 1000)  # in which Matroska counts
RUN = Place(0, 0, 300)  # where the run began


def result(number: int) -> SegmentedFrame:
    """The frame at a position of the run: its own time, picture and mask."""
    mask = np.full((INFO.height, INFO.width), number % 3, np.uint8)
    mask[: number % INFO.height] = 1
    pts = RUN.pts + sum(GAPS) * (number // len(GAPS)) + sum(GAPS[: number % len(GAPS)])
    made = result_of(mask, index=number, pts=pts)
    for plane in planes_of(made.frame.picture):
        plane[:] = 60 + number % 100
    return replace(made, frame=replace(made.frame, info=INFO))


def overlay(path: Path) -> Sink:
    return OverlayVideoSink(path, INFO, Overlay(SPEC.classes).render, encoding=Encoding(preset="ultrafast"), began=RUN)


def overlay_times(path: Path) -> list[Fraction]:
    """An overlay's begin at 0."""
    return [time + RUN.pts * TICK for time in times_of(path)]


def masks(path: Path) -> Sink:
    return open_archive_sink(path, INFO, SPEC, source="drive.mp4")


def stats(path: Path) -> Sink:
    return open_stats_sink(path, SPEC, source="drive.mp4")


def mask_times(path: Path) -> list[Fraction]:
    with open_masks(path) as archive:
        assert archive.ending is None or archive.ending.frames == len(archive)
        return [record.time for record in archive.records]


def csv_times(path: Path) -> list[Fraction]:
    with path.open(newline="") as file:
        return [Fraction(row["time"]) for row in csv.DictReader(file)]


def parquet_times(path: Path) -> list[Fraction]:
    return [Fraction(time) for time in pq.read_table(path)["time"].to_pylist()]


@dataclass(frozen=True)
class FileKind:
    """A sink whose file, or folder, stays."""

    name: str
    make: Callable[[Path], Sink]
    times: Callable[[Path], list[Fraction]]
    content: Callable[[Path], Any] = content  # what going on must give again

    def __str__(self) -> str:
        return self.name

    def write(
        self, path: Path, count: int, *, resume: int | None = None, ends_with: BaseException | None = None
    ) -> Path:
        sink, first = self.make(path), 0
        if resume is not None:
            first = sink.resume(resume)
            assert first <= resume
        with sink:
            for number in range(first, count):
                sink.write(result(number))
            if ends_with:
                raise ends_with
        return path


# An encoder's delay may differ where it begins anew, so of a video it is pictures and times that count.
FILES = [
    *(FileKind(f"seen.{suffix}", overlay, overlay_times, pictures_of) for suffix in ("mp4", "mov", "mkv")),
    *(FileKind(name, masks, mask_times) for name in ("masks", "masks.zip", "masks.mkv")),
    FileKind("shares.csv", stats, csv_times),
    FileKind("shares.parquet", stats, parquet_times),
]
every_file = pytest.mark.parametrize("kind", FILES, ids=str)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@every_file
def test_every_frame_comes_with_its_own_time(tmp_path: Path, kind: FileKind) -> None:
    found = kind.times(kind.write(tmp_path / kind.name, 23))
    expected = [result(number).frame.time for number in range(23)]
    assert len(found) == len(expected)
    tolerance = MILLISECOND if kind.name == "seen.mkv" else Fraction(1, 1_000_000)  # tables have six decimals
    assert max(abs(one - other) for one, other in zip(found, expected, strict=True)) <= tolerance < TICK * 50


@every_file
def test_what_is_done_or_stopped_has_its_final_name_and_nothing_beside_it(tmp_path: Path, kind: FileKind) -> None:
    path = kind.write(tmp_path / "done" / kind.name, 7)
    assert names(path.parent) == [kind.name]
    with pytest.raises(Stopped):
        kind.write(stopped := tmp_path / "stopped" / kind.name, 7, ends_with=Stopped())
    assert names(stopped.parent) == [kind.name]
    assert kind.content(stopped) == kind.content(path)


@every_file
def test_without_a_frame_nothing_is_left(tmp_path: Path, kind: FileKind) -> None:
    kind.write(tmp_path / kind.name, 0)
    assert names(tmp_path) == []


@every_file
def test_a_failure_leaves_nothing_under_the_final_name(tmp_path: Path, kind: FileKind) -> None:
    with pytest.raises(RuntimeError):
        kind.write(tmp_path / kind.name, 7, ends_with=RuntimeError())
    assert kind.name not in names(tmp_path)
    assert any(".partial" in name for name in names(tmp_path)), "what was written stays"


@every_file
def test_a_full_disk_is_an_output_error_and_leaves_nothing_under_the_final_name(tmp_path: Path, kind: FileKind) -> None:
    with full_disk(100), pytest.raises(OutputError, match=kind.name.replace(".", r"\.")):
        kind.write(tmp_path / kind.name, 30)
    assert kind.name not in names(tmp_path)


@every_file
@pytest.mark.parametrize("kept", [0, 5, PIECE, PIECE + 7])
def test_going_on_at_a_frame_gives_what_a_run_in_one_go_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: FileKind, kept: int
) -> None:
    shorten_pieces(monkeypatch)
    count = kept + 10
    expected = kind.content(kind.write(tmp_path / "whole" / kind.name, count))
    path = tmp_path / "killed" / kind.name
    with kind.make(path) as sink:
        for number in range(kept + 4):
            sink.write(result(number))
            if number == kept:
                sink.sync()
        for left in list(path.parent.iterdir()):
            copy(left, tmp_path / left.name)
    remove(path)
    for left in [tmp_path / name for name in names(tmp_path) if name not in ("whole", "killed")]:
        left.rename(path.parent / left.name)
    if not kept:
        remove_left(path)  # as a run does that begins anew
    kind.write(path, count, resume=kept if kept or kind.name.startswith("masks") else None)
    assert kind.content(path) == expected
    assert names(path.parent) == [kind.name]


@every_file
def test_what_is_gone_cannot_be_gone_on_with(tmp_path: Path, kind: FileKind) -> None:
    with pytest.raises(OutputError, match="not there any more"):
        kind.make(tmp_path / kind.name).resume(5)


# Those that only look on.


@contextmanager
def to_a_pipe(format: Any, folder: Path) -> Iterator[Sink]:  # noqa: A002 - as the sink calls it
    descriptor = os.open(folder / "stdout", os.O_WRONLY | os.O_CREAT)
    try:
        yield StreamSink(Overlay(SPEC.classes).render, format=format, descriptor=descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def published(_: Path) -> Iterator[Sink]:
    yield PublishSink(f"udp://127.0.0.1:{a_free_port()}", Overlay(SPEC.classes).render)


@contextmanager
def on_the_page(_: Path) -> Iterator[Sink]:
    yield LiveView(parse_address("127.0.0.1:0"), SPEC.classes).add(CameraStatus("gate"))


WINDOWS = """
WINDOW_NORMAL = WINDOW_KEEPRATIO = WND_PROP_VISIBLE = WINDOW_GUI_NORMAL = 0
class error(Exception): pass
def namedWindow(title, flags): pass
def imshow(title, picture): pass
def resizeWindow(title, width, height): pass
def waitKey(milliseconds): return -1
def getWindowProperty(title, name): return 1.0
"""


@contextmanager
def in_a_window(folder: Path) -> Iterator[Sink]:
    """With a toolkit that draws nothing, in place of OpenCV's."""
    (folder / "toolkit").mkdir()
    (folder / "toolkit/cv2.py").write_text(WINDOWS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder / "toolkit"))
        patch.setattr(window_sink, "refuse_no_window", lambda: None)
        yield WindowSink("drive.mp4", Overlay(SPEC.classes).render)


@contextmanager
def in_parts(folder: Path) -> Iterator[Sink]:
    yield PartsSink(folder / "gate.csv", lambda path, _: stats(path))


@contextmanager
def of_a_file(kind: FileKind, folder: Path) -> Iterator[Sink]:
    yield kind.make(folder / kind.name)


LOOKING_ON: dict[str, Callable[[Path], Any]] = {
    "mpegts": lambda folder: to_a_pipe("mpegts", folder),
    "yuv420p": lambda folder: to_a_pipe("yuv420p", folder),
    "bgr24": lambda folder: to_a_pipe("bgr24", folder),
    "published": published,
    "page": on_the_page,
    "window": in_a_window,
    "parts": in_parts,
}
ALL = LOOKING_ON | {kind.name: lambda folder, kind=kind: of_a_file(kind, folder) for kind in FILES}  # type: ignore[misc]


@pytest.mark.parametrize("name", ALL)
def test_leaving_twice_is_harmless(tmp_path: Path, name: str) -> None:
    with ALL[name](tmp_path) as sink:
        with sink:
            for number in range(5):
                sink.write(result(number))
        before = content(tmp_path)
        sink.__exit__(None, None, None)
        assert content(tmp_path) == before


@pytest.mark.parametrize("name", ALL)
def test_what_a_run_asks_of_one_can_be_asked_of_any(tmp_path: Path, name: str) -> None:
    with ALL[name](tmp_path) as sink, sink:
        for number in range(3):
            sink.write(result(number))
            sink.sync()
        sink.tell(Ending("done", 3))


@pytest.mark.parametrize("name", LOOKING_ON)
def test_what_only_looks_on_goes_on_anywhere_and_is_in_one_piece(tmp_path: Path, name: str) -> None:
    with LOOKING_ON[name](tmp_path) as sink:
        assert sink.resume(123) == 123
        with pytest.raises(OutputError, match="cannot be made in pieces"):
            sink.append(Piece(tmp_path / "00000000-00000250", RUN))


@pytest.mark.parametrize("name", ALL)
def test_the_first_frame_is_not_kept_in_memory(tmp_path: Path, name: str) -> None:
    with ALL[name](tmp_path) as sink, sink:
        first = result(0)
        sink.write(first)
        arrays = [first.mask, first.frame.input]
        picture = first.frame.picture
        del first
        for number in range(1, 4):
            sink.write(result(number))

        def held() -> list[int]:
            """Those who hold each: not the names for it here, nor the call."""
            gc.collect()
            return [*(sys.getrefcount(array) - 3 for array in arrays), sys.getrefcount(picture) - 2]

        until(lambda: max(held()) <= 0, what=f"nobody holds the first frame: {held()}")
