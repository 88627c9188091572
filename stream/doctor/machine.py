"""Cores and memory, folders that are written to, and webcams."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import av

from ..camera.camera import parse_camera
from ..system.machine import cache_folder, usable_cores
from .doctor import Finding, State, first_line

_CGROUP, _MEMINFO, _CARDS = Path("/sys/fs/cgroup"), Path("/proc/meminfo"), Path("/sys/class/video4linux")
# A run of 960x540 takes 0.3 GB with all outputs, one of the largest pictures that are taken unasked nearly 1 GB.
_MEMORY = 1_000_000_000, 400_000_000  # enough, and too little
# An hour of 1080p gives an overlay of about 2 GB and masks of about 0.5 GB; a TensorRT engine takes tens of megabytes.
_ROOM, _LITTLE_ROOM = (5_000_000_000, 50_000_000), (500_000_000, 50_000_000)
_OPEN_S = 5.0
_WEBCAM_ADVICE = {
    errno.EACCES: "sudo usermod -aG video $USER, then log in again; a container's user needs the group, too",
    errno.EBUSY: "end the program that uses it",
}
_NO_CAMERA = (errno.ENODEV, errno.ENOTTY)  # what FFmpeg gets of nodes that give no pictures: a codec's, metadata's


def machine() -> Iterator[Finding]:
    usable, there = usable_cores(), os.cpu_count() or 1
    why = "a scheduler mask or a container allows no more" if usable < there else "all that there are"
    yield Finding("cores", "ok", f"{usable} of {there}: {why}")
    yield memory()


def memory(meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> Finding:
    """Of the machine or of the container (control groups, version 2), whichever has less; caches of files are free."""
    found = []
    with suppress(OSError, ValueError, KeyError):
        told = dict(re.findall(r"(\w+): +(\d+)", meminfo.read_text(encoding="ascii")))
        found.append((1024 * int(told["MemAvailable"]), 1024 * int(told["MemTotal"]), "the machine"))
    with suppress(OSError, ValueError):  # no such system, or "max"
        limit, used = (int((cgroup / name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current"))
        cached = re.findall(r"^inactive_file (\d+)", (cgroup / "memory.stat").read_text(encoding="ascii"), re.MULTILINE)
        found.append((max(limit - used + sum(map(int, cached)), 0), limit, "the container"))
    if not found:
        return Finding("memory", "ok", "not known on this system")
    free, total, what = min(found)
    advice = "end other programs, or give the container more; until then --jobs 1 --workers 1, and small videos"
    return _judged("memory", free, _MEMORY, f"{_bytes(free)} of {what}'s {_bytes(total)} are free", advice)


def disk() -> Iterator[Finding]:
    setting = "LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME"
    # Where outputs go that have no folder of their own; nothing is written to it.
    yield folder("here", Path.cwd, "warning", _ROOM, "name outputs in another folder: -o FOLDER/", touched=False)
    temporary = "set TMPDIR to another folder"
    yield folder("temporary", lambda: Path(tempfile.gettempdir()), "problem", _LITTLE_ROOM, temporary)
    # Where devices keep what they compile; the CPU keeps nothing.
    yield folder("cache", cache_folder, "warning", _LITTLE_ROOM, f"set {setting} to another folder")


def folder(
    name: str, find: Callable[[], Path], state: State, room: tuple[int, int], advice: str, *, touched: bool = True
) -> Finding:
    """What permissions promise, a file system may not keep (quotas, network shares, sandboxes), so it is touched."""
    path = Path(name)
    try:
        path = find()
        if touched:
            path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path, prefix="roadmask-") as file:
                file.write(bytes(1 << 16))
                file.flush()
        elif not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        free = shutil.disk_usage(path).free
    except OSError as exc:
        return Finding(name, state, f"{path}: cannot be written to ({first_line(exc)})", advice)
    return _judged(name, free, room, f"{path}: writable, {_bytes(free)} free", f"make room, or {advice}")


def _judged(name: str, free: int, limits: tuple[int, int], found: str, advice: str) -> Finding:
    enough, too_little = limits
    if free >= enough:
        return Finding(name, "ok", found)
    return Finding(name, "problem" if free < too_little else "warning", found, advice)


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
        number = getattr(exc, "errno", 0)
        advice = _WEBCAM_ADVICE.get(number, "plug it in again; is it used by another program? is its driver loaded?")
        found = f"{card} does not open: {first_line(exc)}"
        return None if number in _NO_CAMERA else Finding(str(node), "warning", found, advice)


def other_webcams(system: str) -> Iterator[Finding]:
    """What FFmpeg's input device of another system lists; to open them would ask the user for leave."""
    try:
        listed = av.enumerate_input_devices(system)
    except (AttributeError, av.FFmpegError, OSError, ValueError) as exc:
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


def _bytes(count: float) -> str:
    """As in "850 MB" or "12.3 GB"."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
