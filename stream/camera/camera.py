"""What a word on the command line means that names no file: a camera's URL, a webcam, a pipe."""

from __future__ import annotations

import os
import re
import stat
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from ..errors import SourceError
from ..system.url import UnclearUrl, name_of, parse_url, redacted

Policy = Literal["auto", "latest", "every-frame"]
Transport = Literal["tcp", "udp"]

SCHEMES = ("rtsp", "rtsps", "http", "https", "rtmp", "rtmps", "udp", "tcp", "rtp")
_ANALYZE_US = "300000"  # of a stream, to know what it holds; FFmpeg's own 5 s delays the first picture by 1 s
_SPARE_S = 1.0  # by which FFmpeg's own time-outs come later than ours, which know more
# FFmpeg's input device for webcams, and how it names one that has a number only.
_WEBCAMS = {"linux": ("v4l2", "/dev/video{}"), "darwin": ("avfoundation", "{}:none"), "win32": ("dshow", "video={}")}


_VIDEO4LINUX = 81  # the kernel's number for such devices


@dataclass(frozen=True, slots=True)
class Camera:
    """A source that is no file: where it is and how it is watched. `parse_camera` makes one.

    >>> import roadmask
    >>> camera = roadmask.parse_camera("front=rtsp://joe:secret@10.0.0.7/live")
    >>> camera.name, camera.endless, camera.timeout_s  # seconds without a frame, after which it is connected to again
    ('front', True, 10.0)
    """

    name: str  # in messages and file names; holds no password
    url: str = field(repr=False)  # as FFmpeg takes it, password and all
    format: str | None = None  # FFmpeg's name for an input device or container; None where it shall find out
    options: tuple[tuple[str, str], ...] = ()  # FFmpeg's, for the format and protocol
    every_frame: bool = False  # none is dropped: the source waits instead
    endless: bool = True  # an end is a loss, to connect again after; a pipe has an end
    timeout_s: float | None = 10.0  # without a frame for so long it is taken to be lost; None to wait for ever
    writer_s: float | None = None  # a FIFO that nobody has begun to write to for so long is given up; None to wait
    max_retries: int | None = None  # tries in a row that may fail; None for any number
    allow_redirects: bool = False  # it may send us on to another host

    @property
    def socket_timeout_s(self) -> float | None:
        """For what we or FFmpeg wait for by ourselves."""
        return None if self.timeout_s is None else self.timeout_s + _SPARE_S


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """How cameras are watched, as the command's options say.

    >>> import roadmask
    >>> settings = roadmask.CameraSettings(policy="every-frame", timeout_s=2.5)
    >>> roadmask.parse_camera("udp://239.0.0.1:5000", settings).every_frame
    True
    """

    policy: Policy = "auto"
    transport: Transport = "tcp"
    timeout_s: float = 10.0
    max_retries: int | None = None
    allow_redirects: bool = False
    input_format: str | None = None
    size: str | None = None  # of a webcam or raw video: 1280x720
    rate: str | None = None
    pixel_format: str | None = None


def is_camera(word: str, settings: CameraSettings) -> bool:
    """Whether `word` is for `parse_camera`, and not a file, a folder or a pattern."""
    _, url = _named(word)
    if settings.input_format or url == "-" or url.isdigit() or "://" in url or url.startswith(("video=", "/dev/video")):
        return not os.path.isfile(word)  # noqa: PTH113 - which knows names that are too long
    try:
        found = Path(url).stat()
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(found.st_mode) or _is_webcam(Path(url), found)


def _is_webcam(path: Path, found: os.stat_result) -> bool:
    """Whether a device is one, also by another name; /dev/null is none, whatever it is called."""
    if not stat.S_ISCHR(found.st_mode):
        return False
    return path.resolve().name.startswith("video") or (
        sys.platform == "linux" and os.major(found.st_rdev) == _VIDEO4LINUX
    )


