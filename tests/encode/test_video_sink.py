"""The overlay video: frame times, sound, tags, and what is left when something goes wrong."""

from __future__ import annotations

import itertools
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from roadmask.stream.decode.source import open_source
from roadmask.stream.encode.h264 import DEFAULT_PRESET, Encoding, Preset
from roadmask.stream.encode.video_sink import OverlayVideoSink, cut_torn
from roadmask.stream.errors import OutputError
from roadmask.stream.frames import PIECE, SegmentedFrame
from roadmask.stream.system.disk import partial_path
from tests.support.clips import TICK, cfr, make_clip, result_of, sound_times_of, times_of, video_info
from tests.support.full_disk import full_disk
from tests.support.own_process import python

MILLISECOND = Fraction(1, 1000)


def redraw(result: SegmentedFrame) -> av.VideoFrame:
    """A renderer that draws nothing: the picture again, of even size."""
    picture = result.frame.picture
    return picture.reformat(width=picture.width // 2 * 2, height=picture.height // 2 * 2, format="rgb24").reformat(
        format="yuv420p"
    )


def rewrite(
    source_path: Path,
    path: Path,
    *,
    render: Callable[[SegmentedFrame], av.VideoFrame] = redraw,
    fail_after: int | None = None,
    error: BaseException | None = None,
    preset: Preset = DEFAULT_PRESET,
    **options: object,
) -> Path:
    """Run a video through source and sink."""
    with open_source(source_path, **options) as source:  # type: ignore[arg-type]
        mask = np.zeros((source.info.height, source.info.width), np.uint8)
        with OverlayVideoSink(path, source.info, render, source=source_path, encoding=Encoding(preset=preset)) as sink:
            for number, frame in enumerate(source.frames(lambda _: (16, 16))):
                if number == fail_after:
                    assert error is not None
                    raise error
                sink.write(SegmentedFrame(frame, mask))
    return path


