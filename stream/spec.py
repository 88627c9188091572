"""What a model file promises: the JSON under the ONNX metadata key `roadmask.spec`.

`export/metadata.py` writes it; this module reads it and trusts nothing. Schema 1:

    {"schema": 1,
     "input":   {"name", "layout": "NHWC", "dtype": "uint8", "color": "RGB", "height", "width", "stride",
                 "fixed": true       it takes pictures of this size alone; left out where it takes others
                 "batch": 1},        it takes one at a time; left out where it takes several
     "output":  {"name", "layout": "NCHW", "dtype": "float32", "kind": "scores"},
     "classes": [{"name", "color": [red, green, blue]}, ...],      in the order of the output's channels
     "provenance": {...},                                          strings: data, licence note, commit, versions
                                                                   and "scores": {"miou": 0.7, ...}
     "familiar": {"lead": 2.9, "pictures": 300}}                   may be missing: see `masks/familiar.py`
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeGuard

from .errors import ArgumentError, ModelError, RoadmaskError
from .system.talk import did_you_mean

METADATA_KEY = "roadmask.spec"
LATEST_SCHEMA = 1
MAX_NAME = 100  # characters of a class's
MAX_PIXELS = 4096 * 2304  # of the network's picture, 4K: a network takes some 350 bytes for each, a call
_LEAST_SIDE = 32
_MAX_STRIDE = 256  # of usual networks 32; the least picture of the most aspect is 16 times its square
_MOST_ASPECT = 16  # of the network's picture, wide or high: beyond it, it would have hardly any other side
SIZES = {"small": 0.75, "default": 1.0, "large": 1.25}  # a side of the network's picture, of the model's own
NO_CLASS = 255  # in a mask: a pixel of no class, as it is left out or undecided
MAX_CLASSES = 255  # a mask is 8 bit, and the last id stays free for `NO_CLASS`

Color = tuple[int, int, int]
Renamed = tuple[tuple[str, str], ...]  # classes and what they are to be called


@dataclass(frozen=True, slots=True)
class PixelClass:
    """One thing that a pixel can show.

    >>> import roadmask
    >>> roadmask.Model.load("camvid-lite0-int8").spec.classes[3]  # of the pixels that are 3 in a mask
    PixelClass(name='Road', color=(128, 64, 128))
    """

    name: str
    color: Color  # RGB


@dataclass(frozen=True, slots=True, eq=False)
class ModelSpec:
    """What a model file says of itself.

    >>> import roadmask
    >>> spec = roadmask.Model.load("camvid-lite0").spec
    >>> spec.class_names.index("Car"), spec.scores["miou"] > 0.7
    (8, True)
    >>> spec.input_size(1080, 1920)  # (height, width) that the network sees a picture of 1920x1080 in
    (352, 640)
    """

    schema: int
    classes: tuple[PixelClass, ...]  # a mask holds indices into this
    input_name: str
    output_name: str
    height: int  # the picture size it was trained on, about; others work, best with as many pixels
    width: int
    stride: int  # input sides must be multiples of it
    provenance: Mapping[str, str]
    scores: Mapping[str, float]  # on its validation pictures
    fixed: bool = False  # it takes pictures of this size alone, which they are squeezed into
    one_at_a_time: bool = False
    least_lead: float | None = None  # of pictures that it knows: see `masks/familiar.py`; None where not measured
    size: str = "default"  # or what stands in place of the file's own height and width, as "672x512"

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(item.name for item in self.classes)

    def computes_in(self, numbers: Literal["int8", "fp16"]) -> bool:
        """Whether the graph does, as its exporter noted; of no such note, it computes in float32."""
        return self.provenance.get("quantization", "").startswith(numbers)

    def at_size(self, size: str) -> ModelSpec:
        """The same for pictures of another size: one of `SIZES`, or about as many pixels as "640x352" has.

        Raises:
            ArgumentError: it is none of these, or the network takes pictures of one size alone.
        """
        try:
            factor, asked = parse_size(size)
        except ValueError as exc:
            raise ArgumentError(f"size {exc}", usage=True) from exc
        width, height = asked or (self.width * factor, self.height * factor)
        width, height = (max(round(side / self.stride), 1) * self.stride for side in (width, height))
        if (height, width) == (self.height, self.width):
            return self
        if self.fixed:
            raise ArgumentError(
                f"size {size}: this model takes pictures of {self.width}x{self.height} alone; leave --size out",
                usage=True,
            )
        if height * width > MAX_PIXELS:
            raise ArgumentError(f"size {size}: more than {MAX_PIXELS} pixels, which the network may have", usage=True)
        return replace(self, height=height, width=width, size=f"{width}x{height}")

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """The network's (height, width) for pictures of `height` x `width`.

        Of the picture's aspect ratio and with about as many pixels as the network was trained on, as nearly as
        multiples of the stride allow. Strips are squeezed.
        """
        if self.fixed:
            return self.height, self.width
        aspect = min(max(width / height, 1 / _MOST_ASPECT), _MOST_ASPECT)
        pixels = self.height * self.width
        ideal_height = (pixels / aspect) ** 0.5
        rows = max(round(ideal_height / self.stride), 1)

        def misfit(size: tuple[int, int]) -> float:
            """Distortion weighs twice as much as a network larger or smaller than trained."""
            distortion = max(size[1] / size[0] / aspect, aspect * size[0] / size[1])
            excess = max(size[0] * size[1] / pixels, pixels / (size[0] * size[1]))
            return 2 * (distortion - 1) + (excess - 1)

        candidates = [
            (row * self.stride, max(round(row * aspect), 1) * self.stride) for row in range(max(rows - 2, 1), rows + 3)
        ]
        return min(candidates, key=misfit)


def parse_size(text: str) -> tuple[float, tuple[int, int] | None]:
    """What a side is multiplied by, and (width, height) where the text is these.

    Raises:
        ValueError: it is neither one of `SIZES` nor such as 640x352.
    """
    if text in SIZES:
        return SIZES[text], None
    match = re.fullmatch(r"(\d{2,4})x(\d{2,4})", text, re.ASCII)
    width, height = map(int, match.groups()) if match else (0, 0)
    if min(width, height) < _LEAST_SIDE or width * height > MAX_PIXELS:
        words = ", ".join(("auto", *SIZES))
        raise ValueError(f"{text!r:.40} is none of {words}, nor a size such as 640x352, of 32x32 to 4096x2304")
    return 1.0, (width, height)


def parse_spec(text: str, path: str) -> ModelSpec:
    """Read and check the JSON of a spec; `path` is the model's name, for messages.

    Raises:
        ModelError: not JSON, of a newer schema, or a field is missing or wrong.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as exc:  # a file from a stranger may hold numbers and nests without end
        raise ModelError(f"{path}: {METADATA_KEY} is not JSON ({exc}); export the model again") from exc
    schema = content.get("schema") if isinstance(content, dict) else None
    if not _is_count(schema):
        raise ModelError(f"{path}: {METADATA_KEY} has no schema number; export the model again")
    if schema > LATEST_SCHEMA:
        raise ModelError(
            f"{path}: spec schema {schema} is newer than this roadmask (knows up to {LATEST_SCHEMA}); "
            "upgrade, or export again"
        )
    try:
        return _spec(content)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as exc:
        what = f"{exc.args[0]} is missing" if isinstance(exc, KeyError) else str(exc)
        raise ModelError(f"{path}: {METADATA_KEY}: {what}; export the model again") from exc


