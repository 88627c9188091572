"""Transport streams joined byte by byte, whose streams have other numbers: each frame comes out, once and in order."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from roadmask.stream.decode import joined
from roadmask.stream.decode.source import open_source
from tests.support.clips import SOUND_RATE, sound_times_of, times_of
from tests.support.run_command import run

FRAMES, RATE = 12, Fraction(5)  # two seconds: a clock that is set back by less than one is damage
# Numbers (PIDs) of the program's table and of its first stream. FFmpeg knows of the second's from the beginning, as it
# looks so far; of the third's PyAV never does.
KINDS = {"a": (0x1000, 0x100), "b": (0x1000, 0x200), "c": (0x1100, 0x300)}


def piece(path: Path, kind: str, shade: int, *, sound: bool = False) -> Path:
    """A transport stream whose pictures grow brighter from `shade` on, by 4 each."""
    table, first = KINDS[kind]
    numbers = {"mpegts_pmt_start_pid": str(table), "mpegts_start_pid": str(first)}
    with av.open(path, "w", format="mpegts", options=numbers) as container:
        video = container.add_stream("libx264", rate=RATE, width=64, height=48, options={"bf": "2", "g": "10"})
        assert isinstance(video, av.VideoStream)
        track = container.add_stream("aac", rate=SOUND_RATE, layout="mono") if sound else None
        for number in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64), shade + 4 * number, np.uint8), format="gray")
            container.mux(video.encode(frame.reformat(format="yuv420p")))
            if isinstance(track, av.AudioStream):
                heard = av.AudioFrame.from_ndarray(np.zeros((1, SOUND_RATE // 5), np.float32), "fltp", "mono")
                heard.sample_rate = SOUND_RATE
                container.mux(track.encode(heard))
        container.mux(video.encode(None))
    return path


def joined_clip(folder: Path, kinds: str, *, sound: bool = False) -> Path:
    pieces = [piece(folder / f"{at}.ts", kind, 20 + 40 * at, sound=sound) for at, kind in enumerate(kinds)]
    path = folder / "drive.ts"
    path.write_bytes(b"".join(item.read_bytes() for item in pieces))
    return path


def shades(pieces: int) -> list[int]:
    return [20 + 40 * at + 4 * number for at in range(pieces) for number in range(FRAMES)]


def seen(path: Path, **options: object) -> tuple[list[int], list[Fraction]]:
    """The brightness of each frame, by steps of 4, and the times between them."""
    with open_source(path, **options) as source:  # type: ignore[arg-type]
        frames = list(source.frames(lambda _: (16, 16)))
        assert source.undecodable == 0
    levels = [round((float(np.asarray(frame.picture.to_ndarray(format="gray")).mean()) - 20) / 4) for frame in frames]
    times = [frame.time for frame in frames]
    return [20 + 4 * level for level in levels], [b - a for a, b in pairwise(times)]


@pytest.mark.parametrize("kinds", ["a", "aa", "ab", "ac", "aba", "abab", "abc", "aca", "abcab"])
def test_each_frame_of_pieces_with_other_numbers_comes_once_in_the_order_of_the_file(
    kinds: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(joined, "_LEFT_OUT", 2000)  # pieces are small
    levels, steps = seen(joined_clip(tmp_path, kinds))
    assert levels == shades(len(kinds))
    assert set(steps) == {1 / RATE}
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == (len(set(kinds)) > 1)
    assert all("drive.ts: another video was joined to it at byte" in line for line in told)


def test_a_late_part_of_what_was_joined_is_reached_by_its_time(tmp_path: Path) -> None:
    levels, _ = seen(joined_clip(tmp_path, "ac"), start=(FRAMES + 4) / RATE, stride=2)
    assert levels == shades(2)[FRAMES + 4 :: 2]


def test_a_stream_that_is_named_is_read_alone(tmp_path: Path) -> None:
    path = joined_clip(tmp_path, "ab")
    assert [seen(path, stream=number)[0] for number in (0, 1)] == [shades(2)[:FRAMES], shades(2)[FRAMES:]]


def test_videos_that_run_beside_each_other_are_not_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(joined, "_LEFT_OUT", 2000)
    noise = np.random.default_rng(1)
    with av.open(tmp_path / "two.ts", "w", format="mpegts") as container:
        streams = [container.add_stream("libx264", rate=RATE, width=side, height=48) for side in (64, 96)]
        for number in range(30):
            for stream in streams[: 1 if number < 5 else 2]:  # the second one begins later, and goes on for longer
                if stream is streams[0] and number >= 20:
                    continue
                assert isinstance(stream, av.VideoStream)
                pixels = noise.integers(0, 256, (48, stream.width), np.uint8)
                frame = av.VideoFrame.from_ndarray(pixels, format="gray").reformat(format="yuv420p")
                frame.pts, frame.time_base = number, 1 / RATE
                container.mux(stream.encode(frame))
        for stream in streams:
            assert isinstance(stream, av.VideoStream)
            container.mux(stream.encode(None))
    counts: list[int] = []
    for number in (0, None):
        with open_source(tmp_path / "two.ts", stream=number) as source:
            counts.append(sum(1 for _ in source.frames(lambda _: (16, 16))))
    assert counts == [20, 25]
    assert caplog.records == []


def test_a_run_of_what_was_joined_has_all_frames_and_the_sound_that_can_be_had(model: Path, tmp_path: Path) -> None:
    clip, overlay = joined_clip(tmp_path, "ac", sound=True), tmp_path / "seen.mp4"
    assert run(clip, "-o", overlay, model=model) == 0
    assert len(times_of(overlay)) == 2 * FRAMES
    assert sound_times_of(overlay)
