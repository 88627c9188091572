"""Picture, label and list files: read whole, or an error that says what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .errors import DataError

if TYPE_CHECKING:
    from PIL import Image

Color = tuple[int, int, int]
Picture = NDArray[np.uint8]  # (height, width, 3) RGB
_MOST_NAME = 100  # characters of a class's


def read_picture(path: Path) -> NDArray[np.uint8]:
    """(height, width, 3) RGB.

    Raises:
        DataError: no such file, not a picture, or only a part of one.
    """
    # By Pillow: OpenCV reads half a JPEG without complaint, and turns a picture by its EXIF note but not its label.
    with _opened(path) as image:
        return np.asarray(image.convert("RGB"), np.uint8)


def read_label_ids(path: Path, id_of_color: Mapping[Color, int] | None = None) -> NDArray[np.uint8]:
    """(height, width) class ids: one channel as stored, also of a palette picture; or of colours in that table."""
    with _opened(path) as image:
        if id_of_color is not None and image.mode in ("RGB", "RGBA"):
            return _ids_of_colors(np.asarray(image.convert("RGB"), np.uint8), id_of_color, path)
        # Pillow hands out palette indices; OpenCV would turn them into colours.
        if image.mode not in ("L", "P", "1"):
            raise DataError(f"{path}: labels must be one channel of class ids (8 bit), this is {image.mode}")
        return np.asarray(image, np.uint8)


def _ids_of_colors(picture: NDArray[np.uint8], id_of_color: Mapping[Color, int], path: Path) -> NDArray[np.uint8]:
    packed = picture.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    colors, places = np.unique(packed, return_inverse=True)
    ids = []
    for color in colors.tolist():
        red_green_blue = (color >> 16, color >> 8 & 255, color & 255)
        if red_green_blue not in id_of_color:
            raise DataError(f"{path}: colour {red_green_blue} is not in the list of classes")
        ids.append(id_of_color[red_green_blue])
    return np.asarray(ids, np.uint8)[places].reshape(picture.shape[:2])


def read_label_colors(path: Path) -> tuple[tuple[str, ...], dict[Color, int]]:
    """The classes of a `label_colors.txt`, a line `R G B name` each, and the id of each colour.

    Black is Void, unless it is a class. # begins a comment.
    """
    codes: list[str] = []
    id_of_color: dict[Color, int] = {}
    for line in read_lines(path):
        match = re.fullmatch(r"(\d{1,3})\s+(\d{1,3})\s+(\d{1,3})\s+(.+)", line.partition("#")[0].strip())
        if line.startswith("#"):
            continue
        color = tuple(map(int, match.groups()[:3])) if match else ()
        if match is None or max(color) > 255:
            raise DataError(f"{path}: {line!r} is not R G B NAME, such as 128 64 128 Road")
        red, green, blue = color
        if not is_class_name(match[4]):
            raise DataError(f"{path}: {match[4]!r:.40} is no name of a class; take up to {_MOST_NAME} letters")
        if match[4] in codes or (red, green, blue) in id_of_color:
            raise DataError(f"{path}: {line!r} has a name or colour that an earlier line has")
        id_of_color[red, green, blue] = len(codes)
        codes.append(match[4])
    if (0, 0, 0) not in id_of_color:
        void = next((number for number, code in enumerate(codes) if code.lower() == "void"), len(codes))
        id_of_color[0, 0, 0] = void
        codes += ["Void"] if void == len(codes) else []
    if not 2 <= len(codes) <= 255:
        raise DataError(f"{path}: {len(codes)} classes; 2 to 255 can be told apart")
    return tuple(codes), id_of_color


def is_class_name(text: str) -> bool:
    """Whether it is one that a model file may have; `stream/spec.py` reads no others."""
    return 0 < len(text) <= _MOST_NAME and text.isprintable()


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
    from PIL import Image, UnidentifiedImageError  # of an extra, which --help of the commands must do without

    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        with Image.open(path) as image:
            yield image
    except UnidentifiedImageError as exc:
        raise DataError(f"{path}: not a picture") from exc
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as exc:  # what Pillow says of damage
        raise DataError(f"{path}: damaged picture ({exc})") from exc