def select_classes(
    classes: Sequence[PixelClass], *, only: Sequence[str] = (), exclude: Sequence[str] = ()
) -> tuple[bool, ...]:
    """Which classes to draw: those in `only` (all if empty) but not in `exclude`; names in any case.

    Raises:
        RoadmaskError: a name is no class of the model.
    """
    names = [item.name.lower() for item in classes]
    _refuse_unknown(classes, (*only, *exclude))
    wanted = {name.lower() for name in only} or set(names)
    return tuple(name in wanted and name not in {item.lower() for item in exclude} for name in names)


@dataclass(frozen=True, slots=True)
class ClassMap:
    """Classes as others call them: renamed, and merged where several have got one name."""

    classes: tuple[PixelClass, ...]
    ids: tuple[int, ...]  # into these, of each class that there was


def map_classes(classes: Sequence[PixelClass], renamed: Renamed) -> ClassMap:
    """Each in the place of the first that has got its name; names in any case, and all of them those of `classes`.

    Raises:
        RoadmaskError: a name is no class, or is given two names, or what it is to be called is no name.
    """
    _refuse_unknown(classes, [name for name, _ in renamed])
    new: dict[str, str] = {}
    for name, called in renamed:
        if new.setdefault(name.lower(), called).lower() != called.lower():
            raise RoadmaskError(f"class {name!r} cannot be both {new[name.lower()]} and {called}", usage=True)
    # What keeps its name is what others are merged into: with its own spelling and colour.
    named = {item.name.lower(): item for item in classes if item.name.lower() not in new}
    mapped: list[PixelClass] = []
    ids = []
    for item in classes:
        called = new.get(item.name.lower(), item.name)
        whole = named.setdefault(called.lower(), _called(item, called))
        if whole not in mapped:
            mapped.append(whole)
        ids.append(mapped.index(whole))
    return ClassMap(tuple(mapped), tuple(ids))


