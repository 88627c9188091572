"""The sound of a video in its overlay: copied where that plays, else made AAC, in step with the pictures."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from roadmask.stream.decode.source import open_source
from roadmask.stream.encode import sound_tracks
from roadmask.stream.encode.video_sink import OverlayVideoSink
from roadmask.stream.frames import HeardSound, Moment, SegmentedFrame
from tests.encode.test_video_sink import redraw, rewrite
from tests.support.clips import cfr, make_clip, sound_times_of, times_of
from tests.support.heard import make_heard, plays, seen_and_heard, sound_of

SUFFIXES = (".mp4", ".mov", ".mkv")


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.WARNING)
    return lambda: [record.getMessage() for record in caplog.records]


def made(source: Path, out: Path) -> str:
    """Rewrites a video; returns what is told of its sound."""
    with open_source(source) as opened:
        mask = np.zeros((opened.info.height, opened.info.width), np.uint8)
        with OverlayVideoSink(out, opened.info, redraw, source=source) as sink:
            for frame in opened.frames(lambda _: (16, 16)):
                sink.write(SegmentedFrame(frame, mask))
    return sink.sound


def apart(path: Path) -> float:
    """By how much the tone comes later than the white picture, seconds."""
    seen, heard = seen_and_heard(path)
    return heard - seen


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("container", [".ts", ".flv", ".avi", ".mkv"])
def test_aac_is_copied_from_every_container(tmp_path: Path, container: str, suffix: str) -> None:
    """In MPEG-TS, and at times in AVI, each packet says anew what it is (ADTS)."""
    source, out = make_heard(tmp_path / f"clip{container}", "aac", rate=44100), tmp_path / f"out{suffix}"
    assert made(source, out) == ""
    assert sound_of(out) == [("aac", 44100, "mono")]
    assert plays(out)
    assert apart(out) == pytest.approx(apart(source), abs=0.01)
    assert abs(len(sound_times_of(out)) - len(sound_times_of(source))) <= 4


def test_aac_as_dab_and_broadcasters_pack_it_is_made_what_containers_know(tmp_path: Path) -> None:
    source, out = make_heard(tmp_path / "clip.ts", "aac", options={"mpegts_flags": "latm"}), tmp_path / "out.mp4"
    assert made(source, out) == "aac_latm made aac"
    assert plays(out)


KINDS = {
    "ac3.mkv": ("ac3", 48000),
    "eac3.ts": ("eac3", 48000),
    "pcm.avi": ("pcm_s16le", 44100),
    "pcm.mov": ("pcm_s24be", 48000),
    "alaw.avi": ("pcm_alaw", 8000),
    "mulaw.avi": ("pcm_mulaw", 8000),
    "adpcm.avi": ("adpcm_ms", 22050),
    "wma.asf": ("wmav2", 44100),
    "mp2.ts": ("mp2", 44100),
    "alac.mov": ("alac", 44100),
}


@pytest.mark.parametrize("name", KINDS)
def test_sound_that_browsers_do_not_play_is_made_aac_in_step(tmp_path: Path, name: str) -> None:
    codec, rate = KINDS[name]
    source, out = make_heard(tmp_path / name, codec, rate=rate), tmp_path / "out.mp4"
    told = made(source, out)
    assert told.endswith(" made aac")
    assert [kind[0] for kind in sound_of(out)] == ["aac"]
    assert plays(out)
    assert apart(out) == pytest.approx(apart(source), abs=0.01)


@pytest.mark.parametrize("name", ["ac3.mkv", "pcm.avi", "alaw.avi", "mulaw.avi", "mp2.ts"])
def test_matroska_takes_sound_as_it_is(tmp_path: Path, name: str) -> None:
    codec, rate = KINDS[name]
    source, out = make_heard(tmp_path / name, codec, rate=rate), tmp_path / "out.mkv"
    assert made(source, out) == ""
    assert [kind[0] for kind in sound_of(out)] == [kind[0] for kind in sound_of(source)]
    assert plays(out)


@pytest.mark.parametrize("codec", ["libmp3lame", "libopus", "flac"])
def test_what_browsers_play_in_a_mp4_is_copied(tmp_path: Path, codec: str) -> None:
    out = tmp_path / "out.mp4"
    assert made(make_heard(tmp_path / "clip.mkv", codec), out) == ""
    assert sound_of(out)[0][0] in ("mp3float", "mp3", "opus", "libopus", "flac")
    assert plays(out)


@pytest.mark.parametrize(
    ("rate", "layout", "expected"),
    [
        (5512, "mono", (8000, "mono")),
        (37800, "stereo", (44100, "stereo")),
        (96000, "mono", (48000, "mono")),
        (192000, "mono", (48000, "mono")),
        (48000, "5.1(side)", (48000, "5.1")),
        (48000, "7.1", (48000, "5.1")),
        (48000, "6.1", (48000, "5.1")),
        (48000, "quad", (48000, "4.0")),
    ],
)
def test_rates_and_channels_that_aac_has_not_become_some_that_it_has(
    tmp_path: Path, rate: int, layout: str, expected: tuple[int, str]
) -> None:
    out = tmp_path / "out.mp4"
    assert made(make_heard(tmp_path / "clip.mkv", "pcm_s16le", rate=rate, layout=layout), out) == "pcm_s16le made aac"
    assert sound_of(out) == [("aac", *expected)]
    assert abs(apart(out)) < 0.01


def test_sound_without_a_channel_layout_is_heard(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    made(make_heard(tmp_path / "clip.mov", "pcm_s16le", layout="hexadecagonal"), out)
    assert sound_of(out) == [("aac", 48000, "5.1")]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", ["late.mp4", "late.ts", "late.mkv"])
def test_a_late_beginning_is_moved_to_zero_with_its_sound(tmp_path: Path, name: str, suffix: str) -> None:
    for codec in ("aac", "ac3"):
        source = make_heard(tmp_path / f"{codec}{name}", codec, late_s=Fraction(10))
        out = tmp_path / f"{codec}{suffix}"
        made(source, out)
        assert times_of(out)[0] == 0
        seen, heard = seen_and_heard(out)
        assert seen == pytest.approx(1, abs=0.001)
        assert abs(seen - heard) < 0.01


@pytest.mark.parametrize(("codec", "suffix"), [("aac", ".mp4"), ("ac3", ".mp4"), ("aac", ".mkv"), ("ac3", ".mkv")])
def test_sound_that_begins_later_than_the_pictures_still_does(tmp_path: Path, codec: str, suffix: str) -> None:
    source = make_heard(tmp_path / "clip.ts", codec, sound_late_s=Fraction(1, 2))
    made(source, tmp_path / f"out{suffix}")
    assert abs(apart(tmp_path / f"out{suffix}")) < 0.01
    assert 0.4 < sound_times_of(tmp_path / f"out{suffix}")[0] < 0.6


@pytest.mark.parametrize(("codec", "suffix"), [("aac", ".mp4"), ("ac3", ".mp4"), ("aac", ".mkv"), ("ac3", ".mkv")])
def test_sound_from_before_the_first_picture_is_cut(tmp_path: Path, codec: str, suffix: str) -> None:
    source = make_heard(tmp_path / "clip.ts", codec, sound_late_s=Fraction(-3), at_s=1)
    made(source, tmp_path / f"out{suffix}")
    assert times_of(tmp_path / f"out{suffix}")[0] == 0
    assert sound_times_of(tmp_path / f"out{suffix}")[0] > -0.3
    assert abs(apart(tmp_path / f"out{suffix}")) < 0.01


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_part_of_a_video_has_the_sound_of_that_part_also_where_it_is_made_aac(tmp_path: Path, suffix: str) -> None:
    source, out = make_heard(tmp_path / "clip.mkv", "ac3", seconds=4, at_s=2.6), tmp_path / f"out{suffix}"
    rewrite(source, out, start=Fraction(2), end=Fraction(3))
    assert seen_and_heard(out) == pytest.approx((0.6, 0.6), abs=0.01)
    assert sound_times_of(out)[-1] <= 1


def joined(path: Path, first: Path, second: Path) -> Path:
    """Two transport streams, one after the other, as cameras and recorders make them."""
    path.write_bytes(first.read_bytes() + second.read_bytes())
    return path


def test_aac_that_changes_in_the_middle_is_left_out_from_there_on(
    tmp_path: Path, warnings: Callable[[], list[str]]
) -> None:
    first = make_heard(tmp_path / "a.ts", "aac", rate=44100)
    second = make_heard(tmp_path / "b.ts", "aac", rate=48000, layout="stereo", late_s=Fraction(2))
    source, out = joined(tmp_path / "clip.ts", first, second), tmp_path / "out.mp4"
    made(source, out)
    assert warnings() == [f"{source}: the rest of its sound is left out (its rate or channels change)"]
    assert len(times_of(out)) == 100
    assert plays(out)
    assert 1.9 < sound_times_of(out)[-1] < 2.1


@pytest.mark.parametrize("codec", ["aac", "ac3"])
def test_sound_goes_on_with_the_pictures_where_a_recording_s_clock_starts_again(
    tmp_path: Path, warnings: Callable[[], list[str]], codec: str
) -> None:
    first, second = make_heard(tmp_path / "a.ts", codec, at_s=9), make_heard(tmp_path / "b.ts", codec)
    out = tmp_path / "out.mp4"
    made(joined(tmp_path / "clip.ts", first, second), out)
    assert seen_and_heard(out) == pytest.approx((3, 3), abs=0.1)
    assert abs(apart(out)) < 0.03
    assert len(warnings()) <= 1  # of packets where they meet


def test_two_packets_of_sound_of_one_time_are_both_heard(tmp_path: Path, warnings: Callable[[], list[str]]) -> None:
    """As FFmpeg writes MP4 in fragments of a frame: of two packets the first has the second's time."""
    whole, source, out = make_heard(tmp_path / "whole.mp4", "aac"), tmp_path / "clip.mkv", tmp_path / "out.mp4"
    with av.open(whole) as container, av.open(source, "w") as target:
        twins = {stream.index: target.add_stream_from_template(stream) for stream in container.streams}
        held = None
        for packet in container.demux():
            packet.stream, is_sound = twins[packet.stream_index], packet.stream.type == "audio"
            if is_sound and packet.size and held is None:
                held = packet
                continue
            if is_sound and held is not None:
                held.pts, held.dts = (packet.pts, packet.dts) if packet.size else (held.pts, held.dts)
                target.mux(held)
                held = None
            if packet.size:
                target.mux(packet)
    made(source, out)
    assert warnings() == []
    assert len(sound_times_of(out)) >= len(sound_times_of(whole)) - 1
    assert plays(out)
    assert apart(out) == pytest.approx(apart(whole), abs=0.05)


