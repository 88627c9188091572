"""A short drive, drawn: what `roadmask bench` measures with where no clip is named."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

_SPEED = 0.35  # depths of the ground that pass in a frame
_LANE = 6.0  # width of a lane, in the ground's units
_ROAD, _VERGE = (0.45, 0.45, 0.48), (0.45, 0.6, 0.3)  # tints
_TEXTURE = 512  # pixels a side
_DASH = 8.0  # length of a lane marking and of the gap after it


def draw_drive(path: Path, *, height: int, width: int, frames: int) -> None:
    """Encode a H.264 clip of a road with markings, verges, a sky and a camera's noise. Even sides.

    What it shows is simple; what decoder and encoder have to do is not, as everything moves and nothing is flat.
    """
    scene = _Scene(height, width)
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=30, width=width, height=height, options={"crf": "20"})
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scene.picture(number), format="rgb24")))
        container.mux(stream.encode(None))


class _Scene:
    def __init__(self, height: int, width: int) -> None:
        rng = np.random.default_rng(0)
        self._noise = rng.integers(0, 7, (2 * height, 2 * width, 3), np.uint8)
        self._texture = _clouds(rng, _TEXTURE, _TEXTURE)
        self._horizon = height * 2 // 5
        sky = np.linspace((90, 140, 210), (200, 215, 230), self._horizon)[:, None].repeat(width, axis=1)
        sky += 0.25 * (_clouds(rng, self._horizon, width).astype(np.float64)[..., None] - 128)
        self._sky = np.clip(sky, 0, 255).astype(np.uint8)
        below = np.arange(1, height - self._horizon + 1, dtype=np.float32)[:, None]
        self._depth = (height / below).repeat(width, axis=1)  # of the ground at each pixel
        self._side = (np.arange(width, dtype=np.float32)[None] - width / 2) / below * 2

    def picture(self, number: int) -> NDArray[np.uint8]:
        """(height, width, 3) RGB of frame `number`."""
        depth = self._depth + np.float32(_SPEED * number)
        is_road = np.abs(self._side) < 1.5 * _LANE
        across, along = _folded(12 * self._side), _folded(12 * depth)
        ground = cv2.remap(self._texture, across, along, cv2.INTER_LINEAR)[..., None]
        picture = (ground * np.where(is_road[..., None], _ROAD, _VERGE)).astype(np.uint8)
        is_marked = (np.abs(np.abs(self._side) - _LANE / 2) < 0.25) & (depth % (2 * _DASH) < _DASH)
        picture[is_marked] = 225
        whole = np.concatenate([self._sky, picture])
        top, left = (number * 37) % whole.shape[0], (number * 61) % whole.shape[1]
        noise = self._noise[top : top + whole.shape[0], left : left + whole.shape[1]]
        noisy: NDArray[np.uint8] = np.asarray(cv2.add(whole, noise), np.uint8)
        return noisy


def _folded(coordinates: NDArray[np.floating]) -> NDArray[np.float32]:
    """Back and forth over the texture, so that it has no seam."""
    folded = np.abs(coordinates % (2 * _TEXTURE) - _TEXTURE) * ((_TEXTURE - 1) / _TEXTURE)
    return np.asarray(folded, np.float32)


def _clouds(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """(height, width) noise of all scales."""
    total = np.zeros((height, width), np.float32)
    for cells in (4, 16, 64, 256):
        coarse = rng.normal(size=(cells, cells)).astype(np.float32)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) * (4 / cells) ** 0.5
    return np.asarray(np.clip(128 + 45 * total / total.std(), 0, 255), np.uint8)
