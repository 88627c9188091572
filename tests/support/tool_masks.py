"""Masks that are awkward for labelling tools, and what a tool must find in each of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadmask.stream.archive.convert import convert_archive
from roadmask.stream.archive.mask_sink import MaskSink
from roadmask.stream.frames import VideoInfo
from roadmask.stream.spec import ModelSpec, PixelClass
from tests.support.clips import SPEC, open_archive_sink, result_of, video_info

CLASSES = (
    PixelClass("road", (128, 64, 128)),
    PixelClass("car", (0, 0, 0)),  # black, which tools take for what has no label
    PixelClass("sky", (70, 130, 180)),
    PixelClass("tree", (128, 64, 128)),  # the colour of the road
)
UNSURE = 255
_RNG = np.random.default_rng(11)


def _mask(height: int, width: int) -> NDArray[np.uint8]:
    """Large patches and single pixels of all classes and of none."""
    coarse = _RNG.choice([0, 1, 2, 3, UNSURE], (height // 4 + 1, width // 4 + 1)).astype(np.uint8)
    mask = np.kron(coarse, np.ones((4, 4), np.uint8))[:height, :width]
    noise = _RNG.choice([0, 1, 2, 3, UNSURE], mask.shape).astype(np.uint8)
    return np.where(_RNG.random(mask.shape) < 0.05, noise, mask).astype(np.uint8)


# By the frame's number in the video: some were left out, and some pictures have other sizes.
MASKS = {
    0: _mask(37, 53),
    3: _mask(37, 53),
    7: np.full((37, 53), UNSURE, np.uint8),
    12: np.full((53, 37), 2, np.uint8),
    1000: _mask(1, 1),
    1001: _mask(300, 513),  # longer than the longest run that Label Studio can say
    1234567: np.zeros((300, 513), np.uint8),
}


def write_masks(
    path: Path,
    masks: dict[int, NDArray[np.uint8]] = MASKS,
    *,
    classes: tuple[PixelClass, ...] = CLASSES,
) -> Path:
    height, width = next(iter(masks.values())).shape
    spec = replace(SPEC, classes=classes)
    with any_archive(path, video_info(width, height), spec, source="drive.mp4", model="net.onnx") as sink:
        for index, mask in masks.items():
            sink.write(result_of(mask, index=index))
    return path


def frame_name(index: int) -> str:
    return f"frame_{index:06d}"


def names_in(mask: NDArray[np.uint8], given: Collection[str] | None = None) -> NDArray[np.str_]:
    """The name of each pixel's class; empty where it has none, or one that is not given to the tool."""
    names = [item.name if given is None or item.name in given else "" for item in CLASSES]
    table = np.array(names + [""] * (256 - len(names)))
    return table[mask]


@contextmanager
def any_archive(path: Path, info: VideoInfo, spec: ModelSpec, **told: Any) -> Iterator[MaskSink]:
    """A sink for an archive of any kind: what no run writes is converted from what one does."""
    if path.suffix not in (".npz", ".zarr"):
        with open_archive_sink(path, info, spec, **told) as sink:
            yield sink
        return
    overwrite = told.pop("overwrite", False)
    saved = path.with_name(f".{path.name}.zip")
    try:
        with open_archive_sink(saved, info, spec, **told) as sink:
            yield sink
        convert_archive(saved, path, overwrite=overwrite)
    finally:
        saved.unlink(missing_ok=True)