def test_sound_that_is_made_aac_goes_on_through_changes(tmp_path: Path, warnings: Callable[[], list[str]]) -> None:
    first = make_heard(tmp_path / "a.ts", "ac3", rate=44100, at_s=9)
    second = make_heard(tmp_path / "b.ts", "ac3", rate=48000, layout="5.1(side)", late_s=Fraction(2))
    source, out = joined(tmp_path / "clip.ts", first, second), tmp_path / "out.mp4"
    made(source, out)
    assert warnings() == []
    assert sound_of(out) == [("aac", 44100, "mono")]
    assert plays(out)
    assert abs(apart(out)) < 0.01
    assert 2.8 < seen_and_heard(out)[0] < 3.1


def test_a_hole_in_sound_that_is_made_aac_is_silent_and_moves_nothing(tmp_path: Path) -> None:
    whole = make_heard(tmp_path / "whole.mkv", "pcm_s16le", seconds=4, at_s=3)
    source, out = tmp_path / "clip.mkv", tmp_path / "out.mp4"
    with av.open(whole) as container, av.open(source, "w") as target:
        twins = {stream.index: target.add_stream_from_template(stream) for stream in container.streams}
        for packet in container.demux():
            is_hole = packet.stream.type == "audio" and packet.pts is not None and 1 < packet.pts * packet.time_base < 2
            if packet.size and not is_hole:
                packet.stream = twins[packet.stream_index]
                target.mux(packet)
    made(source, out)
    assert seen_and_heard(out) == pytest.approx((3, 3), abs=0.01)
    gaps = np.diff([float(time) for time in sound_times_of(out)])
    assert gaps.max() < 0.03


