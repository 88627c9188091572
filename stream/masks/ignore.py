"""What of a picture is left out: the own bonnet, a dashboard, a time stamp. Its pixels are of no class.

It is told by sides, `bottom:12%`, or painted white in a PNG. Places are those of the picture as it is shown, upright;
a painted mask fits pictures of any size that have its shape.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from fractions import Fraction
from functools import reduce
from operator import or_
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..archive.png import picture_of
from ..decode.opening import open_regular
from ..errors import RoadmaskError, first_line
from ..frames import VideoInfo
from ..spec import NO_CLASS

NOTHING = "none"  # the word for it, where a camera has a default
_SIDES = ("top", "bottom", "left", "right")
_SIDE = re.compile(rf"({'|'.join(_SIDES)}):(\d{{1,5}}(?:\.\d{{1,6}})?)(%|px)", re.ASCII)
_MOST_BYTES = 1 << 26  # of a PNG
_MOST_PIXELS = 1 << 26
_MOST_BETWEEN = 0.02  # of a mask's pixels that are neither black nor white: edges that a painting program has softened
_PAINT = "paint white what is to be left out, and black the rest"


@dataclass(frozen=True, slots=True)
class Side:
    """All along one side of a picture."""

    side: str  # one of `_SIDES`
    size: Fraction  # in pixels, or percent
    unit: str  # "px" or "%"

    def paint(self, pixels: NDArray[np.uint8]) -> None:
        """Make `NO_CLASS` what is in it."""
        along = pixels if self.side in ("top", "bottom") else pixels.T
        count = round(self.size if self.unit == "px" else max(len(along) * self.size / 100, Fraction(1)))
        along[slice(count) if self.side in ("top", "left") else slice(max(len(along) - count, 0), None)] = NO_CLASS

    def __str__(self) -> str:
        return f"{self.side}:{float(self.size):g}{self.unit}"


@dataclass(frozen=True, slots=True)
class Painted:
    """What is white in a picture."""

    name: str  # of its file, for messages
    height: int
    width: int
    bits: bytes  # row by row, eight pixels a byte

    def paint(self, pixels: NDArray[np.uint8]) -> None:
        """As that of a `Side`."""
        height, width = pixels.shape
        scaled = cv2.resize(self.pixels(), (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        cv2.max(pixels, scaled, dst=pixels)

    def pixels(self) -> NDArray[np.uint8]:
        """(height, width) 255 where it is white, else 0."""
        flat = np.unpackbits(np.frombuffer(self.bits, np.uint8), count=self.height * self.width)
        return flat.reshape(self.height, self.width) * np.uint8(NO_CLASS)

    def fits(self, height: int, width: int) -> bool:
        """Whether a picture of that size has its shape, up to a pixel's rounding."""
        return abs(self.width * height - self.height * width) <= max(self.height, self.width, height, width)

    def __str__(self) -> str:
        return f"mask {self.width}x{self.height} {zlib.crc32(self.bits):08x}"


@dataclass(frozen=True, slots=True)
class Ignored:
    """What is left out of the pictures of a source; from `parse_ignored`."""

    regions: tuple[Side | Painted, ...] = ()

    def pixels(self, height: int, width: int) -> NDArray[np.uint8]:
        """(height, width) `NO_CLASS` where a picture of that size is left out, else 0."""
        pixels = np.zeros((height, width), np.uint8)
        for region in self.regions:
            region.paint(pixels)
        return pixels

    def refuse_misfit(self, name: str, height: int, width: int, shown_width: int | None = None) -> float:
        """The share that is left out of pictures of that size, which are those of what is called `name`.

        A mask may also be painted as wide as they are shown, where their pixels are wider than high.

        Raises:
            RoadmaskError: a painted mask has another shape, or nothing would be left.
        """
        for region in self.regions:
            if isinstance(region, Painted) and not any(region.fits(height, each) for each in (width, shown_width or 0)):
                raise RoadmaskError(
                    f"{name}: its pictures are {width}x{height}, and the mask {region.name} is "
                    f"{region.width}x{region.height}, another shape; roadmask suggest-ignore makes one that fits"
                )
        share = np.count_nonzero(self.pixels(height, width)) / (height * width)
        if share == 1:
            raise RoadmaskError(
                f"{name}: --ignore {self} leaves nothing of its pictures, {width}x{height}; leave less out"
            )
        return share

    def refuse_misfitting(self, info: VideoInfo, name: str) -> float:
        """As `refuse_misfit`, of a video."""
        return self.refuse_misfit(name, info.height, info.width, info.shown_width)

    def __or__(self, other: Ignored) -> Ignored:
        return Ignored((*self.regions, *other.regions))

    def __bool__(self) -> bool:
        return bool(self.regions)

    def __str__(self) -> str:
        """What it is, wherever it was read from: the same for the same pixels."""
        return ", ".join(sorted({str(region) for region in self.regions}))


