"""Labels that are pictures: of class ids in whatever mode, of one class in black and white, or of colours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .files import Color, opened
from .layouts import Example

if TYPE_CHECKING:
    from PIL import Image

VOID = 255  # in masks as training sees them: pixels that neither the loss nor a score counts
_PROBED = 12  # label pictures that are looked at before it is decided what they hold
_MOST_STRAY = 0.5  # share of a picture's pixels in colours of no class; above it, the list is the wrong one
_MOST_OFF = 2  # of 255 in each channel: what an editor's colour management changes in a class's colour
_LARGEST = 65535  # void in 16 bits
_SHOWN = 8  # colours in a message


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """What some label pictures of a data set hold."""

    values: frozenset[int]  # of those that hold ids
    colors: tuple[Color, ...]  # of those in colours, the commonest first
    modes: tuple[str, ...]  # for people
    is_colored: bool  # all of them are

    @property
    def is_binary(self) -> bool:
        """Black and white, and nothing between."""
        return 255 in self.values and self.values <= {0, 255}


class LabelPictures:
    """Reads them.

    `strays` tells how many pixels of which file had colours of no class: they are void. `shades` tells how many were
    a shade off the colour of the class that they are taken for.
    """

    def __init__(self, id_of_color: Mapping[Color, int] | None = None, *, is_binary: bool = False) -> None:
        self._id_of_color = id_of_color
        self._is_binary = is_binary
        self.strays: dict[Path, int] = {}
        self.shades: dict[Path, int] = {}

    def ids(self, example: Example) -> NDArray[np.uint8]:
        """(height, width) class ids, or `VOID`. Raises `DataError`."""
        path = example.label
        with opened(path) as image:
            if image.format == "JPEG":
                raise DataError(f"{path}: a JPEG, which changes ids and colours at every edge; save labels as PNG")
            if self._id_of_color is not None and (colors := _colors(image, self._id_of_color)) is not None:
                return self._of_colors(colors, self._id_of_color, path)
            ids = _ids(image, path)
        if not self._is_binary:
            return ids
        if between := sorted(set(np.unique(ids).tolist()) - {0, 255}):
            raise DataError(
                f"{path}: holds {between[0]}, where the others looked at are black and white, 0 and 255; "
                "say that 255 is void: roadmask data DATA --void 255"
            )
        return np.asarray(ids // 255, np.uint8)

    def _of_colors(self, picture: NDArray[np.uint8], id_of_color: Mapping[Color, int], path: Path) -> NDArray[np.uint8]:
        colors, places, counts = np.unique(_packed(picture), return_inverse=True, return_counts=True)
        table = {red << 16 | green << 8 | blue: number for (red, green, blue), number in id_of_color.items()}
        ids = np.array([table.get(color, VOID) for color in colors.tolist()], np.uint8)
        is_stray = np.array([color not in table for color in colors.tolist()])
        if is_stray.any() and (most_off := _most_off(id_of_color)):
            off = _apart(np.array([_unpacked(color) for color in colors]), np.array([*id_of_color]))
            is_shade = is_stray & (off.min(axis=1) <= most_off)
            ids[is_shade] = np.array([*id_of_color.values()])[off.argmin(axis=1)[is_shade]]
            is_stray &= ~is_shade
            if is_shade.any():
                self.shades[path] = int(counts[is_shade].sum())
        if stray := int(counts[is_stray].sum()):
            if stray > _MOST_STRAY * counts.sum():
                color = _unpacked(colors[is_stray][counts[is_stray].argmax()])
                raise DataError(
                    f"{path}: colour {color} is not in the list of classes, nor are those of "
                    f"{stray / counts.sum():.0%} of its pixels; name them there, or save the label without smoothing"
                )
            self.strays[path] = stray
        return np.asarray(ids[places].reshape(picture.shape[:2]), np.uint8)


def probe(examples: Sequence[Example]) -> Probe:
    """Look at some label pictures; those that cannot be read are left to who reads them all."""
    places = np.linspace(0, len(examples) - 1, min(len(examples), _PROBED)).round().astype(int)
    values: set[int] = set()
    colors: Counter[Color] = Counter()
    modes: Counter[str] = Counter()
    colored = 0
    for example in (examples[place] for place in dict.fromkeys(places.tolist())):
        try:
            with opened(example.label) as image:
                if image.format == "JPEG":
                    continue
                if (picture := _rgb(image)) is not None and not _is_gray(picture):
                    found, counts = np.unique(_packed(picture), return_counts=True)
                    colors.update(dict(zip(map(_unpacked, found), counts.tolist(), strict=True)))
                    modes["colours"] += 1
                    colored += 1
                else:
                    values.update(np.unique(_ids(image, example.label)).tolist())
                    modes[_mode(image)] += 1
        except DataError:
            continue
    commonest = tuple(color for color, _ in colors.most_common(_SHOWN))
    return Probe(frozenset(values), commonest, tuple(modes), bool(colored) and colored == modes.total())


def _ids(image: Image.Image, path: Path) -> NDArray[np.uint8]:
    """Class ids as stored, also of a palette picture, whose indices Pillow hands out and OpenCV's colours are not."""
    if image.mode in ("L", "P", "1"):
        return np.asarray(image, np.uint8)
    if image.mode == "LA":
        return np.ascontiguousarray(np.asarray(image, np.uint8)[:, :, 0])
    if image.mode == "F" or image.mode.startswith("I"):
        numbers = np.asarray(image)
        wide = np.nan_to_num(numbers, nan=VOID, posinf=_LARGEST, neginf=-1).astype(np.int64)
        if (wide != numbers)[~np.isnan(numbers)].any():
            raise DataError(f"{path}: labels must be class ids, and these are numbers with fractions")
        wide[(wide == _LARGEST) | (wide == -1)] = VOID
        if wide.min(initial=0) < 0 or wide.max(initial=0) > VOID:
            raise DataError(f"{path}: class id {int(wide.max())}, in 16 bits or more; ids go from 0 to {VOID}")
        return np.asarray(wide, np.uint8)
    if (picture := _rgb(image)) is not None and _is_gray(picture):
        return np.ascontiguousarray(picture[:, :, 0])
    what = "in colours" if image.mode in ("RGB", "RGBA") else f"of the mode {image.mode}"
    raise DataError(
        f"{path}: labels must be one channel of class ids (8 bit), and this is {what}; for colours write a "
        "label_colors.txt, a line R G B NAME for each class"
    )


