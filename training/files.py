"""Picture, label and list files: read whole, or an error that says what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from .errors import DataError


def read_picture(path: Path) -> NDArray[np.uint8]:
    """(height, width, 3) RGB.

    Raises:
        DataError: no such file, not a picture, or only a part of one.
    """
    # By Pillow: OpenCV reads half a JPEG without complaint, and turns a picture by its EXIF note but not its label.
    with _opened(path) as image:
        return np.asarray(image.convert("RGB"), np.uint8)


def read_label_ids(path: Path) -> NDArray[np.uint8]:
    """(height, width) class ids as stored: one channel, also of a palette picture."""
    with _opened(path) as image:
        # Pillow hands out palette indices; OpenCV would turn them into colours.
        if image.mode not in ("L", "P", "1"):
            raise DataError(f"{path}: labels must be one channel of class ids (8 bit), this is {image.mode}")
        return np.asarray(image, np.uint8)


def read_list(path: Path) -> frozenset[str]:
    """Picture names without suffix; a line may also be `folder/name.png`."""
    return frozenset(Path(line).stem for line in read_lines(path))


def read_lines(path: Path) -> list[str]:
    """Without blank ones, as NumPy's `loadtxt` reads fastai's lists."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise DataError(f"{path}: not readable as UTF-8 text ({exc})") from exc
    return [line.strip() for line in text.splitlines() if line.strip()]


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        with Image.open(path) as image:
            yield image
    except UnidentifiedImageError as exc:
        raise DataError(f"{path}: not a picture") from exc
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as exc:  # what Pillow says of damage
        raise DataError(f"{path}: damaged picture ({exc})") from exc