def parse_ignored(word: str) -> Ignored:
    """What `bottom:12%`, `left:40px,right:5%`, `bonnet.png` or `none` means.

    Raises:
        RoadmaskError: it is none of these, or the PNG is no mask.

    >>> from roadmask import SegmentSettings, parse_ignored, segment_video
    >>> for result in segment_video("drive.mp4", ignore=parse_ignored("bottom:25%")):
    ...     print(result.mask.shape, (result.mask[-24:] == 255).all(), (result.mask[:-24] < 255).all())
    (96, 128) True True
    (96, 128) True True
    (96, 128) True True
    """
    if word == NOTHING:
        return Ignored()
    found = [_SIDE.fullmatch(part.strip()) for part in word.split(",")]
    if all(found):
        return Ignored(tuple(_side(match, word) for match in found if match))
    if re.match(rf"({'|'.join(_SIDES)})\b", word) and not os.path.exists(word):  # noqa: PTH110 - knows odd names
        raise RoadmaskError(f"--ignore {word}: a side is written bottom:12% or left:40px", usage=True)
    return Ignored((read_painted(Path(word)),))


def _side(match: re.Match[str], word: str) -> Side:
    side, size, unit = match.groups()
    if not 0 < Fraction(size) < (100 if unit == "%" else 1 << 16) or (unit == "px" and "." in size):
        raise RoadmaskError(
            f"--ignore {word}: {size}{unit} is no part of a picture; write such as bottom:12%",
            usage=True,
        )
    return Side(side, Fraction(size), unit)


def read_painted(path: Path) -> Painted:
    """A mask from its PNG.

    Raises:
        RoadmaskError: it cannot be read, is no PNG, or no mask.
    """
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            content = file.read(_MOST_BYTES)
    except FileNotFoundError:
        raise RoadmaskError(f"--ignore {path}: no such file; name a PNG, or a side as in bottom:12%") from None
    except OSError as exc:
        raise RoadmaskError(f"--ignore {path}: cannot be read ({first_line(exc)}); name a PNG") from exc
    return painted_of(content, path.name)


def painted_of(content: bytes, name: str) -> Painted:
    """As `read_painted`, of the content of a file called so."""
    picture = picture_of(content, _MOST_PIXELS)
    if picture is None:
        raise RoadmaskError(f"--ignore {name}: no whole PNG of at most {_MOST_PIXELS >> 20} megapixels; save it as one")
    white = _white(picture, name)
    if not white.any() or white.all():
        what = "everything" if white.any() else "nothing"
        raise RoadmaskError(f"--ignore {name}: would leave {what} out; {_PAINT}")
    height, width = white.shape
    return Painted(name, height, width, np.packbits(white).tobytes())


def _white(picture: NDArray[np.uint8 | np.uint16], name: str) -> NDArray[np.bool_]:
    """In any colour that is not black; or, where some of it is transparent, what is not."""
    half = np.iinfo(picture.dtype).max // 2
    if picture.ndim == 3 and picture.shape[2] == 4 and (picture[..., 3] <= half).any():
        return np.asarray(picture[..., 3] > half)
    light = picture if picture.ndim == 2 else picture[..., :3].max(axis=2)
    most = int(light.max(initial=0))  # 1 in masks that hold 0 and 1
    if ((light > 0.1 * most) & (light < 0.9 * most)).mean() > _MOST_BETWEEN:
        raise RoadmaskError(f"--ignore {name}: is a picture with many shades, and no mask; {_PAINT}")
    return np.asarray(light > most / 2)


def ignored_by_source(words: Sequence[str], names: Sequence[str]) -> list[Ignored | None]:
    """What is left out of each source called so; `None` of those that no word is for.

    Args:
        words: for all, or with a name before them for some: `front=bonnet.png`, `*_rear.mp4=bottom:5%`.
        names: of the sources.

    Raises:
        RoadmaskError: as `parse_ignored`; or no source has such a name.
    """
    rules = ignore_rules(words)
    for pattern, _ in rules:
        if not any(fnmatchcase(name, pattern) for name in names):
            some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            raise RoadmaskError(f"--ignore {pattern}=...: no source is called so; there are {some}", usage=True)
    return [ignored_in(rules, name) for name in names]


def ignore_rules(words: Sequence[str]) -> list[tuple[str, Ignored]]:
    """Which names, and what is left out of sources that have them. Raises as `parse_ignored`."""
    return [(pattern, parse_ignored(value)) for pattern, value in map(_named, words)]


def ignored_in(rules: Sequence[tuple[str, Ignored]], name: str) -> Ignored | None:
    """What is left out of one source."""
    found = [ignored for pattern, ignored in rules if fnmatchcase(name, pattern)]
    return reduce(or_, found) if found else None


def _named(word: str) -> tuple[str, str]:
    name, _, value = word.partition("=")
    if not value or name in _SIDES or os.path.exists(word):  # noqa: PTH110 - a name of any kind may be asked for
        return "*", word
    return name, value
