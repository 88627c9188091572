"""The overlay as H.264: the encoders and which one to take, x264 or NVIDIA's beside a network on such a GPU.

A file is encoded in pieces, each by an encoder of its own, so that none of its pictures depends on another piece.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal, get_args

import av
from av.codec.context import ThreadType
from av.container import OutputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from ..errors import OutputError
from ..frames import Frame, VideoInfo, begins_piece

log = logging.getLogger(__name__)

EncoderChoice = Literal["auto", "x264", "nvenc"]
Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"]
DEFAULT_CRF = 23
DEFAULT_PRESET: Final = "superfast"

_X264: Final = "libx264"
_WORST_CRF = 51
_LONGEST_SIDE = 16384
# The bytes of x264 differ with it, so it is the same on every machine. One thread takes a tenth less of the processor,
# but would hold back a large machine's network; more take more of it where cores are few, and each holds a picture.
_THREADS = 2
# What makes "superfast" fit for overlays, measured by tests/bench/encoder.py. Flat colours whose edges flicker gain
# little from B-frames, which take a quarter of the time. To spend bits on what later pictures use, five ahead (mbtree),
# halves the size of quiet scenes, costs no time, and makes a crf the quality that it is in "veryfast".
# What is left is worth its time, on five clips: without partitions and 8x8dct 0.9 of it, but up to 1.16 times the size
# for the same SSIM; without aq-mode 0.9, but flat colours lose 2 to 3 dB, which shows; subq=0 0.9, but 1.16 to 1.6.
_TUNED = {DEFAULT_PRESET: {"bf": "0", "mbtree": "1", "rc-lookahead": "5"}}
_ALWAYS = {"x264-params": "cpu-independent=1"}  # otherwise it takes other ways on other processors, to other bytes
_NVIDIA = ("cuda", "tensorrt")

USUAL_RATE = Fraction(25)  # for the encoder's rate control only, where the source has none
_KEYFRAME_S = 2  # between keyframes: what a player has to decode to jump, and waits for to join


@dataclass(frozen=True, slots=True)
class H264Encoder:
    """An encoder of FFmpeg, and its settings."""

    name: str  # as FFmpeg calls it
    options: dict[str, str]
    threads: int

    def set_up(self, context: av.VideoCodecContext) -> None:
        """What a codec context must be told beside the options, before it is opened."""
        context.thread_count = self.threads
        # PyAV's default is slices, by the number of cores: each frame cut into so many parts that share nothing.
        context.thread_type = ThreadType.FRAME

    def failure(self, size: tuple[int, int]) -> str | None:
        """Why it cannot encode pictures of this height and width here; `None` if it can."""
        try:
            context = av.CodecContext.create(self.name, "w")
            assert isinstance(context, av.VideoCodecContext)
            context.height, context.width = size
            context.pix_fmt = "yuv420p"
            context.time_base = Fraction(1, 25)
            context.options = dict(self.options)
            self.set_up(context)
            context.open()
        except (av.FFmpegError, OSError, ValueError) as exc:
            return getattr(exc, "strerror", None) or str(exc)
        return None


@dataclass(frozen=True, slots=True)
class Encoding:
    """What is asked of an encoder."""

    encoder: EncoderChoice = "auto"  # x264, but NVIDIA's where the network runs on an NVIDIA GPU that has one
    crf: int = DEFAULT_CRF  # quality, 0 (lossless) to 51; NVIDIA's own scale is close to x264's
    preset: Preset = DEFAULT_PRESET  # x264's speed; all are its own but the default, which is changed to suit overlays
    device: str = "cpu"  # what the network runs on: "cuda", "cuda:1", ...


ANY_ENCODING = Encoding()


def choose_encoder(size: tuple[int, int], wanted: Encoding = ANY_ENCODING) -> H264Encoder:
    """The encoder that this means here, for pictures of this height and width, even.

    Raises:
        OutputError: a value is not known, or the encoder that was named does not work here.
    """
    choice, crf, preset = wanted.encoder, wanted.crf, wanted.preset
    if choice not in get_args(EncoderChoice):
        raise OutputError(f"encoder {choice!r} is not known; choose {', '.join(get_args(EncoderChoice))}")
    if preset not in get_args(Preset):
        raise OutputError(f"preset {preset!r} is not known; choose {', '.join(get_args(Preset))}")
    if not 0 <= crf <= _WORST_CRF:
        raise OutputError(f"crf {crf} is not between 0 (lossless) and {_WORST_CRF}")
    kind, _, unit = wanted.device.partition(":")
    if choice == "nvenc" or (choice == "auto" and kind in _NVIDIA):
        encoder = _nvenc(crf, unit if kind in _NVIDIA else "")
        if (failure := encoder.failure(size)) is None:
            return encoder
        if choice == "nvenc":
            raise OutputError(
                f"encoder nvenc does not start ({failure}); "
                "it needs an NVIDIA GPU that encodes, with its driver; choose x264, which needs none"
            )
        log.info("x264 encodes the overlay: NVIDIA's encoder does not start (%s)", failure)
    if _X264 not in av.codecs_available:
        raise OutputError(f"this FFmpeg has no {_X264}; install PyAV's own wheel (pip install av)")
    if max(size) > _LONGEST_SIDE:
        height, width = size
        raise OutputError(
            f"H.264 has no pictures of {width}x{height}, only up to {_LONGEST_SIDE} on a side; "
            "leave the overlay out: --masks and --stats do without"
        )
    return _x264(crf, preset)


def _x264(crf: int, preset: str) -> H264Encoder:
    options = {"crf": str(crf), "preset": preset} | _TUNED.get(preset, {}) | _ALWAYS
    return H264Encoder(_X264, options, threads=_THREADS)


def _nvenc(crf: int, gpu: str) -> H264Encoder:
    """NVIDIA's encoder at constant quality, as FFmpeg's options call it (`ffmpeg -h encoder=h264_nvenc`)."""
    # FFmpeg's releases differ in whether cq alone lifts its usual 2 Mb/s; "b" of 0 does in all. A cq of 0 means none.
    options = {"preset": "p4", "tune": "hq", "rc": "vbr", "cq": str(max(crf, 1)), "b": "0", "bf": "0"}
    options |= {"forced-idr": "1"}  # a keyframe that is asked for is one that decoding can begin at
    return H264Encoder("h264_nvenc", options | ({"gpu": gpu} if gpu else {}), threads=1)


class KeyTimes:
    """Which pictures, that come at their own pace, are keyframes: `_KEYFRAME_S` apart, whatever rate was declared."""

    def __init__(self) -> None:
        self._last: Fraction | None = None  # seconds, as the next two
        self._key: Fraction | None = None

    def is_due(self, frame: Frame, *, key: bool = False) -> bool:
        """Whether the next picture, drawn from `frame`, is one; `key` makes it one in any case.

        It is where the one after it would come too late.
        """
        gap = frame.time - self._last if self._last is not None else Fraction(0)
        key = key or self._key is None or frame.time + gap > self._key + _KEYFRAME_S
        self._last, self._key = frame.time, frame.time if key else self._key
        return key


class PiecewiseEncoder:
    """Encodes the pictures of `stream`, which `add_video` has made with `encoder`, a piece at a time.

    What is `live` is one piece: no run goes on with it.
    """

    def __init__(self, stream: VideoStream, encoder: H264Encoder, *, live: bool) -> None:
        self._stream = stream
        self._encoder = encoder
        self._live = live
        self._context: VideoCodecContext | None = None
        self._pictures = 0
        self._last_dts: Fraction | None = None  # seconds

    def encode(self, picture: av.VideoFrame | None) -> list[Packet[VideoStream]]:
        """The packets that are ready once `picture` is taken; `None` asks for the rest."""
        packets = []
        is_over = picture is None or (begins_piece(self._pictures) and not self._live)
        if self._context is not None and is_over:
            packets = self._context.encode(None)
            self._context = None
        if picture is not None:
            self._context = self._context or self._new_context()
            packets += self._context.encode(picture)
            self._pictures += 1
        for packet in packets:
            self._place(packet)
        return packets

    def take_over(self, packet: Packet[VideoStream]) -> Packet[VideoStream]:
        """A packet of an earlier file with the same encoder, in its turn."""
        self._pictures += 1
        self._place(packet)
        return packet

    def _place(self, packet: Packet[VideoStream]) -> None:
        """Into the stream; where encoders follow each other, decoding times may meet."""
        packet.stream = self._stream
        if packet.dts is None:
            return
        unit = packet.time_base
        if self._last_dts is not None and packet.dts * unit <= self._last_dts:
            packet.dts = math.floor(self._last_dts / unit) + 1
        self._last_dts = packet.dts * unit

    def _new_context(self) -> VideoCodecContext:
        stream = self._stream.codec_context
        context = av.CodecContext.create(self._encoder.name, "w")
        assert isinstance(context, VideoCodecContext)
        context.width, context.height, context.pix_fmt = stream.width, stream.height, stream.pix_fmt
        context.time_base, context.framerate = stream.time_base, stream.framerate
        context.gop_size = stream.gop_size
        context.sample_aspect_ratio = stream.sample_aspect_ratio
        context.color_range, context.colorspace = stream.color_range, stream.colorspace
        context.color_primaries, context.color_trc = stream.color_primaries, stream.color_trc
        context.flags = stream.flags  # whether the container wants the header apart
        context.options = dict(self._encoder.options)
        self._encoder.set_up(context)
        return context


def add_video(container: OutputContainer, encoder: H264Encoder, picture: VideoFrame, info: VideoInfo) -> VideoStream:
    """A stream for pictures like this one, as drawn, with the times, the colours and the pixel shape of the source."""
    rate = info.rate or USUAL_RATE
    stream = container.add_stream(
        encoder.name, rate=rate, options=encoder.options, width=picture.width, height=picture.height
    )
    assert isinstance(stream, VideoStream)
    stream.pix_fmt = "yuv420p"
    # `rate` alone would make the encoder round every time to a multiple of 1/rate.
    stream.time_base = info.time_base
    context = stream.codec_context
    encoder.set_up(context)
    context.time_base = info.time_base
    # A camera's rate is but what it declares: see `KeyTimes`.
    context.gop_size = max(round(max(rate, USUAL_RATE if info.live else 0) * _KEYFRAME_S), 1)
    context.sample_aspect_ratio = info.sample_aspect_ratio
    context.color_range, context.colorspace = picture.color_range, picture.colorspace
    context.color_primaries, context.color_trc = picture.color_primaries, picture.color_trc
    return stream


def stamp(picture: VideoFrame, frame: Frame, *, shift: int = 0, key: bool = False) -> None:
    """Make a drawn picture ready for the encoder: its time is the frame's, `shift` earlier; `key` makes it a keyframe.

    What is left from the source's encoder would be an order to ours.
    """
    picture.pts = frame.pts - shift
    picture.time_base = frame.time_base
    picture.pict_type = PictureType.I if key else PictureType.NONE