def _colors(image: Image.Image, id_of_color: Mapping[Color, int]) -> NDArray[np.uint8] | None:
    """(height, width, 3) of a picture in colours; of one with a palette, where its colours are those of classes."""
    if image.mode != "P":
        return _rgb(image)
    palette = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    used = [index for index in np.unique(np.asarray(image)).tolist() if index < len(palette)]
    if used and all(tuple(palette[index].tolist()) in id_of_color for index in used):
        return np.asarray(image.convert("RGB"), np.uint8)
    return None


def _rgb(image: Image.Image) -> NDArray[np.uint8] | None:
    return np.asarray(image.convert("RGB"), np.uint8) if image.mode in ("RGB", "RGBA") else None


def _is_gray(picture: NDArray[np.uint8]) -> bool:
    return bool((picture[:, :, 0] == picture[:, :, 1]).all() and (picture[:, :, 1] == picture[:, :, 2]).all())


def _most_off(id_of_color: Mapping[Color, int]) -> int:
    """How far a colour may be from a class's, so that no other class's is as near."""
    colors = np.array([*id_of_color])
    apart = _apart(colors, colors)
    between = int(apart[~np.eye(len(colors), dtype=np.bool_)].min(initial=VOID))
    return min(_MOST_OFF, (between - 1) // 2)


def _apart(some: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.int64]:
    """(some, others): how far they are apart in the channel in which they are most."""
    return np.asarray(np.abs(some[:, None] - others[None]).max(axis=2))


def _packed(picture: NDArray[np.uint8]) -> NDArray[np.uint32]:
    return np.asarray(picture.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32))


def _unpacked(color: int) -> Color:
    color = int(color)
    return color >> 16, color >> 8 & 255, color & 255


def _mode(image: Image.Image) -> str:
    """For people."""
    named = {"L": "8 bits", "P": "a palette", "1": "1 bit", "LA": "gray with alpha", "F": "32 bits"}
    return named.get(image.mode, "three equal channels" if image.mode in ("RGB", "RGBA") else "16 bits")