def parse_camera(word: str, settings: CameraSettings | None = None) -> Camera:
    """The camera that `word` means; `front=rtsp://...` gives it a name.

    Raises:
        SourceError: its scheme is not known, or standard input is a terminal.

    >>> from roadmask import CameraSettings, parse_camera
    >>> camera = parse_camera("front=rtsp://joe:secret@10.0.0.7/live", CameraSettings(timeout_s=5, max_retries=20))
    >>> camera.name, camera.timeout_s  # for segment_video(camera), or the source of SegmentSettings
    ('front', 5)
    """
    settings = settings or CameraSettings()
    name, url = _named(word)
    if url == "-":
        if sys.stdin.isatty():
            raise SourceError("-: standard input is a terminal; pipe a video into it")
        camera = Camera(name or "stdin", "pipe:0", settings.input_format, _picture(settings))
    elif "://" in url:
        camera = _of_url(name or name_of(url), url, settings)
    elif _is_fifo(url):
        camera = Camera(name or Path(url).stem, url, settings.input_format, _picture(settings))
    elif settings.input_format:
        camera = Camera(name or name_of(url), url, settings.input_format, _picture(settings))
    else:
        camera = _webcam(name, url, settings)
    return _watched(camera, settings)


def _named(word: str) -> tuple[str | None, str]:
    """`front=rtsp://...` apart. Equals signs are also in URLs, after their `://`, and in names of devices."""
    name, _, url = word.partition("=")
    if re.fullmatch(r"[\w .-]+", name) and ("://" in url or url.startswith("/dev/") or url.isdigit() or url == "-"):
        return re.sub(r"[^\w.-]+", "_", name), url
    return None, word


def _of_url(name: str, url: str, settings: CameraSettings) -> Camera:
    try:
        address = parse_url(url)
    except UnclearUrl as exc:
        raise SourceError(f"{redacted(url)}: {exc}") from None  # what it came from holds the password
    scheme = address.scheme
    if scheme == "srt":
        raise SourceError(
            f"{redacted(url)}: not read here, but by FFmpeg: ffmpeg -i URL -c copy -f mpegts - | roadmask run -"
        )
    if scheme not in SCHEMES:
        raise SourceError(f"{redacted(url)}: unknown kind of address {scheme}://; known are {', '.join(SCHEMES)}")
    if not address.host and scheme not in ("udp", "tcp", "rtp"):  # which may also listen
        raise SourceError(f"{redacted(url)}: the address of a camera has a host, as in {scheme}://10.0.0.5/live")
    options = {"analyzeduration": _ANALYZE_US}
    microseconds = str(round((settings.timeout_s + _SPARE_S) * 1e6))
    if scheme in ("rtsp", "rtsps"):
        options |= {"rtsp_transport": settings.transport, "timeout": microseconds}
    elif scheme in ("rtmp", "rtmps"):  # its `timeout` would make it wait for somebody to call
        options |= {"rw_timeout": microseconds}
    elif scheme == "udp":
        # Sooner than ours: while FFmpeg waits it has the port, which the next try needs.
        options |= {"timeout": str(round(settings.timeout_s * 0.95e6)), "overrun_nonfatal": "1"}
    else:
        options |= {"timeout": microseconds, "rw_timeout": microseconds}
    return Camera(name, str(address), settings.input_format, (*options.items(), *_picture(settings)))


def _webcam(name: str | None, word: str, settings: CameraSettings) -> Camera:
    """A webcam by its number or by the system's name for it."""
    device_format, numbered = _WEBCAMS.get(sys.platform, _WEBCAMS["linux"])
    url = numbered.format(word) if word.isdigit() else word
    return Camera(
        name or (f"camera{word}" if word.isdigit() else name_of(word)), url, device_format, _picture(settings)
    )


def _picture(settings: CameraSettings) -> tuple[tuple[str, str], ...]:
    """Options that webcams and raw video have in common."""
    named = {"video_size": settings.size, "framerate": settings.rate, "pixel_format": settings.pixel_format}
    return tuple((name, value) for name, value in named.items() if value)


def _watched(camera: Camera, settings: CameraSettings) -> Camera:
    is_pipe = camera.url.startswith("pipe:") or _is_fifo(camera.url)
    # A playlist's server gives pieces of some seconds, each faster than it plays: to drop would leave few frames.
    waits = is_pipe or urlsplit(camera.url).path.endswith(".m3u8")
    return replace(
        camera,
        every_frame=waits if settings.policy == "auto" else settings.policy == "every-frame",
        endless=not is_pipe,
        timeout_s=None if is_pipe else settings.timeout_s,
        writer_s=settings.timeout_s if _is_fifo(camera.url) else None,
        max_retries=settings.max_retries,
        allow_redirects=settings.allow_redirects,
    )


def _is_fifo(path: str) -> bool:
    return "://" not in path and Path(path).is_fifo()
