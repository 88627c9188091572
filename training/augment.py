"""Random changes to a picture and its labels: one geometry for all, lighting for the picture alone."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .files import Picture
from .harsh import make_harsh
from .label_pictures import VOID
from .settings import AugmentSettings

Mask = NDArray[np.uint8]  # (height, width)
Crop = tuple[Picture, Mask]
Soft = NDArray[np.uint8]  # (height, width, classes) probabilities in 255ths
_FILL = (127.0, 127.0, 127.0)  # around a picture smaller than the crop; the network's zero


def augment(
    picture: Picture,
    mask: Mask,
    soft: Soft | None = None,
    *,
    height: int,
    width: int,
    full_height: int,
    settings: AugmentSettings,
    rng: np.random.Generator,
) -> tuple[Crop, Soft | None]:
    """A random crop of `height` x `width`; what lies outside the picture is gray and void.

    At a scale of 1 the whole picture would be `full_height` high. `soft` is of the clean picture, at any size; the same
    crop of it comes at half the size.
    """
    drawn = float(np.exp(rng.uniform(np.log(settings.scale_min), np.log(settings.scale_max))))
    scale = drawn * full_height / len(mask)
    picture, shape = _shrunk(picture, scale), mask.shape
    matrix = _random_geometry(shape[0], shape[1], scale, height, width, settings, rng)
    to_picture = matrix @ _between(shape, picture.shape)
    size = (width, height)  # OpenCV's order
    crop = np.asarray(cv2.warpAffine(picture, to_picture, size, flags=cv2.INTER_LINEAR, borderValue=_FILL), np.uint8)
    mask = np.asarray(cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_NEAREST, borderValue=(VOID,)), np.uint8)
    crop = _random_lighting(crop, settings, rng)
    both = make_harsh(crop, mask, rng) if rng.random() < settings.harsh else (crop, mask)
    return both, None if soft is None else _at_half_size(soft, matrix, shape, height, width)


def _at_half_size(soft: Soft, matrix: NDArray[np.float64], shape: tuple[int, ...], height: int, width: int) -> Soft:
    """`matrix` takes a pixel of the mask, which was of `shape`, to its place in the crop."""
    whole = np.vstack([matrix, [0, 0, 1]]) @ _between(shape, soft.shape)
    half = np.array([[0.5, 0, -0.25], [0, 0.5, -0.25]]) @ whole
    return np.asarray(cv2.warpAffine(soft, half, (width // 2, height // 2), flags=cv2.INTER_LINEAR), np.uint8)


def _shrunk(picture: Picture, scale: float) -> Picture:
    """By area where it is to be much smaller, so that nothing aliases; else as it is."""
    if scale > 0.75:
        return picture
    size = (max(round(picture.shape[1] * scale), 1), max(round(picture.shape[0] * scale), 1))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _between(mask: tuple[int, ...], picture: tuple[int, ...]) -> NDArray[np.float64]:
    """The 3x3 matrix that takes a pixel of the (shrunk) picture to its place in the mask."""
    rows, columns = mask[0] / picture[0], mask[1] / picture[1]
    return np.array([[columns, 0, (columns - 1) / 2], [0, rows, (rows - 1) / 2], [0, 0, 1]])


def _random_geometry(
    height: int,
    width: int,
    scale: float,
    crop_height: int,
    crop_width: int,
    settings: AugmentSettings,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """The 2x3 matrix that takes a pixel of the mask to its place in the crop."""
    left = _random_offset(width * scale, crop_width, rng)
    top = _random_offset(height * scale, crop_height, rng)
    # Pixel centres lie at half integers, so that a scaled picture keeps its place: x' = s (x + 1/2) - 1/2 - left.
    shift = (scale - 1) / 2
    matrix = np.array([[scale, 0, shift - left], [0, scale, shift - top]])
    if rng.random() < settings.flip:
        matrix[0] = [-matrix[0, 0], 0, crop_width - 1 - matrix[0, 2]]
    return matrix


def _random_offset(size: float, crop: int, rng: np.random.Generator) -> float:
    """Where the crop starts; below 0 when the picture is smaller than the crop."""
    spare = size - crop
    return float(rng.uniform(min(spare, 0), max(spare, 0)))


def _random_lighting(picture: Picture, settings: AugmentSettings, rng: np.random.Generator) -> Picture:
    brightness, contrast, saturation = (
        1 + rng.uniform(-span, span) for span in (settings.brightness, settings.contrast, settings.saturation)
    )
    hue = np.deg2rad(rng.uniform(-settings.hue_degrees, settings.hue_degrees))
    # All four are affine in RGB, so one 3x4 matrix does them in a single pass.
    color = _hue_and_saturation(hue, saturation) * brightness * contrast
    mean = float(picture.mean()) * brightness
    offset = np.full((3, 1), mean * (1 - contrast))
    changed = cv2.transform(picture, np.hstack([color, offset]))
    return np.asarray(changed, np.uint8)  # cv2.transform rounds and saturates for uint8


def _hue_and_saturation(hue: float, saturation: float) -> NDArray[np.float64]:
    """Turn and stretch chroma about the gray axis, in the YIQ space (as in the SVG filter feColorMatrix)."""
    to_yiq = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    cos, sin = np.cos(hue) * saturation, np.sin(hue) * saturation
    turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    return np.asarray(np.linalg.inv(to_yiq) @ turn @ to_yiq)
