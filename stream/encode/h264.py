"""The encoders of the overlay video, and which one to take: x264, or NVIDIA's beside a network on such a GPU."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal, get_args

import av
from av.codec.context import ThreadType

from ..errors import OutputError

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
_TUNED = {DEFAULT_PRESET: {"bf": "0", "mbtree": "1", "rc-lookahead": "5"}}
_ALWAYS = {"x264-params": "cpu-independent=1"}  # otherwise it takes other ways on other processors, to other bytes
_NVIDIA = ("cuda", "tensorrt")


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


def choose_encoder(
    choice: str = "auto",
    *,
    size: tuple[int, int],
    device: str = "cpu",
    crf: int = DEFAULT_CRF,
    preset: str = DEFAULT_PRESET,
) -> H264Encoder:
    """The encoder that `choice` means here.

    Args:
        choice: an `EncoderChoice`. "auto" is x264, but NVIDIA's where the network runs on an NVIDIA GPU that has one.
        size: height and width of the pictures, even.
        device: what the network runs on: "cpu", "cuda", "cuda:1", ...
        crf: quality, 0 (lossless) to 51. NVIDIA's own scale is close to x264's.
        preset: x264's speed. All are x264's own but the default, which is changed to suit overlays.

    Raises:
        OutputError: a value is not known, or the encoder that was named does not work here.
    """
    if choice not in get_args(EncoderChoice):
        raise OutputError(f"encoder {choice!r} is not known; choose {', '.join(get_args(EncoderChoice))}")
    if preset not in get_args(Preset):
        raise OutputError(f"preset {preset!r} is not known; choose {', '.join(get_args(Preset))}")
    if not 0 <= crf <= _WORST_CRF:
        raise OutputError(f"crf {crf} is not between 0 (lossless) and {_WORST_CRF}")
    kind, _, unit = device.partition(":")
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
    return H264Encoder("h264_nvenc", options | ({"gpu": gpu} if gpu else {}), threads=1)
