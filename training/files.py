"""Picture, list and JSON files: read whole, or an error that says what is wrong with them."""

from __future__ import annotations

import codecs
import json
import os
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError

if TYPE_CHECKING:
    from PIL import Image

Color = tuple[int, int, int]
Picture = NDArray[np.uint8]  # (height, width, 3) RGB
MOST_NAME = 100  # characters of a class's


def files_in(folder: Path, suffixes: Iterable[str], *, deep: bool = True) -> list[Path]:
    """Those of these suffixes, in any case; also below it, if `deep`, through links too, but each folder once."""
    if not folder.is_dir():
        return []
    found, seen = [], set()
    for place, folders, names in os.walk(folder, followlinks=True):
        is_new = (real := os.path.realpath(place)) not in seen
        seen.add(real)
        folders[:] = [name for name in folders if deep and is_new and not is_hidden(name)]
        found += [Path(place, name) for name in names if is_new and not is_hidden(name)]
    return sorted(path for path in found if path.suffix.lower() in suffixes)


def is_hidden(name: str) -> bool:
    """Also what macOS puts into a zip."""
    return name.startswith((".", "__MACOSX"))


def composed(name: str) -> str:
    """A name in the one of two ways of writing é: macOS takes letters and accents apart, others do not."""
    return unicodedata.normalize("NFC", name)


def read_picture(path: Path) -> NDArray[np.uint8]:
    """(height, width, 3) RGB.

    Raises:
        DataError: no such file, not a picture, or only a part of one.
    """
    # By Pillow: OpenCV reads half a JPEG without complaint, and turns a picture by its EXIF note but not its label.
    with opened(path) as image:
        return np.asarray(image.convert("RGB"), np.uint8)


def is_class_name(text: str) -> bool:
    """Whether it is one that a model file may have; `stream/spec.py` reads no others."""
    return 0 < len(text) <= MOST_NAME and text.isprintable()


def read_json(path: Path) -> Any:
    """Raises `DataError`."""
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as exc:
        raise DataError(f"{path}: not JSON ({exc})") from exc


def read_lines(path: Path) -> list[str]:
    """Without blank ones, as NumPy's `loadtxt` reads fastai's lists."""
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]


def read_text(path: Path) -> str:
    """In UTF-8 or, as PowerShell's `>` writes it, in UTF-16. Raises `DataError`."""
    try:
        content = path.read_bytes()
        is_wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return content.decode("utf-16" if is_wide else "utf-8-sig")
    except OSError as exc:
        raise DataError(f"{path}: cannot be read ({exc.strerror or exc})") from exc
    except UnicodeDecodeError as exc:
        place = f"byte {exc.start} is {content[exc.start]:#x}"
        raise DataError(f"{path}: is not text in UTF-8 ({place}); save it as UTF-8 (Excel: CSV UTF-8)") from exc


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """A picture by Pillow. Raises `DataError`, also for what the block reads of it."""
    from PIL import Image, UnidentifiedImageError  # of an extra, which --help of the commands must do without

    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        with Image.open(path) as image:
            yield image
    except UnidentifiedImageError as exc:
        raise DataError(f"{path}: not a picture; replace it, or remove it") from exc
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as exc:  # what Pillow says of damage
        raise DataError(f"{path}: damaged picture ({exc}); replace it, or remove it") from exc