@pytest.mark.parametrize(("codec", "suffix"), [("aac", ".ts"), ("ac3", ".mkv"), ("pcm_s16le", ".avi")])
def test_damaged_sound_harms_no_picture_and_what_is_not_taken_is_told(
    tmp_path: Path, codec: str, suffix: str, warnings: Callable[[], list[str]]
) -> None:
    source, out = make_heard(tmp_path / f"clip{suffix}", codec), tmp_path / "out.mp4"
    content, random = bytearray(source.read_bytes()), np.random.default_rng(4)
    with av.open(source) as container:
        places = [packet.pos for packet in container.demux(audio=0) if packet.pos]
    for place in places[3::3]:
        content[place + 20 : place + 60] = random.integers(0, 256, 40, np.uint8).tobytes()
    source.write_bytes(content)
    made(source, out)
    assert len(times_of(out)) >= 45
    assert [kind[0] for kind in sound_of(out)] == ["aac"]
    if codec == "aac":  # the others' decoders make something of everything
        (told,) = warnings()
        assert re.fullmatch(r".*: of its sound [1-9]\d* packets are damaged or out of order", told)


def test_sound_that_nothing_decodes_is_left_out_with_a_warning(
    tmp_path: Path, warnings: Callable[[], list[str]]
) -> None:
    source, out = make_heard(tmp_path / "clip.mkv", "ac3"), tmp_path / "out.mp4"
    source.write_bytes(source.read_bytes().replace(b"A_AC3", b"A_XYZ"))
    made(source, out)
    assert warnings() == [f"{source}: its unknown sound is left out (it cannot be decoded)"]
    assert len(times_of(out)) == 50
    assert sound_of(out) == []


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_what_a_muxer_refuses_in_the_middle_ends_the_sound_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: Callable[[], list[str]], suffix: str
) -> None:
    source, out = make_heard(tmp_path / "clip.mkv", "aac"), tmp_path / f"out{suffix}"

    class Unsorted(sound_tracks.CopiedTrack):
        def take(self, packet: sound_tracks.SoundPacket) -> bool:
            is_kept = super().take(packet)
            for kept in self._packets:
                if kept.pts is not None and kept.pts * kept.time_base > 1:
                    kept.pts = kept.dts = 0
            return is_kept

    monkeypatch.setattr(sound_tracks, "CopiedTrack", Unsorted)
    made(source, out)
    assert warnings() == [f"{source}: the rest of its sound is left out (Invalid argument)"]
    assert len(times_of(out)) == 50
    assert plays(out)