def _called(item: PixelClass, name: str) -> PixelClass:
    try:
        return pixel_class({"name": name, "color": item.color})
    except ValueError as exc:
        raise RoadmaskError(f"{item.name} cannot be called so: {exc}", usage=True) from exc


def _refuse_unknown(classes: Sequence[PixelClass], names: Sequence[str]) -> None:
    known = [item.name for item in classes]
    for name in names:
        if name.lower() not in map(str.lower, known):
            meant = did_you_mean(name, known)
            raise RoadmaskError(f"class {name!r} is not known here; there are {', '.join(known)}{meant}", usage=True)


def _spec(content: dict[str, Any]) -> ModelSpec:
    inputs, outputs = content["input"], content["output"]
    _check("input", inputs, layout="NHWC", dtype="uint8", color="RGB")
    _check("output", outputs, layout="NCHW", dtype="float32", kind="scores")
    classes = tuple(pixel_class(item) for item in content["classes"])
    names = [item.name.lower() for item in classes]
    if not 1 <= len(classes) <= MAX_CLASSES:
        raise ValueError(f"{len(classes)} classes; 1 to {MAX_CLASSES} are possible")
    if len(set(names)) != len(names):
        raise ValueError("two classes have the same name")
    height, width, stride = (_positive(inputs, key) for key in ("height", "width", "stride"))
    if height % stride or width % stride:
        raise ValueError(f"input {height}x{width} is not a multiple of the stride {stride}")
    if stride > _MAX_STRIDE or height * width > MAX_PIXELS:
        raise ValueError(
            f"input {width}x{height} in steps of {stride} is too large; {MAX_PIXELS} pixels "
            f"in steps of {_MAX_STRIDE} at most are possible"
        )
    provenance = dict(content["provenance"])
    scores = {str(key): float(value) for key, value in provenance.pop("scores", {}).items()}
    if not all(map(math.isfinite, scores.values())):
        raise ValueError("a score is not a finite number")
    familiar = content.get("familiar")
    least_lead = None if familiar is None else float(familiar["lead"])
    if least_lead is not None and not math.isfinite(least_lead):
        raise ValueError("the lead of familiar pictures is not a finite number")
    return ModelSpec(
        schema=content["schema"],
        classes=classes,
        input_name=str(inputs["name"]),
        output_name=str(outputs["name"]),
        height=height,
        width=width,
        stride=stride,
        provenance={str(key): str(value) for key, value in provenance.items()},
        scores=scores,
        fixed=inputs.get("fixed", False) is True,
        one_at_a_time=inputs.get("batch") == 1,
        least_lead=least_lead,
    )


def _check(part: str, content: dict[str, Any], **expected: str) -> None:
    for key, value in expected.items():
        if content[key] != value:
            raise ValueError(f"{part} {key} is {content[key]!r}, not {value!r}")


def pixel_class(item: dict[str, Any]) -> PixelClass:
    """Raises `ValueError`, `KeyError` or `TypeError` where it is none."""
    name = item["name"]
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise ValueError(f"class name {name!r:.40} is not a word")
    color = item["color"]
    if len(color) != 3 or not all(type(value) is int and 0 <= value <= 255 for value in color):
        raise ValueError(f"class {name}: colour {color!r} is not three numbers of 0 to 255")
    red, green, blue = color
    return PixelClass(name, (red, green, blue))


def _positive(content: dict[str, Any], key: str) -> int:
    value = content[key]
    if not _is_count(value):
        raise ValueError(f"input {key} is {value!r}, not a positive number")
    return value


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and value > 0  # True is an int too
