"""What may be said of a camera's URL: everything but its user name, its password and other keys."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit, urlunsplit

_SECRET = re.compile(r"([?&][^=&]*(?:pass|pwd|user|token|key|secret|auth|sig|credential)[^=&]*=)[^&#]*", re.IGNORECASE)


def redacted(url: str) -> str:
    """`rtsp://user:secret@host/path?token=x` to `rtsp://host/path?token=***`."""
    parts = _split(url)
    if parts is None:
        return url
    parts = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return _SECRET.sub(r"\1***", urlunsplit(parts))


def is_secret(url: str) -> bool:
    """Whether anything of the URL must not be shown."""
    return redacted(url) != url


def name_of(url: str) -> str:
    """A short name for a camera, fit for a file name: `rtsp://user:secret@host:554/live/1` to `host_554_live_1`."""
    parts = _split(url)
    text = url if parts is None else parts.netloc.rpartition("@")[2] + parts.path
    return re.sub(r"[^\w.-]+", "_", text).strip("_.") or "camera"


def _split(url: str) -> SplitResult | None:
    """`None` where it has no scheme and so nothing to hide."""
    return urlsplit(url) if "://" in url else None
