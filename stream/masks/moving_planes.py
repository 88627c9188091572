"""Planes that are moved together, kept so that moving them is quick."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]  # (h, w)

# OpenCV moves a picture of four channels in the time of one and a half planes: measured, putting planes together,
# moving and taking them apart again costs half of moving them one by one. Of two channels it would take longer, and
# round the origins.
_TOGETHER = 4


class MovingPlanes:
    """A number of planes (h, w) of one frame, to be moved to where things are in the next. For one thread."""

    def __init__(self, count: int, height: int, width: int) -> None:
        self._count = count
        groups = range(-(-count // _TOGETHER))
        self._groups = [np.empty((height, width, _TOGETHER), np.float32) for _ in groups]
        self._moved_group = np.empty((height, width, _TOGETHER), np.float32)
        self._moved = [[np.empty((height, width), np.float32) for _ in range(_TOGETHER)] for _ in groups]

    def keep(self, planes: Sequence[Plane]) -> None:
        """Copy the planes of a frame."""
        for index, group in enumerate(self._groups):
            chosen = list(planes[index * _TOGETHER : (index + 1) * _TOGETHER])
            missing = _TOGETHER - len(chosen)
            cv2.merge(chosen + chosen[:1] * missing, dst=group)

    def planes(self) -> NDArray[np.float32]:
        """(count, h, w): a copy of the planes kept."""
        apart = [plane for group in self._groups for plane in cv2.split(group)]
        return np.stack(apart[: self._count]).astype(np.float32, copy=False)

    def moved(self, origins: NDArray[np.float32]) -> list[Plane]:
        """The planes kept, with everything where it is now, by `origins` as of `Flow`; good until the next call."""
        for group, planes in zip(self._groups, self._moved, strict=True):
            into = self._moved_group
            cv2.remap(group, origins, None, cv2.INTER_LINEAR, dst=into, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
            # Into planes that are there: making room for new ones takes longer than filling it.
            cv2.split(into, planes)
        return list(chain.from_iterable(self._moved))[: self._count]
