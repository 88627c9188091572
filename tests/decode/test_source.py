"""Reading video files: every frame once, at its time, upright, in the right colours."""

from __future__ import annotations

import gc
import itertools
import shutil
import weakref
from collections.abc import Iterable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from roadmask.stream.decode.source import open_source
from roadmask.stream.errors import SourceError
from roadmask.stream.frames import Frame
from tests.support.clips import RATE, TICK, cfr, make_clip

SIZE = (32, 48)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", cfr(50))


def frames_of(path: Path, **options: object) -> list[Frame]:
    with open_source(path, **options) as source:  # type: ignore[arg-type]
        return list(source.frames(lambda _: SIZE))


def indices(frames: list[Frame]) -> list[int]:
    return [frame.index for frame in frames]


def test_every_frame_comes_once_with_its_own_time(clip: Path) -> None:
    frames = frames_of(clip)
    assert indices(frames) == list(range(50))
    assert [frame.time for frame in frames] == [Fraction(number, 25) for number in range(50)]
    # The frames of a clip are 2 levels apart; x264 may be off by one.
    assert all(abs(frame.input.mean() - 40 - 2 * frame.index) <= 1 for frame in frames)
    assert all(frame.input.shape == (*SIZE, 3) and frame.input.flags.c_contiguous for frame in frames)


@pytest.mark.parametrize(
    "pts",
    [
        cfr(20, first=512 * 30 + 7),
        list(itertools.accumulate([0, 512, 513, 1, 9000, 51200, 300, 512])),
    ],
    ids=["offset", "variable rate"],
)
def test_times_are_those_of_the_container(tmp_path: Path, pts: list[int]) -> None:
    frames = frames_of(make_clip(tmp_path / "clip.mp4", pts))
    assert [frame.time for frame in frames] == [time * TICK for time in pts]


