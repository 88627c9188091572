"""The colours that classes are drawn in: palettes by name, or a file of the user's own.

CamVid's own put a dark purple car on a purple road. `clear` keeps the hues that people know from Cityscapes (a purple
road, blue cars, red people) and is chosen so that any two classes can be told apart over a road, by day and by night,
also by eyes that see no red or no green; `python tests/bench/palettes.py` measures it. Data that is exported keeps the
colours that its format defines, and a model file its own.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import RoadmaskError
from ..spec import Color, PixelClass
from ..system.talk import did_you_mean

_MAX_BYTES = 1 << 20  # of a file

Eyes = Literal["all", "no red", "no green", "no blue"]
_EYES: tuple[Eyes, ...] = ("all", "no green")  # that colours are chosen for: these, and the commonest that lack some
_ASPHALT: Color = (100, 100, 100)
_SEEN: dict[Eyes, NDArray[np.float64]] = {
    "all": np.eye(3),
    "no red": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "no green": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "no blue": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = np.array([0.95047, 1, 1.08883])

# By the names of Cityscapes, which other data sets' names stand for: see `_key`.
_CLEAR: dict[str, Color] = {
    "sky": (119, 174, 251),
    "building": (40, 33, 22),
    "pole": (239, 255, 245),
    "road": (142, 2, 101),
    "sidewalk": (228, 136, 171),
    "vegetation": (5, 244, 129),
    "trafficsign": (227, 241, 19),
    "fence": (1, 133, 115),
    "car": (25, 33, 253),
    "person": (236, 19, 20),
    "bicycle": (241, 134, 1),
}
# As published: Cordts et al., "The Cityscapes dataset for semantic urban scene understanding" (2016), labels.py.
_CITYSCAPES: dict[str, Color] = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "parking": (250, 170, 160),
    "railtrack": (230, 150, 140),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "guardrail": (180, 165, 180),
    "bridge": (150, 100, 100),
    "tunnel": (150, 120, 90),
    "pole": (153, 153, 153),
    "trafficlight": (250, 170, 30),
    "trafficsign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "caravan": (0, 0, 90),
    "trailer": (0, 0, 110),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}
_TABLES: dict[str, Mapping[str, Color] | None] = {"clear": _CLEAR, "camvid": None, "cityscapes": _CITYSCAPES}
PALETTES = tuple(_TABLES)
_SAME = {  # what others call it: Cityscapes' name
    "columnpole": "pole",
    "pavement": "sidewalk",
    "tree": "vegetation",
    "vegetationmisc": "vegetation",
    "signsymbol": "trafficsign",
    "sign": "trafficsign",
    "pedestrian": "person",
    "bicyclist": "bicycle",
    "cyclist": "bicycle",
    "motorcyclescooter": "motorcycle",
    "truckbus": "truck",
}


@dataclass(frozen=True, slots=True)
class Palette:
    """What colours classes have; from `load_palette`.

    Attributes:
        name: of a palette in the box, or of the file.
        own: class names and colours of a file.

    >>> from roadmask import Model, Overlay, load_palette
    >>> classes = Model.load("camvid-lite0-int8").spec.classes
    >>> overlay = Overlay(load_palette("clear").colored(classes))
    """

    name: str = "clear"
    own: tuple[tuple[str, Color], ...] = field(default=(), repr=False)

    def colored(self, classes: Sequence[PixelClass]) -> tuple[PixelClass, ...]:
        """The classes in these colours, none of which is given twice but by a file.

        A class that the palette does not know gets a colour unlike all others: the same for the same classes.

        Raises:
            RoadmaskError: the file names a class that is none of these.
        """
        table = _TABLES.get(self.name, _CLEAR)
        if table is None:
            return tuple(classes)
        own = self._own(classes)
        colors: list[Color | None] = [own.get(item.name) for item in classes]
        taken = {color for color in colors if color}
        for place, item in enumerate(classes):
            known = table.get(_key(item.name)) or table.get(_SAME.get(_key(item.name), ""))
            if colors[place] is None and known and known not in taken:
                colors[place] = known
                taken.add(known)
        others = _unlike(taken, colors.count(None))
        return tuple(replace(item, color=color or next(others)) for item, color in zip(classes, colors, strict=True))

    def _own(self, classes: Sequence[PixelClass]) -> dict[str, Color]:
        names = {_key(item.name): item.name for item in classes}
        for name, _ in self.own:
            if _key(name) not in names:
                meant = did_you_mean(name, names.values())
                raise RoadmaskError(
                    f"{self.name}: class {name!r} is not known here; there are {', '.join(names.values())}{meant}",
                    usage=True,
                )
        return {names[_key(name)]: color for name, color in self.own}

    def __str__(self) -> str:
        """Tells two palettes apart, as a run that goes on must."""
        if not self.own:
            return self.name
        return f"{self.name} ({zlib.crc32(json.dumps(self.own).encode()):08x})"


CLEAR = Palette()


def load_palette(word: str | Path) -> Palette:
    """A palette in the box by its name ("clear", "camvid" for the classes' own colours, "cityscapes"), or from a file.

    A file is JSON: `{"Car": "#0060ff", "Road": [128, 64, 128]}`, class names in any case; classes that it leaves out
    have the colours of "clear".

    Raises:
        RoadmaskError: there is no such palette, or the file is none.

    >>> from roadmask import PixelClass, load_palette
    >>> classes = [PixelClass("Road", (128, 64, 128)), PixelClass("Car", (64, 0, 128))]
    >>> [item.color for item in load_palette("cityscapes").colored(classes)]
    [(128, 64, 128), (0, 0, 142)]
    """
    path, word = Path(word), str(word)
    if word.lower() in _TABLES:
        return Palette(word.lower())
    if path.suffix.lower() != ".json":
        meant = did_you_mean(word, PALETTES)
        raise RoadmaskError(f"palette {word!r} is none of {', '.join(PALETTES)}, and no FILE.json{meant}", usage=True)
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES)
        return Palette(path.name, _read(json.loads(text, object_pairs_hook=_once)))
    except OSError as exc:
        raise RoadmaskError(f"{path}: cannot be read ({exc.strerror or exc})", usage=True) from exc
    except (ValueError, RecursionError) as exc:
        raise RoadmaskError(f'{path}: no palette, as {{"Car": "#0060ff"}} is: {exc}', usage=True) from exc


def _read(content: object) -> tuple[tuple[str, Color], ...]:
    """Raises `ValueError`."""
    if not isinstance(content, dict) or not content:
        raise ValueError("it names no class")
    return tuple((name, _color(name, value)) for name, value in content.items())


def _color(name: str, value: object) -> Color:
    if isinstance(value, str) and value.startswith("#") and len(value) == 7:
        value = list(bytes.fromhex(value[1:]))
    if not isinstance(value, list) or len(value) != 3 or not all(type(one) is int and 0 <= one <= 255 for one in value):
        raise ValueError(f"{name}: {value!r:.40} is neither #rrggbb nor three numbers of 0 to 255")
    red, green, blue = value
    return red, green, blue


def _once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Raises `ValueError` where a name stands twice, in whatever case."""
    content: dict[str, Any] = {}
    seen: set[str] = set()
    for name, value in pairs:
        if _key(name) in seen:
            raise ValueError(f"{name} stands there twice")
        seen.add(_key(name))
        content[name] = value
    return content


def _key(name: str) -> str:
    """Of "Traffic Sign", traffic_sign and TrafficSign."""
    return "".join(letter for letter in name.casefold() if letter.isalnum()) or name


def _unlike(taken: Iterable[Color], count: int) -> Iterator[Color]:
    """So many colours, each as unlike those before it, those that are `taken`, and asphalt, as can be."""
    steps = np.arange(45, 256, 35)  # seven: there is one for each of 255 classes
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.uint8)
    seen = [in_lab(grid, eyes) for eyes in _EYES]
    nearest = np.full(len(grid), np.inf)
    for color in (_ASPHALT, *taken):
        nearest = np.minimum(nearest, _distances(seen, np.array(color, np.uint8)))
    for _ in range(count):
        red, green, blue = grid[nearest.argmax()]
        yield int(red), int(green), int(blue)
        nearest = np.minimum(nearest, _distances(seen, grid[nearest.argmax()]))


def _distances(seen: Sequence[NDArray[np.float64]], color: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Of colours, as all the eyes see them, from one: that of the eyes that see it as the nearest."""
    apart = [np.linalg.norm(colors - in_lab(color, eyes), axis=-1) for colors, eyes in zip(seen, _EYES, strict=True)]
    return np.asarray(np.min(apart, axis=0), np.float64)


def in_lab(colors: NDArray[np.uint8], eyes: Eyes = "all") -> NDArray[np.float64]:
    """(..., 3) CIELAB under D65 of sRGB, as eyes see it that lack a kind of cones, or none.

    Lacking them is simulated in linear light: Machado, Oliveira, Fernandes (2009), severity 1.
    """
    values = colors / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ _SEEN[eyes].T, 0, 1)
    xyz = linear @ _TO_XYZ.T / _WHITE
    x, y, z = np.moveaxis(np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
