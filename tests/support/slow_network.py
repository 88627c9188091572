"""A network that takes its time."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roadmask.stream.network.model import Model
from roadmask.stream.network.providers import Shape


class SlowNetwork:
    """A model's network, with calls that last so long for each picture, on whatever machine."""

    def __init__(self, model: Model, picture_s: float) -> None:
        self._network = model._network
        self._picture_s = picture_s

    def prepare(self, shape: Shape) -> None:
        self._network.prepare(shape)

    def compiled_folder(self, shape: Shape) -> Path | None:
        return self._network.compiled_folder(shape)

    def run(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        threading.Event().wait(self._picture_s * len(pictures))
        return self._network.run(pictures)


def slowed(model: Model, picture_s: float) -> Model:
    """The model, one call at a time, each of which lasts so long."""
    return Model(SlowNetwork(model, picture_s), model.spec, model.path, model.placement, workers=1, sha256=model.sha256)
