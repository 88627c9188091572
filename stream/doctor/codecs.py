"""What can be encoded and decoded: pictures are put through each codec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import av
import numpy as np
import onnxruntime

from ..encode.h264 import choose_encoder
from ..errors import OutputError
from .doctor import Finding, State, first_line

_HEIGHT, _WIDTH = 144, 176  # SVT-AV1 takes none below 64
_FRAMES = 4
_H264 = "libx264"

# FFmpeg's decoders, each with an encoder that makes it something to decode, what it is for, and how bad it is that it
# is missing: without the first two, roadmask cannot read what it has written.
_DECODERS: dict[str, tuple[str, str, State]] = {
    "h264": (_H264, "most cameras, and overlays", "problem"),
    "ffv1": ("ffv1", "masks as .mkv", "problem"),
    "hevc": ("libx265", "many phones and dashcams", "warning"),
    "mjpeg": ("mjpeg", "webcams, older dashcams", "warning"),
    "vp9": ("libvpx-vp9", "videos of the web", "warning"),
    "av1": ("libsvtav1", "newer videos of the web", "warning"),
}
# Nothing but speed is asked of those that only make something to decode.
_QUICKLY = {
    "libx265": {"preset": "ultrafast", "x265-params": "pools=none:frame-threads=1:log-level=none"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
    "libsvtav1": {"preset": "12", "svtav1-params": "lp=1"},
}
_OWN_WHEEL = "pip install --force-reinstall --only-binary av av: its FFmpeg has all"


def examine() -> Iterator[Finding]:
    yield h264_encoder()
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        yield nvidia_encoder()
    for name in _DECODERS:
        yield decoder(name)


def h264_encoder() -> Finding:
    """The one of overlays, with their settings."""
    try:
        encoder = choose_encoder("x264", size=(_HEIGHT, _WIDTH))
        _encoded(encoder.name, encoder.options)
    except (OutputError, av.FFmpegError, OSError, ValueError) as exc:
        return Finding("H.264 encoder", "problem", f"no overlay can be made: {first_line(exc)}", _OWN_WHEEL)
    return Finding("H.264 encoder", "ok", f"{encoder.name} encodes (overlays)")


def nvidia_encoder() -> Finding:
    """It takes the place of x264 beside a network on NVIDIA's GPU, where it works."""
    try:
        choose_encoder("nvenc", size=(_HEIGHT, _WIDTH))
    except OutputError as exc:
        return Finding("NVIDIA encoder", "ok", f"x264 is taken instead: {first_line(exc).partition(';')[0]}")
    return Finding("NVIDIA encoder", "ok", "starts, and encodes overlays beside a network on cuda")


def decoder(codec: str) -> Finding:
    """The one that FFmpeg takes for videos of that codec."""
    encoder, purpose, state = _DECODERS[codec]
    title = f"{codec} decoder"
    try:
        name = av.Codec(codec, "r").name
    except ValueError:
        return Finding(title, state, f"not in this FFmpeg ({purpose})", _OWN_WHEEL)
    try:
        # On a thread that ends with it: SVT-AV1 gives the one that it is called on real-time priority where it may.
        with ThreadPoolExecutor(1) as thread:
            video = thread.submit(_encoded, encoder, _QUICKLY.get(encoder, {})).result()
    except (av.FFmpegError, OSError, ValueError):
        return Finding(title, "ok", f"{name}, not tried as nothing here encodes for it ({purpose})")
    try:
        name = _decoded(video)
    except (av.FFmpegError, OSError, ValueError) as exc:
        return Finding(title, state, f"fails: {first_line(exc)} ({purpose})", _OWN_WHEEL)
    return Finding(title, "ok", f"{name} decodes ({purpose})")


def _pictures() -> Iterator[av.VideoFrame]:
    for number in range(_FRAMES):
        planes = np.full((_HEIGHT * 3 // 2, _WIDTH), 64 + 16 * number, np.uint8)
        yield av.VideoFrame.from_ndarray(planes, format="yuv420p")


def _encoded(encoder: str, options: Mapping[str, str]) -> BytesIO:
    """The pictures as a video.

    Raises:
        av.FFmpegError, OSError, ValueError: there is no such encoder here, or it does not work.
    """
    video = BytesIO()
    with av.open(video, "w", format="matroska") as container:
        stream = container.add_stream(encoder, rate=25, width=_WIDTH, height=_HEIGHT, options=dict(options))
        assert isinstance(stream, av.VideoStream)
        stream.pix_fmt = "yuvj420p" if encoder == "mjpeg" else "yuv420p"
        stream.thread_count = 1
        for picture in (*_pictures(), None):
            container.mux(stream.encode(picture))
    video.seek(0)
    return video


def _decoded(video: BytesIO) -> str:
    """The decoder's name.

    Raises:
        av.FFmpegError, OSError, ValueError: it does not give all pictures.
    """
    with av.open(video, "r") as container:
        context = container.streams.video[0].codec_context
        context.thread_count = 1
        if (count := sum(1 for _ in container.decode(video=0))) != _FRAMES:
            raise ValueError(f"{count} pictures of {_FRAMES}")
        return context.codec.name
