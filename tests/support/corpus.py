"""More than a hundred awkward files, made where they are needed, and what is to become of each.

`CASES` is the table. Videos have 25 frames of 64x48 at 25 a second where a case does not say otherwise; they are noise
that moves, so that a cut takes frames away.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from av.stream import Disposition

from tests.support.awkward_files import (
    Make,
    cut,
    cut_behind,
    field,
    joined,
    noisy,
    remuxed,
    retimed,
    sound,
    still,
    streams,
    text,
    video,
    with_cover,
    with_sound,
    without,
    zeroed,
)

State = Literal["done", "partial", "failed"]


@dataclass(frozen=True, slots=True)
class Case:
    """A file, and what is to become of it."""

    name: str
    make: Make
    state: State
    frames: int  # that come out
    says: str = ""  # in the line that tells what was lost, or why it failed
    size: tuple[int, int] = (48, 64)  # of the masks: height, width
    beyond_ffmpeg: bool = False  # the command line gives up such a file, or opens what it should not

    def __str__(self) -> str:
        return self.name


H264 = video("libx264")


FAST = video("libx264", muxer={"movflags": "faststart"}, max_b_frames=2)


FRAGMENTS = video("libx264", muxer={"movflags": "frag_keyframe+empty_moov"})


MPEG4 = video("mpeg4")


LOSSLESS = video("ffv1")


BT2020_PQ = {"colorspace": 9, "color_primaries": 9, "color_trc": 16, "color_range": 1}


CASES = (
    # Containers and codecs
    Case("h264.mp4", H264, "done", 25),
    Case("faststart.mp4", FAST, "done", 25),
    Case("fragments.mp4", FRAGMENTS, "done", 25),
    Case("h264.mov", H264, "done", 25),
    Case("h264.mkv", H264, "done", 25),
    Case("h264.avi", H264, "done", 25),
    Case("h264.ts", H264, "done", 25),
    Case("h264.m2ts", H264, "done", 25),
    Case("h264.flv", H264, "done", 25),
    Case("raw.h264", H264, "done", 25),
    Case("b_frames.mkv", video("libx264", max_b_frames=3), "done", 25),
    Case("hevc.mp4", video("libx265", options={"x265-params": "log-level=none"}), "done", 25),
    Case("raw.hevc", video("libx265", options={"x265-params": "log-level=none"}), "done", 25),
    Case("vp8.webm", video("libvpx"), "done", 25),
    Case("altref.webm", video("libvpx", options={"auto-alt-ref": "1", "lag-in-frames": "10"}), "done", 25),
    Case("vp9.webm", video("libvpx-vp9"), "done", 25),
    Case("vp9.ivf", video("libvpx-vp9"), "done", 25),
    Case("mpeg4.avi", MPEG4, "done", 25),
    Case("mpeg4.3gp", MPEG4, "done", 25),
    Case("mpeg2.mpg", video("mpeg2video"), "done", 25),
    Case("mpeg2.ts", video("mpeg2video"), "done", 25),
    Case("mpeg2.mxf", video("mpeg2video"), "done", 25),
    Case("mpeg1.mpeg", video("mpeg1video"), "done", 25),
    Case("wmv2.wmv", video("wmv2"), "done", 25),
    Case("msmpeg4.asf", video("msmpeg4v3"), "done", 25),
    Case("sorenson.flv", video("flv"), "done", 25),
    Case("vp8.ogv", video("libvpx", kind="ogg"), "done", 25),
    Case("jpeg.avi", video("mjpeg", "yuvj420p"), "done", 25),
    Case("jpeg.mov", video("mjpeg", "yuvj422p"), "done", 25),
    Case("raw.mjpeg", video("mjpeg", "yuvj420p"), "done", 25),
    Case("prores.mov", video("prores_ks", "yuv422p10le"), "done", 25),
    Case("ffv1.nut", LOSSLESS, "done", 25),
    Case("uncompressed.avi", video("rawvideo"), "done", 25),
    Case("uncompressed.y4m", video("rawvideo", kind="yuv4mpegpipe"), "done", 25),
    Case("huffyuv.avi", video("huffyuv", "yuv422p"), "done", 25),
    Case("jpeg2000.mov", video("jpeg2000", frames=4), "done", 4),
    Case("animated.gif", video("gif", "rgb8"), "done", 25),
    Case("animated.apng", video("apng", "rgba"), "done", 25),
    Case("interlaced.mpg", video("mpeg2video", options={"flags": "+ilme+ildct"}), "done", 25),
    Case("interlaced.ts", video("libx264", options={"x264-params": "tff=1"}), "done", 25),
    Case("open_gop.ts", video("libx264", max_b_frames=2, options={"x264-params": "open-gop=1"}), "done", 25),
    Case("pcm.mov", with_sound("mpeg4", "pcm_s16le", "s16"), "done", 25),
    Case("one_frame.mp4", video("libx264", frames=1), "done", 1),
    Case("two_frames.mkv", video("libx264", frames=2), "done", 2),
    # Pictures
    Case("still.png", still(".png"), "done", 1),
    Case("alpha.png", still(".png", channels=4), "done", 1),
    Case("gray.png", still(".png", channels=1), "done", 1),
    Case("deep.png", still(".png", pixels=np.uint16), "done", 1),
    Case("still.jpg", still(".jpg"), "done", 1),
    Case("still.bmp", still(".bmp"), "done", 1),
    Case("still.tiff", still(".tiff"), "done", 1),
    Case("still.webp", still(".webp"), "done", 1),
    # Pixels
    Case("gray.mkv", video("ffv1", "gray"), "done", 25),
    Case("gray16.mkv", video("ffv1", "gray16le"), "done", 25),
    Case("rgb.mkv", video("ffv1", "bgr0"), "done", 25),
    Case("rgba.mov", video("png", "rgba"), "done", 25),
    Case("rgb48.mov", video("png", "rgb48be"), "done", 25),
    Case("gray_alpha.mov", video("png", "ya8"), "done", 25),
    Case("palette.mov", video("qtrle", "rgb555be"), "done", 25),
    Case("422.mkv", video("ffv1", "yuv422p"), "done", 25),
    Case("444.mkv", video("ffv1", "yuv444p"), "done", 25),
    Case("411.mkv", video("ffv1", "yuv411p"), "done", 25),
    Case("410.mkv", video("ffv1", "yuv410p"), "done", 25),
    Case("alpha.mkv", video("ffv1", "yuva420p"), "done", 25),
    Case("alpha.webm", video("libvpx-vp9", "yuva420p"), "done", 25),
    Case("422_10.mkv", video("ffv1", "yuv422p10le"), "done", 25),
    Case("444_12.mkv", video("ffv1", "yuv444p12le"), "done", 25),
    Case("420_16.mkv", video("ffv1", "yuv420p16le"), "done", 25),
    Case("h264_10.mp4", video("libx264", "yuv420p10le"), "done", 25),
    Case("h264_444.mp4", video("libx264", "yuv444p"), "done", 25),
    Case("packed.avi", video("rawvideo", "yuyv422"), "done", 25),
    Case("pq.mkv", video("libx265", "yuv420p10le", options={"x265-params": "log-level=none"}, **BT2020_PQ), "done", 25),
    Case("full_range.mp4", video("libx264", color_range=2), "done", 25),
    # Sizes and shapes
    Case("odd.mkv", video("ffv1", "yuv444p", size=(47, 63)), "done", 25, size=(47, 63)),
    Case("odd_420.mkv", video("ffv1", size=(33, 17)), "done", 25, size=(33, 17)),
    Case("1x1.mkv", video("ffv1", "yuv444p", size=(1, 1)), "done", 25, size=(1, 1)),
    Case("2x2.mkv", video("ffv1", size=(2, 2)), "done", 25, size=(2, 2)),
    Case("wide.mkv", video("ffv1", "yuv444p", size=(2, 8000), frames=3), "done", 3, size=(2, 8000)),
    Case("high.mkv", video("ffv1", "yuv444p", size=(8000, 2), frames=3), "done", 3, size=(8000, 2)),
    Case("wider.mkv", video("ffv1", "gray", size=(2, 20000), frames=1), "failed", 0, "up to 16384 on a side"),
    Case("huge.mkv", video("ffv1", "gray", size=(5000, 5000), frames=1), "failed", 0, "--max-pixels 16777216"),
    Case("turned_90.mp4", video("libx264", rotation=90), "done", 25, size=(64, 48)),
    Case("turned_180.mov", video("libx264", rotation=180), "done", 25),
    Case("turned_270.mp4", video("libx264", rotation=270), "done", 25, size=(64, 48)),
    Case("mirrored.mp4", video("libx264", mirrored=True), "done", 25),
    Case("wide_pixels.mp4", video("libx264", sample_aspect_ratio=Fraction(2)), "done", 25),
    Case("absurd_pixels.mkv", video("ffv1", sample_aspect_ratio=Fraction(1, 30000)), "done", 25),
    Case("size_changes.h264", joined(H264, video("libx264", size=(32, 48)), H264), "done", 75),
    Case(
        "size_changes.mjpeg", joined(video("mjpeg", "yuvj420p"), video("mjpeg", "yuvj420p", size=(31, 45))), "done", 50
    ),
    Case("pixels_change.mjpeg", joined(video("mjpeg", "yuvj420p"), video("mjpeg", "yuvj444p")), "done", 50),
    # Streams
    Case("two_streams.mkv", streams((48, 64), (32, 48)), "done", 25),
    Case("larger_second.mkv", streams((32, 48), (48, 64)), "done", 25),
    Case("default_second.mkv", streams((64, 96), (48, 64), default=1), "done", 25),
    Case("cover_first.mp4", with_cover, "done", 25, beyond_ffmpeg=True),
    Case("cover_as_video.mp4", lambda path: with_cover(path, Disposition.default), "done", 25, beyond_ffmpeg=True),
    Case("cover_alone.mp4", remuxed(video("mjpeg", "yuvj420p", frames=1), list, cover=True), "failed", 0, "no video"),
    # Times
    Case("varying.mkv", video("ffv1", pts=[n * n for n in range(25)], base=Fraction(1, 1000)), "done", 25),
    Case("from_10_s.mkv", video("ffv1", pts=range(10_000, 11_000, 40), base=Fraction(1, 1000)), "done", 25),
    Case("gap.ts", video("mpeg2video", pts=[*range(12), *range(5000, 5013)]), "done", 25),
    Case("negative.nut", video("ffv1", pts=range(-10, 15)), "done", 25),
    Case("equal.mkv", retimed(LOSSLESS, lambda number, _: number // 2 * 80), "done", 25),
    Case("all_equal.avi", retimed(MPEG4, lambda _, __: 0), "done", 25),
    Case("back.ts", joined(video("mpeg2video", kind="mpegts"), video("mpeg2video", kind="mpegts")), "done", 50),
    Case("slow.mp4", video("libx264", pts=range(0, 250, 10)), "done", 25),
    Case("fast.mkv", video("ffv1", base=Fraction(1, 1000)), "done", 25),
    Case("edit_list.mp4", remuxed(FAST, lambda packets: packets[5:], movflags="faststart"), "done", 20),
    Case(
        "edit_list_beyond.mp4",
        field(FAST, b"elst", 12, struct.pack(">i", 10**6)),
        "failed",
        0,
        "no frame could be decoded (25 declared: all left out by an edit list)",
    ),
    Case("joined.mp4", joined(FAST, FAST), "done", 25, "has another video behind the first, which is not read"),
    # Damage. Where a container declares no length, and what is there decodes, nothing is known to be lost.
    Case(
        "cut.mp4", cut(FAST, 0.6), "partial", 15, "1 undecodable packet, ends 0.4 s before the length that it declares"
    ),
    Case("cut_fragments.mp4", cut(FRAGMENTS, 0.6), "partial", 15, "1 undecodable packet"),
    Case(
        "cut_head_of_a_fragment.mp4",
        cut_behind(FRAGMENTS, b"moof", 32),
        "partial",
        20,
        "cut off in the head of a fragment, and read up to there",
    ),
    Case("cut.mkv", cut(H264, 0.6), "partial", 15, "before the length that it declares"),
    Case("cut.avi", cut(MPEG4, 0.6), "partial", 3, "1 damaged frame"),
    Case("cut.ts", cut(H264, 0.6), "done", 15),
    Case("cut.flv", cut(H264, 0.6), "partial", 15, "before the length"),
    Case("cut.mpg", cut(video("mpeg2video"), 0.6), "partial", 9, "2 damaged frames"),
    Case("cut.webm", cut(video("libvpx"), 0.6), "partial", 14, "before the length"),
    Case("cut.wmv", cut(video("wmv2"), 0.6), "partial", 11, "1 damaged frame"),
    Case("cut.ogv", cut(video("libvpx", kind="ogg"), 0.6), "done", 11),
    Case("no_index.mp4", cut(H264, 0.6), "failed", 0, "not a video that can be read: cut off before its index"),
    Case("no_index.avi", cut(video("mjpeg", "yuvj420p"), 0.9), "partial", 22, "before the length"),
    Case("no_header.ts", cut(H264, 1, begin=0.3), "partial", 15, "4 undecodable packets"),
    Case("no_header.mpg", cut(video("mpeg2video"), 1, begin=0.3), "partial", 20, "2 undecodable packets"),
    Case("no_header.mkv", cut(H264, 1, begin=0.1), "failed", 0, "is the file complete?"),
    Case("mid_gop.mkv", remuxed(H264, lambda packets: packets[3:]), "partial", 20, "2 undecodable packets"),
    Case("lost_packets.mkv", remuxed(H264, lambda packets: packets[:8] + packets[12:]), "done", 21),
    Case("zeros.mp4", zeroed(FAST, 0.5, 0.6), "partial", 20, "1 damaged frame"),
    Case("zeros.mkv", zeroed(MPEG4, 0.5, 0.6), "partial", 10, "1 damaged frame"),
    Case("zeros.ts", zeroed(H264, 0.5, 0.6), "partial", 21, "1 damaged frame"),
    Case("zeros_at_the_end.mp4", zeroed(FAST, 0.6, 1), "partial", 16, "undecodable"),
    Case("noise.mkv", noisy(video("ffv1")), "partial", 24, "1 undecodable packet"),
    Case("noise.avi", noisy(MPEG4), "partial", 25, "damaged"),
    Case("noise.ts", noisy(video("mpeg2video")), "partial", 24, "1 damaged frame"),
    Case("noise.mjpeg", noisy(video("mjpeg", "yuvj420p")), "done", 25),
    Case("hole.ts", without(H264, 0.4, 0.55), "done", 22),
    Case("hole.h264", without(H264, 0.4, 0.55), "partial", 24, "1 damaged frame"),
    Case("hole.mpg", without(video("mpeg2video"), 0.4, 0.55), "partial", 13, "2 damaged frames"),
    Case("wrong_size.mp4", field(FAST, b"avc1", 24, struct.pack(">2H", 640, 480)), "done", 25),
    Case("wrong_size.avi", field(MPEG4, b"strf", 8, struct.pack("<2I", 8, 8)), "done", 25),
    Case("wrong_count.avi", field(MPEG4, b"avih", 20, struct.pack("<I", 100_000)), "done", 25),
    Case("wrong_rate.avi", field(MPEG4, b"strh", 24, struct.pack("<2I", 1, 0)), "done", 25),
    # Not videos
    Case("empty.mp4", text(b""), "failed", 0, "the file is empty"),
    Case("text.mp4", text("Not a video.\n" * 20), "failed", 0, "but text"),
    Case("zip.mp4", text(b"PK\3\4" + bytes(26)), "failed", 0, "files in an archive; unpack it"),
    Case("random.mp4", text(np.random.default_rng(1).bytes(5000)), "failed", 0, "not a video"),
    Case("zeros_only.mp4", text(bytes(5000)), "failed", 0, "not a video"),
    Case("list.m3u8", text("#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"), "failed", 0, "a playlist", beyond_ffmpeg=True),
    Case("list.mp4", text("ffconcat version 1.0\nfile h264.mp4\n"), "failed", 0, "a list of files", beyond_ffmpeg=True),
    Case("session.sdp", text("v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\n"), "failed", 0, "a network stream"),
    Case("sound.mp4", sound, "failed", 0, "holds no video"),
    Case("folder.mp4", lambda path: path.mkdir(), "failed", 0, "no videos in this folder"),
    Case("subtitles.srt", text("1\n00:00:00,000 --> 00:00:01,000\nhello\n"), "failed", 0, "no video"),
    # Names
    Case("-leading dash.mp4", H264, "done", 25),
    Case("a colon: and more.mp4", H264, "done", 25),
    Case("per%cent %03d.mp4", H264, "done", 25),
    Case("Straße, дорога, 道.mp4", H264, "done", 25),
    Case("x" * 180 + ".mp4", H264, "done", 25),
    Case("a line\nand another.mp4", H264, "done", 25),
    Case("no suffix", video("libx264", kind="mp4"), "done", 25),
    Case("UPPER.MP4", video("libx264", kind="mp4"), "done", 25),
    Case("wrong suffix.avi", video("libx264", kind="mp4"), "done", 25),
)