def test_info_says_what_the_file_declares(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", cfr(50), sound_s=[1], sample_aspect_ratio=Fraction(4, 3))
    with open_source(path) as source:
        info = source.info
    assert (info.width, info.height, info.rate, info.frame_count) == (64, 48, RATE, 50)
    assert (info.duration, info.sample_aspect_ratio, info.codec) == (2, Fraction(4, 3), "h264")
    # Not what PyAV 19 has in their place, which Python cannot round, print by a format, or divide without a rest.
    assert {type(info.rate), type(info.duration), type(info.time_base), type(info.sample_aspect_ratio)} == {Fraction}
    assert info.has_audio
    assert not info.live


def test_a_range_is_half_open_and_keeps_the_true_indices(clip: Path) -> None:
    assert indices(frames_of(clip, start=Fraction(2, 5), end=Fraction(4, 5))) == list(range(10, 20))
    assert indices(frames_of(clip, start=Fraction(2, 5), end=Fraction(4, 5), stride=4)) == [10, 14, 18]
    assert indices(frames_of(clip, stride=4, max_frames=3)) == [0, 4, 8]


def test_a_range_counts_from_the_first_frame_not_from_the_clock(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", cfr(20, first=51200))
    assert indices(frames_of(path, start=Fraction(2, 5))) == list(range(10, 20))


def test_a_range_after_the_end_is_an_error(clip: Path) -> None:
    with pytest.raises(SourceError, match=r"clip\.mp4: no frame from 60 s on; the video is shorter"):
        frames_of(clip, start=Fraction(60))


def test_a_range_between_two_frames_is_an_error_that_says_so(tmp_path: Path) -> None:
    """As of a drive in time lapse."""
    clip = make_clip(tmp_path / "clip.mp4", [12_800 * second for second in range(5)])
    with pytest.raises(SourceError, match=r"no frame from 1.2 to 1.8 s; lower --start, or raise --end"):
        frames_of(clip, start=Fraction(6, 5), end=Fraction(9, 5))


QUARTERS = np.zeros((64, 96, 3), np.uint8)  # four greys, all different, so that each orientation looks its own


QUARTERS[:32, :48], QUARTERS[:32, 48:], QUARTERS[32:, :48], QUARTERS[32:, 48:] = 40, 90, 150, 210


@pytest.mark.parametrize("flips", [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_pictures_are_upright_whatever_the_display_matrix(
    tmp_path: Path, degrees: int, flips: tuple[bool, bool]
) -> None:
    path = make_clip(tmp_path / "clip.mp4", cfr(3), size=(64, 96), rotation=degrees, flips=flips, picture=QUARTERS)
    expected = np.rot90(QUARTERS, degrees // 90)
    expected = expected[:: -1 if flips[1] else 1, :: -1 if flips[0] else 1]
    height, width = expected.shape[:2]
    with open_source(path) as source:
        assert (source.info.height, source.info.width) == (height, width)
        for frame in source.frames(lambda _: (height, width)):
            assert (frame.picture.height, frame.picture.width) == (height, width)
            # x264 leaves flat areas within a few levels; the block that an edge runs through is not flat.
            seen = frame.input[8::16, 8::16].astype(int)
            assert np.abs(seen - expected[8::16, 8::16]).max() <= 4


def test_a_turned_picture_keeps_its_time_and_turns_its_pixel_shape(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", cfr(3), rotation=90, sample_aspect_ratio=Fraction(4, 3))
    with open_source(path) as source:
        assert source.info.sample_aspect_ratio == Fraction(3, 4)
        assert source.info.rotation == 90
        assert [frame.picture.pts for frame in source.frames(lambda _: SIZE)] == cfr(3)


def damaged(path: Path, first: float, last: float) -> Path:
    """Overwrite a part of the file, given as shares of its length."""
    content = bytearray(path.read_bytes())
    start, stop = int(len(content) * first), int(len(content) * last)
    content[start:stop] = bytes(0xA5 for _ in range(stop - start))
    path.write_bytes(content)
    return path


def spoil_packets(path: Path, numbers: Iterable[int]) -> None:
    """Fill some of the packets of an intra-coded clip with zeros."""
    content = path.read_bytes()
    with av.open(path) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    for number in numbers:
        position = content.index(packets[number])
        content = content[:position] + bytes(len(packets[number])) + content[position + len(packets[number]) :]
    path.write_bytes(content)


def test_damage_in_the_middle_does_not_end_the_video(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8)
    path = damaged(make_clip(tmp_path / "clip.mkv", cfr(100), picture=noise), 0.4, 0.5)
    with open_source(path) as source:
        frames = list(source.frames(lambda _: SIZE))
    assert frames[0].time == 0
    assert frames[-1].time == Fraction(99, 25)
    times = [frame.pts for frame in frames]
    assert all(earlier < later for earlier, later in itertools.pairwise(times))


def test_a_truncated_file_gives_the_frames_it_has(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mkv", cfr(50))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    frames = frames_of(path)
    assert 10 < len(frames) < 50


def test_undecodable_packets_are_counted_and_no_frame_at_all_is_an_error(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "night.avi", cfr(31), codec="mjpeg")
    spoil_packets(path, range(31))
    with pytest.raises(SourceError, match=r"night\.avi: no frame could be decoded \(31 corrupt packets\); is the file"):
        open_source(path)


def test_one_undecodable_packet_is_counted(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.avi", cfr(31), codec="mjpeg")
    spoil_packets(path, [7])
    with open_source(path) as source:
        assert len(list(source.frames(lambda _: SIZE))) == 30
        assert source.undecodable == 1


def moving_clip(path: Path, codec: str, *, options: dict[str, str], empty: tuple[int, ...] = ()) -> Path:
    """60 frames of which the encoder makes packets; those at the `empty` places are left without content."""
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    with av.open(path, "w", container_options=options) as container:
        stream = container.add_stream(codec, rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 64, 48, "yuv420p", 10
        for number in range(60):
            picture = av.VideoFrame.from_ndarray(np.roll(noise, number, axis=1), "rgb24")
            picture.pts, picture.time_base = number, Fraction(1, 25)
            for packet in stream.encode(picture):
                if number in empty:
                    hollow = av.Packet(b"")
                    hollow.stream, hollow.time_base, hollow.pts, hollow.dts = (
                        stream,
                        packet.time_base,
                        packet.pts,
                        packet.dts,
                    )
                    container.mux(hollow)
                else:
                    container.mux(packet)
        container.mux(stream.encode())
    return path


def test_packets_without_content_are_neither_frames_nor_damage(tmp_path: Path) -> None:
    clip = moving_clip(tmp_path / "clip.nut", "mpeg4", options={}, empty=(3, 30))
    with av.open(clip) as container:
        assert sum(not packet.size and packet.dts is not None for packet in container.demux(video=0)) == 2
    with open_source(clip) as source:
        numbers = [frame.index for frame in source.frames(lambda _: SIZE)]
    assert (numbers, source.undecodable) == (list(range(58)), 0)


@pytest.mark.parametrize("ahead", [False, True], ids=["one at a time", "several"])
@pytest.mark.parametrize("share", [0.4, 0.5, 0.6, 0.7, 0.8])
def test_a_file_cut_in_the_middle_of_a_packet_gives_all_before_it(
    tmp_path: Path, share: float, monkeypatch: pytest.MonkeyPatch, *, ahead: bool
) -> None:
    if ahead:
        monkeypatch.setattr("roadmask.stream.decode.decoder.MOST_AT_A_TIME", 0)
    clip = moving_clip(tmp_path / "clip.mp4", "libx264", options={"movflags": "faststart"})
    clip.write_bytes(clip.read_bytes()[: int(clip.stat().st_size * share)])
    expected = []
    with av.open(clip) as container:
        container.streams.video[0].thread_type = "NONE"
        for packet in container.demux(video=0):
            with suppress(av.FFmpegError):
                expected += [picture.pts for picture in packet.decode()]
    with open_source(clip) as source:
        assert [frame.pts for frame in source.frames(lambda _: SIZE)] == expected


def test_what_is_not_a_video_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_bytes(b"\xfe\x00not a video")
    with pytest.raises(SourceError, match=r"notes\.mp4: not a video that can be read \(Invalid data") as caught:
        open_source(tmp_path / "notes.mp4")
    assert isinstance(caught.value.__cause__, av.FFmpegError)
    with pytest.raises(SourceError, match=r"gone\.mp4: no such file"):
        open_source(tmp_path / "gone.mp4")
    with pytest.raises(SourceError, match="is a folder, not a video"):
        open_source(tmp_path)


def test_sound_without_a_picture_is_not_a_video(tmp_path: Path) -> None:
    with (
        av.open(make_clip(tmp_path / "clip.mp4", cfr(3), sound_s=[1])) as clip,
        av.open(tmp_path / "a.m4a", "w") as out,
    ):
        track = out.add_stream_from_template(clip.streams.audio[0])
        for packet in clip.demux(audio=0):
            if packet.dts is not None:
                packet.stream = track
                out.mux(packet)
    with pytest.raises(SourceError, match=r"a\.m4a: holds no video"):
        open_source(tmp_path / "a.m4a")


def test_a_cover_picture_is_not_the_video(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with av.open(path, "w") as container:
        cover = container.add_stream("mjpeg", rate=25, width=640, height=480)
        video = container.add_stream("libx264", rate=25, width=64, height=48)
        cover.pix_fmt, cover.disposition = "yuvj420p", Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame(640, 480, "yuvj420p")))
        for _ in range(5):
            container.mux(video.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(video.encode(None))
    with open_source(path) as source:
        assert (source.info.width, source.info.codec) == (64, "h264")
        assert len(list(source.frames(lambda _: SIZE))) == 5


def test_a_frame_asked_for_after_closing_is_not_a_crash(clip: Path) -> None:
    with open_source(clip) as source:
        frames = source.frames(lambda _: SIZE)
        next(frames)
    assert list(frames) == []


def test_a_name_with_a_percent_sign_or_colon_is_a_file(clip: Path, tmp_path: Path) -> None:
    odd = tmp_path / "12:30 %03d.mp4"
    shutil.copy(clip, odd)
    assert len(frames_of(odd, max_frames=2)) == 2


def test_pictures_are_freed_without_the_garbage_collector(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", cfr(30))
    gc.collect()
    before = sum(type(item) is av.VideoFrame for item in gc.get_objects())
    gc.disable()  # 4K pictures that wait for it are gigabytes
    try:
        with open_source(clip) as source:
            for _ in source.frames(lambda _: (32, 32)):
                pass
        # `type`, as `isinstance` would wake what other packages deprecate.
        alive = sum(type(item) is av.VideoFrame for item in gc.get_objects())
        assert alive - before < 10, "the first, the last, and what the scaler holds; not all thirty"
    finally:
        gc.enable()


def test_a_closed_source_is_freed_at_once(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", cfr(5))
    gc.disable()  # a decoder's buffers must not wait for it
    try:
        with open_source(clip) as source:
            next(source.frames(lambda _: (32, 32)))
            alive = weakref.ref(source)
        del source
        assert alive() is None
    finally:
        gc.enable()
