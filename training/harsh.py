"""What dashcams meet and CamVid does not show: night, fog, glare, rain, cheap lenses and codecs, the own bonnet.

Each function takes a picture (height, width, 3) and its mask (height, width) and gives new ones.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from .label_pictures import VOID

Picture = NDArray[np.uint8]
Mask = NDArray[np.uint8]
Pair = tuple[Picture, Mask]
_Condition = Callable[[Picture, Mask, np.random.Generator], Pair]


def make_harsh(picture: Picture, mask: Mask, rng: np.random.Generator) -> Pair:
    """One condition of light or weather, of the lens and of the camera: each of the three, or not, by coin."""
    for conditions in (_LIGHT, _LENS, _CAMERA):
        if rng.random() < _EACH:
            condition = conditions[int(rng.integers(len(conditions)))]
            picture, mask = condition(picture, mask, rng)
    return picture, mask


def night(picture: Picture, mask: Mask, rng: np.random.Generator) -> Pair:
    """Dark, in the colour of the lamps, noisy.

    Every class has a light of its own, as the sky is then black, not bright. What is left is exposed as a camera
    would: to a mean level of 10 to 70.
    """
    height, width = mask.shape
    gains = np.exp(rng.uniform(np.log(0.1), 0, 256)).astype(np.float32)
    light = np.asarray(cv2.blur(gains[mask], (7, 7)), np.float32)
    beam = _blob(height, width, rng.uniform(0.3, 0.7), rng.uniform(0.6, 1.0), rng.uniform(0.25, 0.6))
    light += beam * np.float32(rng.uniform(0.0, 0.6))
    lamp = np.array([1.0, rng.uniform(0.6, 1.0), rng.uniform(0.35, 1.1)], np.float32)
    dark = picture * light[..., None] * lamp
    dark *= rng.uniform(10, 70) / max(float(dark.mean()), 1.0)
    _light_lamps(dark, rng)
    return _noisy(dark, float(rng.uniform(1, 8)), rng), mask


def unlit(picture: Picture, mask: Mask, rng: np.random.Generator) -> Pair:
    """A road without lamps: what the own headlights reach, low in the picture, and black above, whatever is there."""
    height, width = mask.shape
    gains = np.exp(rng.uniform(np.log(0.2), 0, 256)).astype(np.float32)
    low = np.linspace(0, 1, height, dtype=np.float32) - np.float32(rng.uniform(0.6, 0.95))
    light = np.exp(-((low / np.float32(rng.uniform(0.12, 0.3))) ** 2))[:, None]
    light = light * _blob(height, width, rng.uniform(0.3, 0.7), 0.0, rng.uniform(0.25, 0.8))[:1]
    light = np.float32(rng.uniform(0.6, 3)) * light + np.float32(np.exp(rng.uniform(np.log(0.001), np.log(0.1))))
    lamp = np.array([1.0, rng.uniform(0.6, 1.0), rng.uniform(0.35, 1.1)], np.float32)
    dark = picture * (gains[mask] * light)[..., None] * lamp
    _light_lamps(dark, rng)
    return _noisy(dark, float(rng.uniform(0, 4)), rng), mask


def fog(picture: Picture, mask: Mask, rng: np.random.Generator) -> Pair:
    """Fades to gray upwards, where things are farther away; also the veil of a low sun."""
    height = len(picture)
    rows = np.linspace(1, rng.uniform(0.1, 0.8), height, dtype=np.float32)[:, None, None] * rng.uniform(0.2, 0.75)
    veil = rng.uniform(120, 240) + rng.uniform(-15, 15, 3).astype(np.float32)
    return _rounded(picture * (1 - rows) + veil * rows), mask


def exposure(picture: Picture, mask: Mask, rng: np.random.Generator) -> Pair:
    """Far too bright or too dark, with a cast of colour: gamma, gain and gains by channel."""
    gamma = np.exp(rng.uniform(np.log(0.45), np.log(2.2)))
    gains = np.exp(rng.uniform(np.log(0.6), np.log(1.7))) * rng.uniform(0.8, 1.2, 3)
    levels = (np.arange(256)[:, None] / 255) ** gamma * gains * 255
    table = _rounded(levels.astype(np.float32))
    return np.asarray(cv2.LUT(picture, table[None]), np.uint8), mask


def glare(picture: Picture, mask: Mask, rng: np.random.Generator) -> Pair:
    """A bright spot, as of the sun or of a lamp on wet glass."""
    height, width = mask.shape
    spot = _blob(height, width, rng.random(), rng.random(), rng.uniform(0.05, 0.35))
    return _rounded(picture + (spot * rng.uniform(60, 255))[..., None]), mask


def reflection(picture: Picture, mask: Mask, rng: np.random.Generator) -> Pair:
    """The dashboard in the windscreen: the picture itself, upside down, out of focus and faint."""
    mirrored = cv2.GaussianBlur(picture[::-1], (0, 0), sigmaX=float(rng.uniform(2, 10)))
    mirrored = np.roll(mirrored, int(rng.integers(mask.shape[1])), axis=1)
    return _rounded(picture + np.float32(rng.uniform(0.1, 0.35)) * mirrored), mask


def rain(picture: Picture, mask: Mask, rng: np.random.Generator) -> Pair:
    """Drops on the glass, through which everything is blurred and displaced."""
    height, width = mask.shape
    drops = np.zeros((height, width), np.float32)
    for _ in range(int(rng.integers(10, 80))):
        center = int(rng.integers(width)), int(rng.integers(height))
        radius = int(rng.integers(2, max(height // 24, 3)))
        cv2.ellipse(drops, center, (radius, int(radius * rng.uniform(1, 2))), 0, 0, 360, 1.0, -1)
    share = np.asarray(cv2.GaussianBlur(drops, (0, 0), sigmaX=1.5), np.float32)[..., None]
    behind = np.roll(cv2.GaussianBlur(picture, (0, 0), sigmaX=4), int(rng.integers(-20, 20)), axis=0)
    return _rounded(picture * (1 - share) + behind * share), mask


def bonnet(picture: Picture, mask: Mask, rng: np.random.Generator) -> Pair:
    """The own car below: a dull, rounded shape, void in the mask."""
    height, width = mask.shape
    shape = np.zeros((height, width), np.uint8)
    center = int(width * rng.uniform(0.3, 0.7)), height + int(height * rng.uniform(0, 0.1))
    axes = int(width * rng.uniform(0.5, 1)), int(height * rng.uniform(0.08, 0.25))
    cv2.ellipse(shape, center, axes, 0, 0, 360, 1, -1)
    covered = shape > 0
    shade = np.linspace(1, rng.uniform(0.5, 1.3), height, dtype=np.float32)[:, None, None]
    paint = _rounded(rng.uniform(5, 160) * rng.uniform(0.9, 1.1, 3).astype(np.float32) * shade)
    painted, masked = picture.copy(), mask.copy()
    painted[covered] = np.broadcast_to(paint, picture.shape)[covered]
    masked[covered] = VOID
    return painted, masked


def blur(picture: Picture, mask: Mask, rng: np.random.Generator) -> Pair:
    """Out of focus, or moved while the shutter was open."""
    if rng.random() < 0.5:
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigmaX=float(rng.uniform(0.5, 2.2))), np.uint8), mask
    length = int(rng.integers(3, 10))
    kernel = np.zeros((length, length), np.float32)
    end = int(rng.integers(length))
    cv2.line(kernel, (0, end), (length - 1, length - 1 - end), 1.0)
    return np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum()), np.uint8), mask


def coarse(picture: Picture, mask: Mask, rng: np.random.Generator) -> Pair:
    """Of a camera with fewer pixels."""
    height, width = mask.shape
    factor = rng.uniform(1.3, 3)
    small = cv2.resize(picture, (int(width / factor), int(height / factor)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8), mask


def compression(picture: Picture, mask: Mask, rng: np.random.Generator) -> Pair:
    """The blocks of a codec that was given too few bits."""
    _, packed = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(8, 50))])
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8), mask


def noise(picture: Picture, mask: Mask, rng: np.random.Generator) -> Pair:
    """Of a sensor with too little light."""
    return _noisy(picture.astype(np.float32), float(rng.uniform(3, 20)), rng), mask


_LIGHT: tuple[_Condition, ...] = (night, unlit, fog, exposure, exposure, glare)  # night and exposure are the commonest
_LENS: tuple[_Condition, ...] = (reflection, rain, bonnet, bonnet)
_CAMERA: tuple[_Condition, ...] = (blur, coarse, compression, noise)
_EACH = 0.6  # probability of each of the three kinds in a harsh picture


def _light_lamps(dark: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Lamps, headlights and tail lights, drawn into the picture."""
    height, width = dark.shape[:2]
    for _ in range(int(rng.integers(0, 6))):
        spot = _blob(height, width, rng.random(), rng.uniform(0.1, 0.7), rng.uniform(0.005, 0.04))
        green = rng.uniform(0.1, 1.0)
        color = np.array([1.0, green, green * rng.uniform(0.3, 1.1)], np.float32)
        dark += (spot * np.float32(rng.uniform(80, 255)))[..., None] * color


def _noisy(picture: NDArray[np.float32], deviation: float, rng: np.random.Generator) -> Picture:
    height, width = picture.shape[:2]
    grain = rng.standard_normal((height, width, 3), dtype=np.float32)
    return _rounded(picture + deviation * grain)


def _blob(height: int, width: int, x: float, y: float, size: float) -> NDArray[np.float32]:
    """A round light at `x`, `y` (shares of width and height), 1 at its centre; `size` is a share of the width."""
    rows = (np.arange(height, dtype=np.float32) - y * height) / (size * width)
    columns = (np.arange(width, dtype=np.float32) - x * width) / (size * width)
    blob: NDArray[np.float32] = np.exp(-(rows**2))[:, None] * np.exp(-(columns**2))[None]
    return blob


def _rounded(picture: NDArray[np.floating]) -> Picture:
    return np.asarray(np.clip(np.rint(picture), 0, 255), np.uint8)
