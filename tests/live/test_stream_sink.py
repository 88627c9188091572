"""Standard output: whole streams, without delay, and readers that are slow, go away or were never there."""

from __future__ import annotations

import os
import pty
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from roadmask.stream.encode.overlay import Overlay
from roadmask.stream.encode.video_sink import OverlayVideoSink
from roadmask.stream.errors import OutputError
from roadmask.stream.frames import SegmentedFrame
from roadmask.stream.live.stream_sink import StreamFormat, StreamSink
from tests.support.clips import RATE, SPEC, video_info
from tests.support.heard import heard, sound_of, with_tone
from tests.support.own_process import python
from tests.support.seen import seen
from tests.support.waiting import until


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """Reading and writing end; close the first early if you like."""
    reading, writing = os.pipe()
    try:
        yield reading, writing
    finally:
        for end in (reading, writing):
            with suppress(OSError):
                os.close(end)


def written(results: list[SegmentedFrame], format: StreamFormat = "mpegts") -> bytes:  # noqa: A002
    """What comes out of the pipe."""
    pieces: list[bytes] = []
    with pipe() as (reading, writing):

        def read() -> None:
            while piece := os.read(reading, 1 << 16):
                pieces.append(piece)

        reader = threading.Thread(target=read)
        reader.start()
        with StreamSink(Overlay(SPEC.classes).render, format=format, descriptor=writing) as sink:
            for result in results:
                sink.write(result)
        os.close(writing)
        reader.join(10)
    return b"".join(pieces)


def decoded(stream: bytes, path: Path) -> list[av.VideoFrame]:
    path.write_bytes(stream)
    with av.open(path, format="mpegts") as container:
        return list(container.decode(video=0))


def test_a_stream_has_every_frame_at_its_time(tmp_path: Path) -> None:
    frames = decoded(written(seen(120)), tmp_path / "out.ts")
    times = [frame.time for frame in frames]
    assert [round((time - times[0]) * 25, 3) for time in times] == list(range(120))


def test_the_sound_of_a_camera_comes_in_step_with_its_pictures(tmp_path: Path) -> None:
    stream = written(list(with_tone(seen(60), from_s=1)))
    (tmp_path / "out.ts").write_bytes(stream)
    with av.open(tmp_path / "out.ts") as container:
        first = next(container.decode(video=0)).time
    assert sound_of(tmp_path / "out.ts") == [("aac", 8000, "mono")]
    assert heard(tmp_path / "out.ts") - first == pytest.approx(1, abs=0.01)
    assert len(decoded(stream, tmp_path / "again.ts")) == 60


def test_a_reader_can_join_every_two_seconds_as_each_keyframe_has_its_parameters(tmp_path: Path) -> None:
    stream = written(seen(130))
    path = tmp_path / "out.ts"
    path.write_bytes(stream)
    with av.open(path) as container:
        packets = list(container.demux(video=0))
    keys = [number for number, packet in enumerate(packets) if packet.is_keyframe]
    assert keys == [0, 50, 100]
    assert all(b"\x00\x00\x01\x67" in bytes(packets[key]) for key in keys)  # the sequence parameter set
    tables = sum(stream[at + 1 : at + 3] == b"\x40\x00" for at in range(0, len(stream), 188))
    assert tables >= 10  # program tables, in 5.2 s
    middle = len(stream) // 2 // 188 * 188
    assert len(decoded(stream[middle:], path)) >= 29


@pytest.mark.parametrize("fps", [Fraction(2), Fraction(6, 5), Fraction(1, 35)])
def test_keyframes_come_by_time_where_fewer_frames_do_than_were_declared(fps: Fraction, tmp_path: Path) -> None:
    info = replace(video_info(), rate=Fraction(25), live=True)
    slow = [
        replace(result, frame=replace(result.frame, pts=round(number / fps / result.frame.time_base), info=info))
        for number, result in enumerate(seen(24))
    ]
    path = tmp_path / "out.ts"
    path.write_bytes(written(slow))
    with OverlayVideoSink(tmp_path / "out.mp4", info, Overlay(SPEC.classes).render) as recording:
        for result in slow:
            recording.write(result)
    for made in (path, tmp_path / "out.mp4"):
        with av.open(made) as container:
            stream = container.streams.video[0]
            keys = [packet.pts * packet.time_base for packet in container.demux(stream) if packet.is_keyframe]
        gaps = [float(after - before) for before, after in pairwise(keys)]
        assert max(gaps) <= max(2, 1 / fps) + 0.001
        assert len(keys) > 5


def test_a_frame_is_out_when_write_returns(tmp_path: Path) -> None:
    with pipe() as (reading, writing):
        stream = b""
        with StreamSink(Overlay(SPEC.classes).render, descriptor=writing) as sink:
            for number, result in enumerate(seen(5), start=1):
                sink.write(result)
                stream += os.read(reading, 1 << 16)
                path = tmp_path / f"{number}.ts"
                assert len(decoded(stream, path)) == number


