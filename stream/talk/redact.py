"""What may be said of a camera's URL: everything but its user name, its password and other keys."""

from __future__ import annotations

import re

_USER = re.compile(r"(?<=://)[^/?#]*@")  # in any text that holds a URL; a password may hold an @ itself
_SECRET = re.compile(r"([?&][^=&]*(?:pass|pwd|user|token|key|secret|auth|sig|credential)[^=&]*=)[^&#]*", re.IGNORECASE)


def redacted(url: str) -> str:
    """`rtsp://user:secret@host/path?token=x` to `rtsp://host/path?token=***`."""
    return _SECRET.sub(r"\1***", _USER.sub("", url))


def is_secret(url: str) -> bool:
    """Whether anything of the URL must not be shown."""
    return redacted(url) != url


def name_of(url: str) -> str:
    """A short name for a camera, fit for a file name: `rtsp://user:secret@host:554/live/1` to `host_554_live_1`."""
    host_and_path = re.sub(r"^.*?://|[?#].*$", "", _USER.sub("", url))
    return re.sub(r"[^\w.-]+", "_", host_and_path).strip("_.") or "camera"
