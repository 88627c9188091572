"""A picture's planes as arrays, without a copy."""

from __future__ import annotations

import av
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8]


def planes_of(picture: av.VideoFrame) -> list[Plane]:
    """Views of the planes of 8-bit samples, without the padding at the end of the rows."""
    views = []
    for plane in picture.planes:
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)  # type: ignore[call-overload]
        views.append(rows[:, : plane.width])
    return views
