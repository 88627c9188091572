"""What can be encoded and decoded, and webcams. `selftest` puts real pictures through what every run needs."""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import av
import onnxruntime

from ..camera.camera import parse_camera
from ..camera.lost import reason_of
from ..encode.h264 import EncoderChoice, Encoding, choose_encoder
from ..errors import OutputError, first_line
from .doctor import Finding, State

_SIZE = 144, 176
# What is decoded, FFmpeg's decoders that do, what it is for, and how bad it is that all are missing: without the first
# two, roadmask cannot read what it has written. FFmpeg's own `av1` only passes pictures on to a graphics card.
_DECODERS: tuple[tuple[str, tuple[str, ...], str, State], ...] = (
    ("h264", ("h264",), "most cameras, and overlays", "problem"),
    ("ffv1", ("ffv1",), "masks as .mkv", "problem"),
    ("hevc", ("hevc",), "many phones and dashcams", "warning"),
    ("mjpeg", ("mjpeg",), "webcams, older dashcams", "warning"),
    ("vp9", ("vp9", "libvpx-vp9"), "videos of the web", "warning"),
    ("av1", ("libdav1d", "libaom-av1"), "newer videos of the web", "warning"),
)
_OWN_WHEEL = "pip install --force-reinstall --only-binary av av: its FFmpeg has all"
_CARDS = Path("/sys/class/video4linux")
_OPEN_S = 5.0
_WEBCAM_ADVICE = (
    "end what uses it, or plug it in again; if it is not allowed, sudo usermod -aG video $USER, then log in again "
    "(a container's user needs the group, too)"
)
_NO_CAMERA = (errno.ENODEV, errno.ENOTTY)  # what FFmpeg gets of nodes that give no pictures: a codec's, metadata's


def codecs() -> Iterator[Finding]:
    if failure := _encoder_failure("x264"):
        yield Finding("H.264 encoder", "problem", f"no overlay can be made: {failure}", _OWN_WHEEL)
    else:
        yield Finding("H.264 encoder", "ok", "x264 starts (overlays)")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        failure = _encoder_failure("nvenc")
        found = f"x264 is taken instead: {failure}" if failure else "starts, for overlays beside a network on cuda"
        yield Finding("NVIDIA encoder", "ok", found)
    for codec, names, purpose, state in _DECODERS:
        if there := [name for name in names if _decodes(name)]:
            yield Finding(f"{codec} decoder", "ok", f"{there[0]} ({purpose})")
        else:
            yield Finding(f"{codec} decoder", state, f"not in this FFmpeg ({purpose})", _OWN_WHEEL)


def _encoder_failure(name: EncoderChoice) -> str:
    """Why it makes no overlays here; empty where it does."""
    try:
        return choose_encoder(_SIZE, Encoding(name)).failure(_SIZE) or ""
    except OutputError as exc:
        return first_line(exc).partition(";")[0]


def _decodes(name: str) -> bool:
    try:
        return bool(av.Codec(name, "r"))
    except ValueError:
        return False


def cameras() -> Iterator[Finding]:
    others = "avfoundation" if sys.platform == "darwin" else "dshow"
    return linux_webcams(Path("/dev")) if sys.platform == "linux" else other_webcams(others)


def linux_webcams(devices: Path) -> Iterator[Finding]:
    """Each that gives pictures is opened for a moment; a camera also has nodes that give something else."""
    nodes = sorted(devices.glob("video[0-9]*"), key=lambda path: int(re.sub(r"\D", "", path.name) or 0))
    found = [finding for node in nodes if (finding := _webcam(node))]
    yield from found or [_none("in a container, pass it on: docker run --device /dev/video0 ...")]


def _webcam(node: Path) -> Finding | None:
    """`None` where it is no camera."""
    camera, card = parse_camera(str(node)), node.name
    with suppress(OSError):
        card = (_CARDS / node.name / "name").read_text(encoding="utf-8", errors="replace").strip()
    try:
        with av.open(camera.url, format=camera.format, options=dict(camera.options), timeout=_OPEN_S) as container:
            stream = container.streams.video[0]
            return Finding(str(node), "ok", f"{card} opens: {stream.width}x{stream.height} {stream.codec_context.name}")
    except (av.FFmpegError, OSError, ValueError, IndexError) as exc:
        if getattr(exc, "errno", 0) in _NO_CAMERA:
            return None
        found = f"{card} does not open: {reason_of(exc, camera, opened=False, took_s=0)}"
        return Finding(str(node), "warning", found, _WEBCAM_ADVICE)


def other_webcams(system: str) -> Iterator[Finding]:
    """What FFmpeg's input device of another system lists; to open them would ask the user for leave."""
    try:
        listed = av.enumerate_input_devices(system)
    except (av.FFmpegError, OSError, ValueError) as exc:
        advice = "to try one: roadmask run 0 --serve 127.0.0.1:8080"
        yield Finding("webcams", "ok", f"cannot be listed: {first_line(exc)}", advice)
        return
    there = [device for device in listed if not device.media_types or "video" in device.media_types]
    for number, device in enumerate(there):
        yield Finding(f"webcam {number}", "ok", f"{device.description or device.name}; not opened")
    if not there:
        yield _none("allow this terminal to use the camera, in the system's settings")


def _none(advice: str) -> Finding:
    return Finding("webcams", "ok", "none found; cameras with an address need none", f"if there is one: {advice}")