def test_another_size_goes_on_in_the_same_stream(tmp_path: Path) -> None:
    frames = decoded(written([*seen(5), *seen(5, first=5, info=video_info(96, 64))]), tmp_path / "out.ts")
    assert [(frame.width, frame.height) for frame in frames] == [(64, 48)] * 5 + [(96, 64)] * 5
    times = [frame.time for frame in frames]
    assert times == sorted(set(times))


def test_raw_pictures_are_bare_rows_without_padding() -> None:
    odd = video_info(63, 47)  # drawn on even sides, of rows that are padded in memory
    stream = written(seen(3, info=odd, mask=1), "yuv420p")
    assert len(stream) == 3 * 64 * 48 * 3 // 2
    expected = Overlay(SPEC.classes).render(seen(1, info=odd, mask=1)[0]).to_ndarray()
    assert (np.frombuffer(stream, np.uint8).reshape(3, 72, 64) == expected).all()


def test_bgr_pictures_have_the_colours_of_the_overlay() -> None:
    stream = written(seen(1, mask=1), "bgr24")
    picture = np.frombuffer(stream, np.uint8).reshape(48, 64, 3)
    rgb = Overlay(SPEC.classes).render(seen(1, mask=1)[0]).to_ndarray(format="rgb24")
    assert np.abs(picture[..., ::-1].astype(int) - rgb).max() <= 2  # other roundings of the same conversion


def test_raw_pictures_keep_the_first_size_and_say_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        stream = written([*seen(2), *seen(2, first=2, info=video_info(96, 64))], "yuv420p")
    assert len(stream) == 4 * 64 * 48 * 3 // 2
    assert caplog.messages == [
        f"-: raw video, yuv420p, 64x48, about {RATE} fps",
        "-: the picture is 96x64 from here on; it is scaled to 64x48",
    ]


def test_a_reader_that_goes_away_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    gone: list[int] = []
    with (
        caplog.at_level("INFO"),
        pipe() as (reading, writing),
        StreamSink(Overlay(SPEC.classes).render, descriptor=writing, on_gone=lambda: gone.append(1)) as sink,
    ):
        results = seen(20)
        sink.write(results[0])
        os.close(reading)
        for result in results[1:]:
            sink.write(result)
    assert gone == [1]
    assert caplog.messages == ["-: nobody reads standard output any more"]


def test_a_reader_that_takes_nothing_does_not_keep_a_run_from_ending() -> None:
    stop = threading.Event()
    with (
        pipe() as (_, writing),
        StreamSink(Overlay(SPEC.classes).render, format="bgr24", descriptor=writing, stop=stop) as sink,
    ):

        def write() -> None:
            for result in seen(50):
                sink.write(result)

        writer = threading.Thread(target=write)
        writer.start()
        writer.join(0.3)
        assert writer.is_alive()  # the pipe is full: it waits, as long as the run goes on
        stop.set()
        until(lambda: not writer.is_alive())


def test_a_full_disk_behind_it_is_one_line() -> None:
    with (
        Path("/dev/full").open("wb") as full,
        StreamSink(Overlay(SPEC.classes).render, descriptor=full.fileno()) as sink,
        pytest.raises(OutputError, match=r"^-: cannot be written \(No space left on device\)$"),
    ):
        sink.write(seen(1)[0])


TALKATIVE = """
    import os, sys
    from {module} import *

    print("before", file=sys.stderr)
    with StreamSink(Overlay(SPEC.classes).render) as sink:
        for result in seen(30):
            sink.write(result)
            print("a chatty library")
            os.write(1, b"written by C\\n")
"""


def run_talkative(**options: object) -> subprocess.CompletedProcess[bytes]:
    script = TALKATIVE.format(module=__name__)
    return subprocess.run(python(script), stderr=subprocess.PIPE, check=False, **options)  # type: ignore[call-overload,no-any-return]


def test_what_anybody_prints_meanwhile_goes_to_standard_error(tmp_path: Path) -> None:
    ended = run_talkative(stdout=subprocess.PIPE)
    assert len(decoded(ended.stdout, tmp_path / "out.ts")) == 30
    assert len(ended.stdout) % 188 == 0
    assert ended.stderr.count(b"a chatty library\n") == ended.stderr.count(b"written by C\n") == 30


def test_a_reader_that_is_not_there_ends_well() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = run_talkative(stdout=writing)
    os.close(writing)
    assert ended.returncode == 0
    assert b"Traceback" not in ended.stderr


def test_a_terminal_is_refused() -> None:
    controller, terminal = pty.openpty()
    try:
        ended = run_talkative(stdout=terminal)
    finally:
        os.close(controller)
        os.close(terminal)
    assert b"standard output is a terminal; pipe the video into a player" in ended.stderr
