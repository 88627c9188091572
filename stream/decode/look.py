"""Whether a picture is the same as one seen before, in another run."""

from __future__ import annotations

import zlib

import av
import numpy as np

from .planes import planes_of

_EVERY_ROW = 8


def look_of(picture: av.VideoFrame) -> int:
    """A checksum of some of its brightness: the same picture again has the same, and hardly another."""
    rows = planes_of(picture)[0][::_EVERY_ROW]
    return zlib.crc32(np.ascontiguousarray(rows).data)