def test_several_tracks_are_each_taken_as_they_can_be(tmp_path: Path) -> None:
    spoken, other = make_heard(tmp_path / "a.mkv", "aac"), make_heard(tmp_path / "b.avi", "pcm_mulaw", rate=8000)
    source, out = tmp_path / "clip.mkv", tmp_path / "out.mp4"
    with av.open(spoken) as one, av.open(other) as two, av.open(source, "w") as target:
        packets = []
        for stream in (*one.streams, two.streams.audio[0]):
            twin = sound_tracks._twin_of(stream, target)
            for packet in (one if stream in one.streams else two).demux(stream):
                if packet.size:
                    packet.stream = twin
                    packets.append(packet)
            one.seek(0)
        for packet in sorted(packets, key=lambda packet: (packet.dts or 0) * packet.time_base):
            target.mux(packet)
    assert made(source, out) == "pcm_mulaw made aac"
    assert sound_of(out) == [("aac", 48000, "mono"), ("aac", 8000, "mono")]
    for track in (0, 1):
        assert seen_and_heard(out, track) == pytest.approx((1, 1), abs=0.01)


def bytes_read() -> int:
    """By this process, as far as the system counts them."""
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.mark.skipif(not os.path.exists("/proc/self/io"), reason="the system does not count")  # noqa: PTH110
@pytest.mark.parametrize("codec", ["aac", "ac3"])
def test_the_track_that_was_played_is_still_and_languages_stay(tmp_path: Path, codec: str) -> None:
    spoken, source, out = make_heard(tmp_path / "a.mkv", codec), tmp_path / "clip.mkv", tmp_path / "out.mp4"
    with av.open(spoken) as container, av.open(source, "w") as target:
        picture, sound = container.streams.video[0], container.streams.audio[0]
        twins = [target.add_stream_from_template(stream) for stream in (picture, sound, sound)]
        twins[1].metadata["language"], twins[1].disposition = "eng", Disposition(0)
        twins[2].metadata["language"], twins[2].disposition = "deu", Disposition.default
        for packet in container.demux():
            for twin in twins[1:] if packet.stream.type == "audio" else twins[:1]:
                if packet.size:
                    packet.stream = twin
                    target.mux(packet)
    made(source, out)
    with av.open(out) as container:
        told = [(track.language, bool(track.disposition & Disposition.default)) for track in container.streams.audio]
    assert told == [("eng", False), ("deu", True)]


