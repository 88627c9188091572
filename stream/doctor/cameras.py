"""Webcams: which there are, who may use them, and whether they can be opened. No picture of theirs is kept."""

from __future__ import annotations

import errno
import os
import re
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import av

from ..camera.camera import parse_camera
from .doctor import Finding, first_line

_OPEN_S = 5.0
# https://docs.kernel.org/userspace-api/media/v4l/vidioc-querycap.html: driver, card, bus, version, capabilities of the
# hardware and of this node, and 12 bytes to come.
_QUERYCAP, _CAPABILITY = 0x80685600, struct.Struct("16s32s32sIII12x")
_HAS_NODE_S_OWN, _CAPTURES = 0x80000000, 0x1 | 0x1000  # pictures in one plane or in several


def examine() -> Iterator[Finding]:
    if sys.platform == "linux":
        yield from linux_webcams(Path("/dev"))
    else:
        yield from other_webcams("avfoundation" if sys.platform == "darwin" else "dshow")


def linux_webcams(devices: Path) -> Iterator[Finding]:
    """Each that gives pictures; a camera also has nodes that give something else."""
    nodes = sorted(devices.glob("video[0-9]*"), key=lambda path: int(re.sub(r"\D", "", path.name) or 0))
    found = [finding for node in nodes if (finding := _node(node))]
    yield from found or [_none("in a container, pass it on: docker run --device /dev/video0 ...")]


def _node(node: Path) -> Finding | None:
    """`None` where it is no camera."""
    try:
        card = _capturing(node)
    except PermissionError:
        advice = "sudo usermod -aG video $USER, then log in again; a container's user needs the group, too"
        return Finding(str(node), "warning", "may not be opened by this user", advice)
    except OSError as exc:
        return Finding(str(node), "warning", first_line(exc), "plug it in again; is its driver loaded?")
    if card is None:
        return None
    camera = parse_camera(str(node))
    try:
        with av.open(camera.url, format=camera.format, options=dict(camera.options), timeout=_OPEN_S) as container:
            stream = container.streams.video[0]
            return Finding(str(node), "ok", f"{card} opens: {stream.width}x{stream.height} {stream.codec_context.name}")
    except (av.FFmpegError, OSError, ValueError, IndexError) as exc:
        busy = (
            "end the program that uses it"
            if getattr(exc, "errno", 0) == errno.EBUSY
            else "is it used by another program?"
        )
        return Finding(str(node), "warning", f"{card} does not open: {first_line(exc)}", busy)


def _capturing(node: Path) -> str | None:
    """The name of the camera, if the node gives its pictures. Raises `OSError`: the node cannot be opened."""
    import fcntl  # Windows has none

    descriptor = os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        answer = fcntl.ioctl(descriptor, _QUERYCAP, bytes(_CAPABILITY.size))
    except OSError:  # no video device at all
        return None
    finally:
        os.close(descriptor)
    _, card, _, _, hardware, own = _CAPABILITY.unpack(answer)
    captures = (own if hardware & _HAS_NODE_S_OWN else hardware) & _CAPTURES
    return card.partition(b"\0")[0].decode(errors="replace") if captures else None


def other_webcams(system: str) -> Iterator[Finding]:
    """What FFmpeg's input device of another system lists; to open them would ask the user for leave."""
    try:
        listed = av.enumerate_input_devices(system)
    except (AttributeError, av.FFmpegError, OSError, ValueError) as exc:
        advice = "to try one: roadmask run 0 --serve 127.0.0.1:8080"
        yield Finding("webcams", "ok", f"cannot be listed: {first_line(exc)}", advice)
        return
    cameras = [device for device in listed if not device.media_types or "video" in device.media_types]
    for number, device in enumerate(cameras):
        yield Finding(f"webcam {number}", "ok", f"{device.description or device.name}; not opened")
    if not cameras:
        yield _none("allow this terminal to use the camera, in the system's settings")


def _none(advice: str) -> Finding:
    return Finding("webcams", "ok", "none found; cameras with an address need none", f"if there is one: {advice}")
