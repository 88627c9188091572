"""Where each point of a picture was in the picture before it, and how far that can be believed.

Motion is dense optical flow, DIS: Kroeger, Timofte, Dai and Van Gool, Fast Optical Flow using Dense Inverse Search,
ECCV 2016. It gives every pixel an origin, also what was hidden or outside before; whether to believe it, the
brightness at both ends says, and whether the way back and forth leads home.
"""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", np.uint8, np.float32)

UNSEEN = 255  # residual of a point whose origin is outside the picture
# OpenCV's DIS needs two scales of its 8x8 patches; below, some sizes crash the process (opencv/opencv#14554).
_MIN_SIDE = 16
_SAMPLE = 4  # what holds for the whole picture is taken from every fourth pixel of every fourth row
_TORN = 1.0  # pixels by which the origins of neighbours lie apart, or on each other, more than they do themselves
_CONTRAST = 16  # levels from the middle, so that a ratio says more than noise
_MAX_GAIN = 2.0  # of the exposure from one frame to the next; beyond, it is another picture


class Flow:
    """Optical flow between gray pictures (h, w) of any size. For one thread.

    Args:
        refined: find each patch's motion more thoroughly, and smooth the field: twice the time for a little.
    """

    def __init__(self, *, refined: bool = False) -> None:
        self._preset = cv2.DISOPTICAL_FLOW_PRESET_FAST if refined else cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST
        self._pixels = np.empty((0, 0, 2), np.float32)

    def origins(self, now: NDArray[np.uint8], before: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(h, w, 2): x and y in `before` of what each pixel of `now` shows. Tiny pictures are taken to stand still."""
        if self._pixels.shape[:2] != now.shape:
            self._make_ready(*now.shape)
        if min(now.shape) < _MIN_SIDE:
            return self._pixels
        motion = self._dis.calc(now, before, None)  # type: ignore[call-overload]  # no array to write to
        return np.asarray(cv2.add(motion, self._pixels), np.float32)

    def _make_ready(self, height: int, width: int) -> None:
        # A new one for each size: what OpenCV changes in it for a small picture it never changes back.
        self._dis = cv2.DISOpticalFlow.create(self._preset)
        # The presets stop at a quarter of the size. Going on to half keeps class borders in place: measured, it takes
        # a tenth from the flicker that smoothing leaves.
        self._dis.setFinestScale(1)
        self._pixels = _pixels(height, width)


def moved(image: NDArray[T], origins: NDArray[np.float32], *, nearest: bool = False) -> NDArray[T]:
    """`image` (h, w) or (h, w, 3), of the picture before, with everything where it is now."""
    method = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    return np.asarray(
        cv2.remap(image, origins, None, method, borderMode=cv2.BORDER_REPLICATE),  # type: ignore[call-overload]
        image.dtype,
    )


def residuals(now: NDArray[np.uint8], before: NDArray[np.uint8], origins: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(h, w): by how many levels, in the worst channel, `now` differs from `before` at its origin; both RGB.

    A change of exposure between the two does not count. Colour does: a red car is as bright as the road.
    """
    expected = moved(before, origins)
    gain, offset = _exposure(now, expected)
    exposed = cv2.addWeighted(expected, gain, expected, 0, offset)
    red, green, blue = cv2.split(cv2.absdiff(now, exposed))
    worst = np.asarray(cv2.max(cv2.max(red, green), blue), np.uint8)
    worst[_outside(origins)] = UNSEEN
    return worst


def explained(residual: NDArray[np.uint8], origins: NDArray[np.float32], *, limit: float) -> float:
    """The share of a picture that the one before explains: it looks alike to `limit` levels, and is in one piece.

    Flow finds bits of anything in anything: half of a picture may look like an unrelated one, moved. But such bits
    come from all over, so a point counts only where its origin is beside those of its neighbours.
    """
    here, right, below = (
        origins[:-1:_SAMPLE, :-1:_SAMPLE],
        origins[:-1:_SAMPLE, 1::_SAMPLE],
        origins[1::_SAMPLE, :-1:_SAMPLE],
    )
    torn_by = np.abs(right - here - (1, 0)).sum(axis=2) + np.abs(below - here - (0, 1)).sum(axis=2)
    is_alike = residual[:-1:_SAMPLE, :-1:_SAMPLE] < limit
    return float(np.count_nonzero(is_alike & (torn_by < _TORN)) / max(is_alike.size, 1))


def returning(back: NDArray[np.float32], forth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(h, w): where the way `back` and then `forth` leads home, of `origins` between two pictures, each way.

    The test, and its constants in pixels, of Sundaram, Brox and Keutzer, Dense Point Trajectories by GPU-accelerated
    Large Displacement Optical Flow, ECCV 2010: |f + b|^2 < 0.01 (|f|^2 + |b|^2) + 0.5.
    """
    pixels = _pixels(*back.shape[:2])
    back_flow = back - pixels
    forth_flow = moved(forth - pixels, back)
    missed = np.square(back_flow + forth_flow).sum(axis=2)
    covered = np.square(back_flow).sum(axis=2) + np.square(forth_flow).sum(axis=2)
    return np.asarray((missed < 0.01 * covered + 0.5) & ~_outside(back), np.bool_)


def _pixels(height: int, width: int) -> NDArray[np.float32]:
    """(height, width, 2): x and y of each pixel."""
    return np.dstack(np.meshgrid(np.arange(width), np.arange(height))).astype(np.float32)


def _exposure(now: NDArray[np.uint8], expected: NDArray[np.uint8]) -> tuple[float, float]:
    """Gain and offset from `expected` to `now`, one for all channels: a change of colour is not the exposure's.

    Medians, as what is new or badly followed must not count; of green, which is most of the brightness.
    """
    x = expected[::_SAMPLE, ::_SAMPLE, 1].astype(np.float32).ravel()
    y = now[::_SAMPLE, ::_SAMPLE, 1].astype(np.float32).ravel()
    from_middle = x - np.median(x)
    useful = np.abs(from_middle) > _CONTRAST
    gain = float(np.median((y - np.median(y))[useful] / from_middle[useful])) if useful.any() else 1.0
    gain = min(max(gain, 1 / _MAX_GAIN), _MAX_GAIN)
    return gain, float(np.median(y - gain * x))


def _outside(origins: NDArray[np.float32]) -> NDArray[np.bool_]:
    height, width = origins.shape[:2]
    x, y = origins[..., 0], origins[..., 1]
    return np.asarray((x < -0.5) | (y < -0.5) | (x > width - 0.5) | (y > height - 0.5), np.bool_)