def test_a_sound_track_without_sound_does_not_make_it_read_the_whole_file_first(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    pictures, source = make_clip(tmp_path / "a.mkv", cfr(2000), size=(96, 128), picture=noise), tmp_path / "clip.mkv"
    with av.open(pictures) as container, av.open(source, "w") as target:
        twin = target.add_stream_from_template(container.streams.video[0])
        target.add_stream("aac", rate=48000)
        for packet in container.demux(video=0):
            if packet.size:
                packet.stream = twin
                target.mux(packet)
    with open_source(source) as opened:
        frame = next(opened.frames(lambda _: (16, 16)))
        with OverlayVideoSink(tmp_path / "out.mp4", opened.info, redraw, source=source) as sink:
            before = bytes_read()
            sink.write(SegmentedFrame(frame, np.zeros((96, 128), np.uint8)))
            assert bytes_read() - before < source.stat().st_size / 2
    assert sound_of(tmp_path / "out.mp4") == []


def test_what_a_camera_hears_is_recorded_in_step_with_its_pictures(tmp_path: Path) -> None:
    """Its sound comes by itself, ahead of the pictures, and after a lost connection from a clock that began anew."""
    source, out = make_heard(tmp_path / "clip.avi", "pcm_mulaw", rate=8000), tmp_path / "out.mp4"
    with av.open(source) as container:
        sound = list(container.decode(audio=0))
    connections = [HeardSound("pcm_mulaw", 8000, 1), HeardSound("pcm_mulaw", 8000, 1)]
    for connection, apart in zip(connections, (100, 7), strict=True):
        for heard in sound:
            connection.add(Fraction(heard.pts * heard.time_base) + apart, heard)
    with open_source(source) as opened, OverlayVideoSink(out, opened.info, redraw) as sink:
        for frame in opened.frames(lambda _: (16, 16)):
            is_first = frame.index < 20
            moment = Moment(connections[0], frame.time + 100) if is_first else Moment(connections[1], frame.time + 7)
            object.__setattr__(frame, "heard", moment)
            sink.write(SegmentedFrame(frame, np.zeros((48, 64), np.uint8)))
        assert sink.sound == "pcm_mulaw made aac"
    assert seen_and_heard(out) == pytest.approx((1, 1), abs=0.01)
    assert plays(out)
