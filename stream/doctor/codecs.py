"""What can be encoded and decoded with this FFmpeg. `selftest` puts real pictures through what every run needs."""

from __future__ import annotations

from collections.abc import Iterator

import av
import onnxruntime

from ..encode.h264 import choose_encoder
from ..errors import OutputError
from .doctor import Finding, State, first_line

_SIZE = 144, 176
# What FFmpeg decodes, by its decoders' names, what each is for, and how bad it is that it is missing: without the first
# two, roadmask cannot read what it has written. FFmpeg's own `av1` only passes pictures on to a graphics card.
_DECODERS: dict[str, tuple[tuple[str, ...], str, State]] = {
    "h264": (("h264",), "most cameras, and overlays", "problem"),
    "ffv1": (("ffv1",), "masks as .mkv", "problem"),
    "hevc": (("hevc",), "many phones and dashcams", "warning"),
    "mjpeg": (("mjpeg",), "webcams, older dashcams", "warning"),
    "vp9": (("vp9", "libvpx-vp9"), "videos of the web", "warning"),
    "av1": (("libdav1d", "libaom-av1"), "newer videos of the web", "warning"),
}
_OWN_WHEEL = "pip install --force-reinstall --only-binary av av: its FFmpeg has all"


def codecs() -> Iterator[Finding]:
    try:
        failure = choose_encoder("x264", size=_SIZE).failure(_SIZE)
    except OutputError as exc:
        failure = first_line(exc)
    if failure:
        yield Finding("H.264 encoder", "problem", f"no overlay can be made: {failure}", _OWN_WHEEL)
    else:
        yield Finding("H.264 encoder", "ok", "x264 starts (overlays)")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        try:
            choose_encoder("nvenc", size=_SIZE)
            yield Finding("NVIDIA encoder", "ok", "starts, and encodes overlays beside a network on cuda")
        except OutputError as exc:
            yield Finding("NVIDIA encoder", "ok", f"x264 is taken instead: {first_line(exc).partition(';')[0]}")
    for codec, (names, purpose, state) in _DECODERS.items():
        if there := [name for name in names if _decodes(name)]:
            yield Finding(f"{codec} decoder", "ok", f"{there[0]} ({purpose})")
        else:
            yield Finding(f"{codec} decoder", state, f"not in this FFmpeg ({purpose})", _OWN_WHEEL)


def _decodes(name: str) -> bool:
    try:
        return bool(av.Codec(name, "r"))
    except ValueError:
        return False
