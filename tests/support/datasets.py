"""Tiny labelled data sets in both layouts, and settings to train on them in a second."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from roadmask.training.settings import AugmentSettings, TrainSettings

CODES = ("Sky", "Void", "Road", "Car")  # void is not last, so that a shifted class shows
NAMES = ("Sky", "Road", "Car")
ID_COLORS = np.array([(200, 220, 255), (90, 90, 90), (40, 40, 45), (220, 30, 30)], np.uint8)
HEIGHT, WIDTH = 64, 96
STILL = AugmentSettings(
    scale_min=1, scale_max=1, flip=0, brightness=0, contrast=0, saturation=0, hue_degrees=0
)  # changes nothing but the crop


def draw_ids(index: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """Sky over road, with a car at a place of its own and void (the bonnet) at the foot."""
    ids = np.zeros((height, width), np.uint8)
    ids[height // 2 :] = 2
    left = 5 + 7 * index % (width // 2)
    ids[height // 2 - 8 : height // 2 + 8, left : left + width // 4] = 3
    ids[-height // 16 :] = 1
    return ids


def frame_name(index: int) -> str:
    """Two drives, in turn."""
    return f"{'AB'[index % 2]}_{index:04}"


def make_fastai(root: Path, *, count: int = 8, valid: int = 2, height: int = HEIGHT, width: int = WIDTH) -> Path:
    """The first `valid` frames are listed for validation."""
    for index in range(count):
        ids = draw_ids(index, height, width)
        save_pair(root / "images" / f"{frame_name(index)}.png", root / "labels" / f"{frame_name(index)}_P.png", ids)
    (root / "codes.txt").write_text("\n".join(CODES) + "\n", encoding="utf-8")
    names = (f"{frame_name(index)}.png" for index in range(valid))
    (root / "valid.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    return root


def make_segnet(root: Path, *, train: int = 4, val: int = 2, test: int = 2) -> Path:
    index = 0
    for folder, count in (("train", train), ("val", val), ("test", test)):
        for _ in range(count):
            name = f"{frame_name(index)}.png"
            save_pair(root / folder / name, root / f"{folder}annot" / name, draw_ids(index))
            index += 1
    (root / "codes.txt").write_text("\n".join(CODES) + "\n", encoding="utf-8")
    return root


COARSE = {"heaven": "Sky", "street": ["Road", "Car"], "vehicle": "Car", "gap": "void"}  # of `make_coarse`, in NAMES


def make_coarse(root: Path, *, count: int = 4, valid: int = 2) -> tuple[Path, Path]:
    """The same pictures as of `make_fastai`, by other classes, one of which is a set; and the map of them.

    Drives are C and D.
    """
    for index in range(count):
        ids = draw_ids(index)
        name = f"{'CD'[index % 2]}_{index:04}"
        save_pair(root / "images" / f"{name}.png", root / "labels" / f"{name}.png", ids)
    (root / "codes.txt").write_text("heaven\ngap\nstreet\nvehicle\n", encoding="utf-8")
    names = (f"{'CD'[index % 2]}_{index:04}.png" for index in range(valid))
    (root / "valid.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    path = root / "map.json"
    path.write_text(json.dumps(COARSE), encoding="utf-8")
    return root, path


def make_unlabelled(root: Path, *, count: int = 3) -> Path:
    for index in range(count):
        save_png(root / f"more_{index}.png", ID_COLORS[draw_ids(index + 50)])
    return root


def with_names(root: Path, *names: str) -> Path:
    (root / "codes.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    return root


def save_pair(picture: Path, label: Path, ids: NDArray[np.uint8]) -> None:
    save_png(picture, ID_COLORS[ids])
    save_png(label, ids)


def save_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def tiny_settings(*data: Path | str, **changes: object) -> TrainSettings:
    """Three epochs of two steps, with everything on that a resumed run could get wrong."""
    settings = TrainSettings(
        data=tuple(map(str, data)),
        epochs=3,
        batch=3,
        lr=3e-3,
        encoder_lr=1e-3,
        class_weight_offset=1.1,
        weights="none",
        decoder=(8, 8, 8, 8),
        dropout=0.3,
        average=0.9,
        device="cpu",
        precision="fp32",
    )
    return replace(settings, **changes)  # type: ignore[arg-type]
