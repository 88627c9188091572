"""Where each point of a picture was in the picture before it, and how far that can be believed.

Motion is dense optical flow, DIS: Kroeger, Timofte, Dai and Van Gool, Fast Optical Flow using Dense Inverse Search,
ECCV 2016. It gives every pixel an origin, also what was hidden or outside before; whether to believe it, the
brightness at both ends says, and whether the way back and forth leads home.

It is made finer by a few steps after Lucas and Kanade, An Iterative Image Registration Technique with an Application to
Stereo Vision, IJCAI 1981, the same for every pixel at once; with the gradients of the present picture, which are taken
once, as in Baker and Matthews' inverse steps (IJCV 2004).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", np.uint8, np.float32)

# OpenCV's DIS needs two scales of its 8x8 patches; below, some sizes crash the process (opencv/opencv#14554).
_MIN_SIDE = 16
_SAMPLE = 4  # what holds for the whole picture is taken from every fourth pixel of every fourth row
_TORN = 0.8  # pixels by which the origins of neighbours lie apart, or on each other, more than they do themselves
_CONTRAST = 16  # levels from the middle, so that a ratio says more than noise
_FAINT = 2  # levels by which a change of exposure does not count
_MAX_GAIN = 2.0  # of the exposure from one frame to the next; beyond, it is another picture
# Levels, where neighbours come from one point: with more, less of a car is left behind it, and masks flicker more. On
# CamVid smoothing took 1.2 points of cars' IoU without it, and with it 0.1, for as little flicker.
_PARTING = 100.0
# Of the quick flow. Most of DIS's time goes into patches that overlap: wider apart, at half the picture's size, and
# with the pixels' own steps after them, takes half the time of patches at the picture's size for nearly the same masks.
_STRIDE = 6
_FINEST = 1
_STEPS = 2

Gray = NDArray[np.uint8]  # (h, w)
Plane = NDArray[np.float32]  # (h, w)
Field = NDArray[np.float32]  # (h, w, 2): x and y

_WINDOW = (3, 3)  # pairs of pixels that decide together, the near ones more: less follows noise, more blurs motion
_MEAN = (9, 9)
_STEADY = 0.5  # (levels a pixel) squared: where gradients are weaker there is nothing to go by, and motion stays
_MAX_STEP = 1.0  # pixels: gradients hold no further


class Exposure(NamedTuple):
    """What turns the levels of one picture into those of another that shows the same."""

    gain: float
    offset: float


_UNCHANGED = Exposure(1.0, 0.0)


class Flow:
    """Optical flow between gray pictures (h, w) of any size. For one thread.

    Args:
        refined: find each patch's motion more thoroughly, and smooth the field: four times the time for a little.
        finest: how often the picture is halved before patches are looked for.
        stride: pixels from patch to patch.
        steps: of the pixels by themselves, after that.
    """

    def __init__(
        self, *, refined: bool = False, finest: int = _FINEST, stride: int = _STRIDE, steps: int = _STEPS
    ) -> None:
        self._refined = refined
        self._finest, self._stride, self._steps = finest, stride, steps
        self._shape = (0, 0)

    def motion(self, now: NDArray[np.uint8], before: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(h, w, 2): how far right and down of each pixel of `now` it was in `before`. Tiny pictures stand still."""
        if self._shape != now.shape:
            self._make_ready(*now.shape)
        if min(now.shape) < _MIN_SIDE:
            return np.zeros((*now.shape, 2), np.float32)
        motion = np.asarray(self._dis.calc(now, before, None), np.float32)  # type: ignore[call-overload]
        return motion if self._refined else stepped(motion, now, before, self._steps)

    def origins(self, now: NDArray[np.uint8], before: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(h, w, 2): x and y in `before` of what each pixel of `now` shows."""
        return origins_of(self.motion(now, before), *now.shape)

    def _make_ready(self, height: int, width: int) -> None:
        # A new one for each size: what OpenCV changes in it for a small picture it never changes back.
        preset = cv2.DISOPTICAL_FLOW_PRESET_FAST if self._refined else cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST
        self._dis = cv2.DISOpticalFlow.create(preset)
        # The presets stop at a quarter of the size. Going on to half keeps class borders in place: measured, it takes
        # a tenth from the flicker that smoothing leaves.
        self._dis.setFinestScale(self._finest)
        if not self._refined:
            self._dis.setPatchStride(self._stride)
        self._shape = (height, width)


def origins_of(motion: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """(height, width, 2): x and y of each pixel's origin, by the `motion` (h, w, 2) of pictures as large or smaller."""
    rows, columns = motion.shape[:2]
    if (rows, columns) != (height, width):
        across, down = np.float32(width / columns), np.float32(height / rows)
        # As a rule they are one number; with two, NumPy takes five times as long.
        scaled = motion * (across if across == down else np.array([across, down]))
        motion = np.asarray(cv2.resize(scaled, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    return np.asarray(cv2.add(motion, _pixels(height, width)), np.float32)


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
    return differences(now, expected, origins, exposure(now, expected))


def four_channels(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(h, w, 4) of RGB, the last all the same: OpenCV moves four channels in half the time of three."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2RGBA), np.uint8)


def halved(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture (h, w) or (h, w, 3) of half the size. Halving twice takes a quarter of the time of quartering."""
    height, width = picture.shape[:2]
    size = (max(width // 2, 1), max(height // 2, 1))  # OpenCV's order
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


class Match(NamedTuple):
    """A picture beside the one before, moved to where things are now."""

    origins: NDArray[np.float32]  # as of `origins_of`
    change: Exposure
    difference: NDArray[np.uint8]  # as of `differences`


def matched(now: NDArray[np.uint8], before: NDArray[np.uint8], motion: NDArray[np.float32], *, limit: float) -> Match:
    """`now` and `before` as of `four_channels`; `motion` as of `Flow`; `limit` as of `likely_exposure`."""
    origins = origins_of(motion, *now.shape[:2])
    expected = moved(before, origins)
    change = likely_exposure(now, expected, limit=limit)
    return Match(origins, change, differences(now, expected, origins, change))


def differences(
    now: NDArray[np.uint8], expected: NDArray[np.uint8], origins: NDArray[np.float32], change: Exposure
) -> NDArray[np.uint8]:
    """(h, w): by how many levels, in the worst channel, `now` differs from `expected`, moved from `origins`."""
    red, green, blue, *_ = cv2.split(cv2.absdiff(now, exposed(expected, change)))
    unseen = cv2.bitwise_not(_inside(origins))  # 255 there, else 0
    return np.asarray(cv2.max(cv2.max(cv2.max(red, green), blue), unseen), np.uint8)


def exposed(picture: NDArray[T], change: Exposure) -> NDArray[np.uint8]:
    """`picture` as it would look after a change of exposure."""
    if change == _UNCHANGED:
        return np.asarray(cv2.convertScaleAbs(picture), np.uint8)  # the same, in a third of the time
    return np.asarray(cv2.addWeighted(picture, change.gain, picture, 0, change.offset, dtype=cv2.CV_8U), np.uint8)


def explained(residual: NDArray[np.uint8], origins: NDArray[np.float32], *, limit: float) -> float:
    """The share of a picture that the one before explains: it looks alike to `limit` levels, and is in one piece.

    Flow finds bits of anything in anything: half of a picture may look like an unrelated one, moved. But such bits
    come from all over, so a point counts only where its origin is beside those of its neighbours.
    """
    places = origins.view(np.complex64)[..., 0]  # x + yj: so NumPy takes a fifth of the time
    here, right, below = (
        places[:-1:_SAMPLE, :-1:_SAMPLE],
        places[:-1:_SAMPLE, 1::_SAMPLE],
        places[1::_SAMPLE, :-1:_SAMPLE],
    )
    torn_by = np.abs(right - here - 1) + np.abs(below - here - 1j)
    is_alike = residual[:-1:_SAMPLE, :-1:_SAMPLE] < limit
    return float(np.count_nonzero(is_alike & (torn_by < _TORN)) / max(is_alike.size, 1))


def beside_partings(difference: NDArray[np.uint8], origins: NDArray[np.float32]) -> NDArray[np.uint8]:
    """`difference` as of `differences`, more of it where things part.

    What comes out from behind a car has no origin. Flow, which goes over smoothly from the car to what is beside it,
    stretches the car over it, and where both are dark a difference of a few levels is all that tells. So there it
    counts as the geometric mean of itself and of the stretch, the same at any frame rate: frames twice as near to each
    other are stretched by half, and doubted by half, twice. Sand and Teller, Particle Video, CVPR 2006, find what is
    hidden by the two as well.
    """
    right, down = cv2.split(cv2.subtract(origins, _pixels(*origins.shape[:2])))
    along_x = cv2.Sobel(right, cv2.CV_32F, 1, 0, scale=-_PARTING / 8)
    along_y = cv2.Sobel(down, cv2.CV_32F, 0, 1, scale=-_PARTING / 8)
    levels = difference.astype(np.float32)
    stretch = cv2.max(cv2.max(along_x, along_y), levels)
    return np.asarray(cv2.convertScaleAbs(cv2.sqrt(cv2.multiply(stretch, levels))), np.uint8)


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
    return np.asarray((missed < 0.01 * covered + 0.5) & (_inside(back) > 0), np.bool_)


def exposure(now: NDArray[np.uint8], expected: NDArray[np.uint8]) -> Exposure:
    """What turns `expected` into `now`, one for all channels: a change of colour is not the exposure's.

    Medians, as what is new or badly followed must not count; of green, which is most of the brightness.
    """
    x = expected[::_SAMPLE, ::_SAMPLE, 1].astype(np.float32).ravel()
    y = now[::_SAMPLE, ::_SAMPLE, 1].astype(np.float32).ravel()
    from_middle = x - median(x)
    useful = np.abs(from_middle) > _CONTRAST
    gain = median((y - median(y))[useful] / from_middle[useful]) if useful.any() else 1.0
    gain = min(max(gain, 1 / _MAX_GAIN), _MAX_GAIN)
    return Exposure(gain, median(y - gain * x))


def likely_exposure(now: NDArray[np.uint8], expected: NDArray[np.uint8], *, limit: float) -> Exposure:
    """`exposure`, or none at all where as much of the two pictures is alike to `limit` levels without it.

    Where much of a picture is new, or flow errs, medians tell of a change that there was not: a light road that turns
    dark, found on a motorway.
    """
    x, y = expected[::_SAMPLE, ::_SAMPLE, 1], now[::_SAMPLE, ::_SAMPLE, 1]
    if 2 * np.count_nonzero(cv2.absdiff(x, y) <= _FAINT) > x.size:  # as nearly always
        return _UNCHANGED
    change = exposure(now, expected)
    alike = [
        np.count_nonzero(np.abs(y - (gain * x.astype(np.float32) + offset)) < limit)
        for gain, offset in (change, _UNCHANGED)
    ]
    return change if alike[0] > alike[1] else _UNCHANGED


def stepped(motion: Field, now: Gray, before: Gray, steps: int = 1) -> Field:
    """`motion`, which may be of smaller pictures, made finer."""
    tracker = Tracker(now)
    for _ in range(steps):
        missed = tracker.step(moved(before, origins_of(motion, *now.shape)))
        rows, columns = motion.shape[:2]
        step = cv2.resize(missed, (columns, rows), interpolation=cv2.INTER_LINEAR)
        motion = np.asarray(cv2.scaleAdd(step, columns / now.shape[1], motion), np.float32)
    return motion


@lru_cache(maxsize=8)
def _pixels(height: int, width: int) -> NDArray[np.float32]:
    """(height, width, 2): x and y of each pixel. Not to be written to."""
    pixels = np.dstack(np.meshgrid(np.arange(width), np.arange(height))).astype(np.float32)
    pixels.flags.writeable = False
    return pixels


def median(values: NDArray[np.float32]) -> float:
    """What np.median gives, but it takes longer to make ready than to order a few hundred values."""
    middle = [(len(values) - 1) // 2, len(values) // 2]
    return float(np.partition(values, middle)[middle].mean())


def _inside(origins: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(h, w): 255 where the origin is in the picture, 0 elsewhere."""
    height, width = origins.shape[:2]
    return np.asarray(cv2.inRange(origins, (-0.5, -0.5, 0, 0), (width - 0.5, height - 0.5, 0, 0)), np.uint8)


class Tracker:
    """Finer steps towards where each pixel of `now` was. What depends on `now` alone is worked out once."""

    def __init__(self, now: Gray) -> None:
        self._now = now
        self._across = _plane(cv2.Sobel(now, cv2.CV_32F, 1, 0, scale=1 / 8))  # levels a pixel
        self._down = _plane(cv2.Sobel(now, cv2.CV_32F, 0, 1, scale=1 / 8))
        xx = _weighed(self._across, self._across) + _STEADY
        yy = _weighed(self._down, self._down) + _STEADY
        xy = _weighed(self._across, self._down)
        determinant = cv2.subtract(cv2.multiply(xx, yy), cv2.multiply(xy, xy))
        self._xx, self._xy, self._yy = (_plane(cv2.divide(item, determinant)) for item in (xx, xy, yy))

    def step(self, expected: Gray) -> Field:
        """(h / 2, w / 2, 2): what to add to the motion by which `expected` came from the picture before."""
        missed = _plane(cv2.subtract(self._now, expected, dtype=cv2.CV_32F))
        # Without its mean: a change of exposure is no motion.
        missed = _plane(cv2.subtract(missed, cv2.blur(missed, _MEAN)))
        x, y = _weighed(self._across, missed), _weighed(self._down, missed)
        right = cv2.subtract(cv2.multiply(self._yy, x), cv2.multiply(self._xy, y))
        down = cv2.subtract(cv2.multiply(self._xx, y), cv2.multiply(self._xy, x))
        return np.clip(np.asarray(cv2.merge([right, down]), np.float32), -_MAX_STEP, _MAX_STEP)


def _weighed(one: Plane, other: Plane) -> Plane:
    """The product, averaged over the window about each second pixel of each second row."""
    height, width = one.shape
    product = cv2.multiply(one, other)
    halved = cv2.resize(product, ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA)
    return _plane(cv2.GaussianBlur(halved, _WINDOW, 0))


def _plane(array: object) -> Plane:
    return np.asarray(array, np.float32)
