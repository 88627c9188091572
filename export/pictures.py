"""The pictures that an exported model is compared on: real frames where there are any, else drawn ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from ..training.classmap import split_map
from ..training.dataset import open_dataset, read_picture
from ..training.errors import DataError
from .errors import ExportError

if TYPE_CHECKING:  # torch, which --help must do without
    from ..training.checkpoint import Checkpoint

Picture = NDArray[np.uint8]  # (height, width, 3) RGB

SAMPLE_COUNT = 8
_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    pictures: tuple[Picture, ...]
    origin: str  # for people


def samples(checkpoint: Checkpoint, paths: Sequence[Path] | None) -> Samples:
    """At most `SAMPLE_COUNT` pictures, spread over `paths`.

    `None` takes frames of the data set the checkpoint was trained on if it is still in its place, and draws pictures
    if it is not.

    Raises:
        ExportError: `paths` is empty.
        DataError: a file is no picture.
    """
    if paths is not None:
        if not paths:
            raise ExportError("no pictures to compare on; name at least one, or leave the option out")
        return _read(paths, "the given pictures")
    try:
        data = checkpoint.settings["data"]
        dataset = open_dataset(split_map(data if isinstance(data, str) else data[0])[0])  # 1.0 knew one folder
        return _read([example.picture for example in dataset.examples], f"data set {dataset.root.name}")
    except (DataError, OSError, LookupError):  # OSError: a folder that may not be looked into; LookupError: none named
        made = drawn(checkpoint.input_height, checkpoint.input_width)
        return replace(made, origin=f"{made.origin}, as the training data is no longer in its place")


def find_pictures(path: Path) -> list[Path]:
    """The pictures of a data set (its `images/` or `val/`), of a plain folder, or the one file `path`.

    Raises:
        ExportError: there are none.
    """
    if path.is_file():
        return [path]
    for folder in (path / "images", path / "val", path):
        if folder.is_dir():
            found = sorted(file for file in folder.iterdir() if file.suffix.lower() in _SUFFIXES)
            if found:
                return found
    what = f"no pictures in it ({', '.join(sorted(_SUFFIXES))})" if path.is_dir() else "no such file or folder"
    raise ExportError(f"{path}: {what}")


def fit(picture: Picture, height: int, width: int) -> Picture:
    """At the network's size; by area when it shrinks, so that nothing aliases."""
    shrinks = picture.shape[0] > height and picture.shape[1] > width
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (width, height), interpolation=interpolation), np.uint8)


def drawn(height: int, width: int) -> Samples:
    """Pictures of that size where there are no real ones."""
    return Samples(tuple(draw(height, width, seed=seed) for seed in range(SAMPLE_COUNT // 2)), "drawn pictures")


def draw(height: int, width: int, *, seed: int) -> Picture:
    """Something like a street: a sky that fades, ground, boxes and discs. Noise would exercise no edge or surface."""
    rng = np.random.default_rng(seed)
    fade = np.linspace(0, 1, height)[:, None, None]
    top, bottom = rng.uniform(0, 255, (2, 3))
    picture = np.ascontiguousarray(np.broadcast_to(top + (bottom - top) * fade, (height, width, 3)).astype(np.uint8))
    horizon = int(rng.uniform(0.4, 0.6) * height)
    picture[horizon:] = rng.integers(40, 140)
    for _ in range(8):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        size, color = int(rng.integers(4, max(height // 3, 5))), rng.integers(0, 256, 3).tolist()
        if rng.random() < 0.5:
            cv2.rectangle(picture, (x, y), (x + size, y + 2 * size), color, -1)
        else:
            cv2.circle(picture, (x, y), size // 2, color, -1)
    return picture


def _read(paths: Sequence[Path], origin: str) -> Samples:
    chosen = [paths[index] for index in np.linspace(0, len(paths) - 1, min(len(paths), SAMPLE_COUNT)).astype(int)]
    return Samples(tuple(read_picture(path) for path in chosen), origin)
