"""A picture of which is known what a network for driving has to see in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..bench.bench_clip import draw_drive
from ..decode.source import open_source
from ..network.model import Model
from ..spec import PixelClass

HEIGHT, WIDTH = 192, 320
# As `bench_clip` draws it: the sky ends above two fifths of the height, and the road is as wide as this at the bottom.
_SKY = slice(0, HEIGHT * 7 // 20), slice(None)
_AHEAD = slice(HEIGHT * 3 // 4, None), slice(WIDTH * 2 // 5, WIDTH * 3 // 5)
_KNOWN = {"sky": (_SKY, 0.7), "road": (_AHEAD, 0.9)}  # the model in the box labels 0.95 and 1.00 of them so


def draw_known(path: Path, *, frames: int) -> None:
    draw_drive(path, height=HEIGHT, width=WIDTH, frames=frames)


def network_inputs(path: Path, model: Model) -> NDArray[np.uint8]:
    """(frames, h, w, 3): what the network is given of a video."""
    with open_source(path) as source:
        size = model.spec.input_size(HEIGHT, WIDTH)
        return np.stack([frame.input for frame in source.frames(lambda _: size)])


def what_is_wrong(mask: NDArray[np.uint8], classes: Sequence[PixelClass]) -> str:
    """How a mask of the picture, at its own size, differs from what is known; empty where it does not."""
    names = [item.name.lower() for item in classes]
    for name, (place, least) in _KNOWN.items():
        share = float((mask[place] == names.index(name)).mean())
        if share < least:
            return f"of the {name} {share:.0%} are labelled so, and {least:.0%} have to be"
    return ""
