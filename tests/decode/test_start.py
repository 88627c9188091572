"""`--start` jumps near its place, to the same frames and indices; where that is not sure, it decodes its way there."""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import Any

import av
import pytest

from roadmask.stream.decode import source as source_module
from roadmask.stream.decode.decoder import FileDecoder
from roadmask.stream.decode.place import look_of
from roadmask.stream.decode.source import open_source
from roadmask.stream.errors import SourceError
from tests.support.awkward_files import Make, joined, noisy, remuxed, video, without, zeroed

COUNT = 125
START = Fraction(4)
OPEN = {"x264-params": "open-gop=1:bframes=3:b-adapt=0:scenecut=0", "flags": "-cgop"}
X265 = {"preset": "ultrafast", "x265-params": "log-level=none:pools=none:frame-threads=1:keyint=10:min-keyint=10"}
STEPS = random.Random(3).choices([20, 33, 40, 80], k=COUNT)  # milliseconds


def made(codec: str, **settings: Any) -> Make:
    return video(codec, **{"frames": COUNT, "gop": 10} | settings)  # type: ignore[arg-type]


def cut_by_an_edit_list(make: Make) -> Make:
    def earlier(packets: list[Any]) -> list[Any]:
        for packet in packets:
            packet.pts, packet.dts = packet.pts - 5 * 512, packet.dts - 5 * 512
        return packets

    return remuxed(make, earlier, avoid_negative_ts="disabled", use_editlist="1")


JUMPED = {
    "plain.mp4": made("libx264"),
    "open_gops.mp4": made("libx264", options=OPEN),
    "open_gops.ts": made("libx264", options=OPEN),
    "open_gops_hevc.ts": made("libx265", options={**X265, "x265-params": X265["x265-params"] + ":open-gop=1"}),
    "plain.ts": made("libx264"),
    "refreshed.mp4": made("libx264", options={"intra-refresh": "1"}),
    "fragments.mp4": made("libx264", muxer={"movflags": "frag_keyframe+empty_moov"}),
    "edit_list.mp4": cut_by_an_edit_list(made("libx264")),
    "variable.mkv": made("libx264", pts=list(accumulate(STEPS)), base=Fraction(1, 1000)),
    "variable.mp4": made("libx264", pts=list(accumulate(STEPS)), base=Fraction(1, 1000)),
    "mpeg2.ts": made("mpeg2video", options={"bf": "2"}),
    "mpeg4.avi": made("mpeg4"),
    "plain.flv": made("libx264"),
    "hidden_pictures.webm": made(
        "libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "16"}
    ),
}
DECODED = {
    "no_times.h264": made("libx264"),
    "wrong_times.avi": made("libx264"),
    "joined.ts": joined(made("libx264", frames=50), made("libx264", frames=75)),
    "zeroed.mp4": zeroed(made("libx264"), 0.4, 0.45),
    "zeroed_mpeg4.mp4": zeroed(made("mpeg4"), 0.4, 0.45),
    "zeroed.ts": zeroed(made("libx264"), 0.4, 0.45),
    "hole.ts": without(made("libx264"), 0.4, 0.45),
    "noisy.mp4": noisy(made("libx264")),
}


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by the pts of each picture that is decoded."""
    pts: list[Any] = []
    decode = FileDecoder._decode

    def noting(self: FileDecoder, **options: Any) -> Iterator[av.VideoFrame]:
        for picture in decode(self, **options):
            pts.append(picture.pts)
            yield picture

    monkeypatch.setattr(FileDecoder, "_decode", noting)
    return pts


@pytest.fixture
def any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in long files: short ones are decoded, as that is quick."""
    monkeypatch.setattr(source_module, "_DECODED_BEFORE_START", 0)


def frames_of(path: Path, start: Fraction | None = None, **options: Any) -> list[tuple[int, int, int, bool]]:
    with open_source(path, start=start, **options) as source:
        return [
            (frame.index, frame.pts, look_of(frame.picture), frame.damaged) for frame in source.frames(lambda _: (8, 8))
        ]


def from_start(path: Path, start: Fraction) -> list[tuple[int, int, int, bool]]:
    """What is left of all frames."""
    frames = frames_of(path)
    with open_source(path) as source:
        time_base = source.info.time_base
    return [frame for frame in frames if (frame[1] - frames[0][1]) * time_base >= start]


@pytest.mark.usefixtures("any_length")
@pytest.mark.parametrize("name", JUMPED)
def test_the_frames_from_start_on_are_those_of_the_whole_without_decoding_what_is_before(
    name: str, decoded: list[int], tmp_path: Path
) -> None:
    JUMPED[name](tmp_path / name)
    expected = from_start(tmp_path / name, START)
    decoded.clear()
    assert frames_of(tmp_path / name, START) == expected
    assert len(expected) > 10
    # The beginning, and the two groups of pictures before the place.
    assert len(decoded) <= source_module._AGREEING + 35 + len(expected)


@pytest.mark.usefixtures("any_length")
@pytest.mark.parametrize("name", DECODED)
def test_where_packets_do_not_tell_the_frames_they_are_those_of_the_whole_too(name: str, tmp_path: Path) -> None:
    DECODED[name](tmp_path / name)
    assert frames_of(tmp_path / name, START) == from_start(tmp_path / name, START)


def test_a_late_minute_of_a_long_file_is_there_at_once(decoded: list[int], tmp_path: Path) -> None:
    made("libx264", size=(180, 320), options={"preset": "ultrafast"})(tmp_path / "short.mp4")
    path = tmp_path / "long.mp4"
    with av.open(tmp_path / "short.mp4") as source, av.open(path, "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        for again in range(120):  # ten minutes
            for packet in packets:
                copy = av.Packet(bytes(packet))
                copy.pts, copy.dts = packet.pts + again * 5 * 12800, packet.dts + again * 5 * 12800
                copy.time_base, copy.stream, copy.is_keyframe = packet.time_base, stream, packet.is_keyframe
                target.mux_one(copy)
    frames = frames_of(path, Fraction(590), max_frames=10)
    assert [frame[:2] for frame in frames] == [(14750 + number, 512 * (14750 + number)) for number in range(10)]
    assert [frame[2] for frame in frames] == [frame[2] for frame in frames_of(path, max_frames=10)]
    assert len(decoded) < 150


@pytest.mark.usefixtures("any_length")
def test_stride_and_end_count_from_start_and_a_start_behind_the_end_is_told(tmp_path: Path) -> None:
    JUMPED["plain.mp4"](tmp_path / "clip.mp4")
    expected = from_start(tmp_path / "clip.mp4", START)
    assert frames_of(tmp_path / "clip.mp4", START, stride=7) == expected[::7]
    assert frames_of(tmp_path / "clip.mp4", START, end=START + Fraction(2, 5)) == expected[:10]
    with pytest.raises(SourceError, match="no frame from 60 s on; the video is shorter"):
        frames_of(tmp_path / "clip.mp4", Fraction(60))
