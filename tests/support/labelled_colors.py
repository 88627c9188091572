"""Small labelled data sets for the model of `color_model.py`: what it gets wrong is known beforehand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.support.color_model import COLORS
from tests.support.datasets import save_pair

HEIGHT, WIDTH = 64, 96
QUARTER = HEIGHT * WIDTH // 4
CODES = ("sky", "Void", "road", "car")  # in another order than the model's classes, and in another case
SKY, VOID_ID, ROAD, CAR = range(4)


def street() -> NDArray[np.uint8]:
    """Sky on the left, road on the right: the model sees them as they are."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[:, : WIDTH // 2], picture[:, WIDTH // 2 :] = COLORS["Sky"], COLORS["Road"]
    return picture


def street_ids() -> NDArray[np.uint8]:
    ids = np.full((HEIGHT, WIDTH), SKY, np.uint8)
    ids[:, WIDTH // 2 :] = ROAD
    return ids


def wrong_ids(wrong_id: int = ROAD) -> NDArray[np.uint8]:
    """A quarter of the picture, all of it sky to the model, is labelled `wrong_id`."""
    ids = street_ids()
    ids[: HEIGHT // 2, : WIDTH // 2] = wrong_id
    return ids


def start(root: Path) -> Path:
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    (root / "codes.txt").write_text("\n".join(CODES) + "\n", encoding="utf-8")
    return root


def add(root: Path, name: str, ids: NDArray[np.uint8], picture: NDArray[np.uint8] | None = None) -> None:
    """A frame of a data set in fastai's layout."""
    save_pair(root / "images" / f"{name}.png", root / "labels" / f"{name}_P.png", ids)
    Image.fromarray(street() if picture is None else picture).save(root / "images" / f"{name}.png")


def two_drives(root: Path) -> Path:
    """Of drive a everything is right; of drive b, the listed one, three quarters."""
    start(root)
    add(root, "a_1", street_ids())
    add(root, "b_1", wrong_ids())
    (root / "valid.txt").write_text("b_1.png\n", encoding="utf-8")
    return root
