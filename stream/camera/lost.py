"""What is said of a camera that cannot be reached or was lost, and how long to wait before the next try.

FFmpeg's own words may hold the password; these a user can act on.
"""

from __future__ import annotations

import errno
import os
import random
import socket
from pathlib import Path
from urllib.parse import urlsplit

import av

from ..system.url import parse_url
from .camera import Camera

_BY_ERROR: tuple[tuple[type[BaseException], str], ...] = (
    (av.error.HTTPUnauthorizedError, "wrong user name or password"),
    (av.error.HTTPForbiddenError, "the server forbids it (403)"),
    (av.error.HTTPNotFoundError, "the server has no such stream (404)"),
    (av.error.HTTPServerError, "the server has a fault of its own (5xx)"),
    (av.error.HTTPClientError, "the server refuses the request (4xx)"),
    (ConnectionRefusedError, "connection refused: nothing listens at this address"),
    (ConnectionError, "the connection broke"),
    (av.error.DemuxerNotFoundError, "this FFmpeg has no such input format"),
    (av.error.ProtocolNotFoundError, "this FFmpeg has no such protocol"),
)
_BY_NUMBER = {
    errno.EADDRINUSE: "another program has this port",
    errno.EBUSY: "it is in use by another program",
    errno.EHOSTUNREACH: "no way to this host",
    errno.ENETUNREACH: "no network",
    errno.ENODEV: "it was unplugged, or is no camera",
    errno.ENOTTY: "it is no camera",
    errno.ENXIO: "there is no such camera",
}

_OF_PIPES = "; an MP4 whose index stands at its end is none in a pipe: name the file, or send it as MPEG-TS"

FIRST_S, _GROWTH, _LONGEST_S = 0.5, 1.2, 30.0
_REFUSED_S = 30.0  # cameras and servers lock users out after a few wrong passwords
_JITTER = 0.2  # what was lost together shall not all come back at once


def reason_of(exc: Exception, camera: Camera, *, opened: bool, took_s: float) -> str:
    """What `exc` means for this camera.

    Args:
        exc: what PyAV raised.
        camera: whose connection it was.
        opened: whether it was connected by then.
        took_s: seconds from the start of the connection until then.
    """
    is_local = "://" not in camera.url
    if isinstance(exc, av.error.HTTPUnauthorizedError) and not is_local and not any(parse_url(camera.url).credentials):
        return "it asks for a user name and a password, which are written before its host: USER:PASSWORD@HOST"
    for kind, reason in _BY_ERROR:
        if isinstance(exc, kind):
            return reason
    # FFmpeg tells a time-out by several errors, PermissionError among them.
    timed_out = isinstance(exc, (av.error.ExitError, TimeoutError)) or (
        not opened and camera.timeout_s is not None and took_s >= 0.9 * camera.timeout_s
    )
    if timed_out:
        return f"no {'frame' if opened else 'answer'} for {camera.timeout_s:g} s" if camera.timeout_s else "timed out"
    if isinstance(exc, FileNotFoundError) and is_local:
        return f"there is no {camera.url}" + _there_are()
    if isinstance(exc, PermissionError) and is_local:
        return "no permission to use it; is the user in the group 'video'?"
    if not is_local and not opened and not _is_known(camera.url):
        return f"the host {urlsplit(camera.url).hostname} is not known"
    if isinstance(exc, av.error.InvalidDataError):
        return "what comes is no video that can be read" + ("" if camera.endless else _OF_PIPES)
    return _by_number(exc, camera, opened=opened) or str(getattr(exc, "strerror", None) or type(exc).__name__)


def _by_number(exc: Exception, camera: Camera, *, opened: bool) -> str | None:
    is_local, number = "://" not in camera.url, getattr(exc, "errno", None)
    if isinstance(exc, av.error.EOFError):
        return "it ended before there was a picture" if is_local else "the server closed the connection at once"
    if number == errno.EIO and not is_local:
        scheme = urlsplit(camera.url).scheme
        return "the connection broke" if opened else f"the connection failed; does this server speak {scheme}?"
    return None if number is None else _BY_NUMBER.get(number)


def _is_known(url: str) -> bool:
    """FFmpeg tells an unknown name as "input/output error"."""
    try:
        socket.getaddrinfo(urlsplit(url).hostname, None)
    except (OSError, UnicodeError):
        return False
    return True


def _there_are() -> str:
    if os.name != "posix" or not Path("/dev").is_dir():
        return ""
    found = sorted(str(path) for path in Path("/dev").glob("video*"))
    return (
        f"; there are {', '.join(found)}"
        if found
        else ", nor any other camera; is it plugged in, and let into this container?"
    )


def pause_s(tries: int, *, refused: bool = False) -> float:
    """Seconds: longer with each of the `tries` that failed in a row, and never quite the same.

    Args:
        tries: 1 for the first.
        refused: asking again soon would do harm.
    """
    pause = _REFUSED_S if refused else min(FIRST_S * _GROWTH ** (tries - 1), _LONGEST_S)
    return pause * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - nothing secret