SCHEDULES = {
    "25 fps": (TICK, cfr(40)),
    "ntsc": (Fraction(1001, 30000), list(range(40))),
    "variable": (Fraction(1, 90000), list(itertools.accumulate([0] + [3000, 3003, 1, 9000, 45000, 2999] * 5))),
    "late start": (Fraction(1, 90000), [126001 + 3003 * number for number in range(40)]),
    "microseconds": (Fraction(1, 1000000), [33366 * number + 7 for number in range(40)]),
    "milliseconds": (Fraction(1, 1000), [33 * number for number in range(40)]),
    "odd": (Fraction(7, 15361), list(range(0, 400, 10))),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_every_frame_keeps_its_time_from_the_first_on(tmp_path: Path, suffix: str, schedule: str) -> None:
    time_base, pts = SCHEDULES[schedule]
    source = make_clip(tmp_path / "clip.mp4", pts, time_base=time_base)
    times = times_of(rewrite(source, tmp_path / f"out{suffix}"))
    expected = [(time - pts[0]) * time_base for time in pts]
    if suffix == ".mkv":  # counts in milliseconds
        assert len(times) == len(expected)
        assert max(abs(one - other) for one, other in zip(times, expected, strict=True)) <= MILLISECOND
    else:
        assert times == expected


@pytest.mark.parametrize("schedule", ["ntsc", "variable", "late start"])
def test_every_frame_keeps_its_time_with_a_preset_that_reorders_them(tmp_path: Path, schedule: str) -> None:
    time_base, pts = SCHEDULES[schedule]
    source = make_clip(tmp_path / "clip.mp4", pts, time_base=time_base)
    out = rewrite(source, tmp_path / "out.mp4", preset="veryfast")
    assert times_of(out) == [(time - pts[0]) * time_base for time in pts]
    with av.open(out) as container:
        order = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    assert order != sorted(order)


def test_a_video_that_begins_before_zero_is_moved_to_zero(tmp_path: Path) -> None:
    mask = np.zeros((48, 64), np.uint8)
    with OverlayVideoSink(tmp_path / "out.mp4", video_info(), redraw) as sink:
        for index in range(10):
            sink.write(result_of(mask, index=index, pts=512 * (index - 3)))
    assert times_of(tmp_path / "out.mp4") == [Fraction(number, 25) for number in range(10)]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_all_sound_tracks_are_copied_in_sync(tmp_path: Path, suffix: str) -> None:
    source = make_clip(tmp_path / "clip.mp4", cfr(50), sound_s=[2, 2])
    out = rewrite(source, tmp_path / f"out{suffix}")
    for track in (0, 1):
        expected = [time for time in sound_times_of(source, track) if suffix == ".mp4" or time >= 0]
        seen = sound_times_of(out, track)
        assert len(seen) == len(expected)
        assert max(abs(one - other) for one, other in zip(seen, expected, strict=True)) <= MILLISECOND
    assert abs(times_of(out)[0]) <= MILLISECOND


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_cut_run_begins_at_zero_with_picture_and_sound_cut_alike(tmp_path: Path, suffix: str) -> None:
    source = make_clip(tmp_path / "clip.mp4", cfr(100, first=12800), sound_s=[5])
    out = rewrite(source, tmp_path / f"out{suffix}", start=Fraction(1), end=Fraction(2))
    assert times_of(out) == [Fraction(number, 25) for number in range(25)]
    # The first frame written is shown at 2 s on the source's clock, so that is where the sound is cut.
    expected = [time - 2 for time in sound_times_of(source) if 2 <= time < 3]
    seen = sound_times_of(out)
    assert len(seen) == len(expected)
    assert max(abs(one - other) for one, other in zip(seen, expected, strict=True)) <= MILLISECOND


def test_the_sound_stops_with_the_last_frame(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "clip.mp4", cfr(100), sound_s=[4])
    out = rewrite(source, tmp_path / "out.mp4", max_frames=25)
    assert Fraction(9, 10) < sound_times_of(out)[-1] < 1


def test_a_source_without_sound_gives_a_video_without_sound(tmp_path: Path) -> None:
    out = rewrite(make_clip(tmp_path / "clip.mp4", cfr(5)), tmp_path / "out.mp4")
    with av.open(out) as container:
        assert not container.streams.audio


def test_pixel_shape_and_colour_tags_are_those_of_the_source(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "clip.mp4", cfr(5), sample_aspect_ratio=Fraction(4, 3), rotation=90)
    with open_source(source) as opened:
        frame = next(opened.frames(lambda _: (16, 16)))
        picture = frame.picture
        picture.colorspace, picture.color_range, picture.color_primaries, picture.color_trc = 6, 1, 6, 6
        with OverlayVideoSink(tmp_path / "out.mp4", opened.info, redraw) as sink:
            sink.write(SegmentedFrame(frame, np.zeros((64, 48), np.uint8)))
    with av.open(tmp_path / "out.mp4") as container:
        shown = next(container.decode(video=0))
        assert container.streams.video[0].sample_aspect_ratio == Fraction(3, 4)
        assert (shown.width, shown.height, shown.rotation) == (48, 64, 0)
        assert (shown.colorspace, shown.color_range, shown.color_primaries, shown.color_trc) == (6, 1, 6, 6)


def test_a_mp4_is_an_ordinary_one_when_closed(tmp_path: Path) -> None:
    content = rewrite(make_clip(tmp_path / "clip.mp4", cfr(100)), tmp_path / "out.mp4").read_bytes()
    boxes, position = [], 0
    while position < len(content):
        boxes.append(content[position + 4 : position + 8])
        position += int.from_bytes(content[position : position + 4], "big")
    assert boxes == [b"ftyp", b"free", b"mdat", b"moov"]


KILLED = """
    import os, signal
    from pathlib import Path
    from {module} import redraw, rewrite

    def redraw_until_killed(result):
        if result.frame.index == 150:
            os.kill(os.getpid(), signal.SIGKILL)
        return redraw(result)

    rewrite(Path({source!r}), Path({out!r}), render=redraw_until_killed)
"""


@pytest.mark.parametrize(("suffix", "least"), [(".mp4", 100), (".mkv", 100)])
def test_what_a_killed_process_leaves_can_be_played(tmp_path: Path, suffix: str, least: int) -> None:
    source = make_clip(tmp_path / "clip.mp4", cfr(200), sound_s=[8])
    out = tmp_path / f"out{suffix}"
    script = KILLED.format(module=__name__, source=str(source), out=str(out))
    ended = subprocess.run(python(script), check=False)
    assert ended.returncode == -signal.SIGKILL
    assert not out.exists()
    times = times_of(partial_path(out))
    assert len(times) >= least
    assert times == [Fraction(number, 25) for number in range(len(times))]


def test_ctrl_c_leaves_a_whole_video(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "clip.mp4", cfr(50), sound_s=[2])
    with pytest.raises(KeyboardInterrupt):
        rewrite(source, tmp_path / "out.mp4", fail_after=20, error=KeyboardInterrupt())
    assert len(times_of(tmp_path / "out.mp4")) == 20


def test_an_error_leaves_what_was_written_under_the_partial_name(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "clip.mp4", cfr(50))
    with pytest.raises(RuntimeError, match="model failed"):
        rewrite(source, tmp_path / "out.mp4", fail_after=20, error=RuntimeError("model failed"))
    assert not (tmp_path / "out.mp4").exists()
    assert len(times_of(tmp_path / "out.partial.mp4")) == 20


def test_a_mp4_that_ends_anywhere_within_a_fragment_opens_once_its_torn_table_is_cut(tmp_path: Path) -> None:
    left = tmp_path / "left.mp4"

    def redraw_and_look(result: SegmentedFrame) -> av.VideoFrame:
        if result.frame.index == 149:
            shutil.copy(partial_path(tmp_path / "out.mp4"), left)
        return redraw(result)

    rewrite(make_clip(tmp_path / "clip.mp4", cfr(150)), tmp_path / "out.mp4", render=redraw_and_look)
    content = left.read_bytes()
    cut_torn(left)
    assert left.read_bytes() == content, "nothing of it was torn"
    table = content.rindex(b"moof") - 4
    for end in (*range(table, table + 12), table + 100, content.rindex(b"mdat") - 5):
        left.write_bytes(content[:end])
        cut_torn(left)
        assert left.read_bytes() == content[:table]
        assert len(times_of(left)) >= 25
    (tmp_path / "notes.mp4").write_bytes(b"no box")
    cut_torn(tmp_path / "notes.mp4")
    assert (tmp_path / "notes.mp4").read_bytes() == b"no box"
    cut_torn(tmp_path / "none.mp4")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_full_disk_is_one_line(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    source = make_clip(tmp_path / "clip.mp4", cfr(100), size=(96, 128), picture=noise)
    with full_disk(8_000), pytest.raises(OutputError, match=rf"out\{suffix}: cannot be written \(.*\)") as caught:
        rewrite(source, tmp_path / f"out{suffix}")
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is not None
    assert not (tmp_path / f"out{suffix}").exists()


@pytest.mark.parametrize("wrong", [{"encoder": "h265"}, {"preset": "fastest"}, {"crf": 99}])
def test_an_encoder_that_cannot_be_leaves_no_file(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(OutputError, match=r"h265|fastest|99"):
        OverlayVideoSink(tmp_path / "out.mp4", video_info(), redraw, encoding=Encoding(**wrong))  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_suffix_that_is_no_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"a video's suffix is one of \.mp4, \.mov, \.mkv"):
        OverlayVideoSink(tmp_path / "out.avi", video_info(), redraw)


def test_the_recording_of_a_camera_is_one_piece_that_nothing_goes_on_with(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "clip.mp4", list(range(260)), time_base=Fraction(1, 24))
    out = tmp_path / "out.mp4"
    with open_source(source) as opened:
        info = replace(opened.info, live=True)
        with OverlayVideoSink(out, info, redraw) as sink:
            for frame in opened.frames(lambda _: (16, 16)):
                sink.write(SegmentedFrame(frame, np.zeros((info.height, info.width), np.uint8)))
    with av.open(out) as container:
        keys = [number for number, packet in enumerate(container.demux(video=0)) if packet.size and packet.is_keyframe]
    assert PIECE not in keys, "every piece of a file begins with one"
    assert {0, 48, 96, 144, 192, 240} <= set(keys), "at most two seconds apart"
