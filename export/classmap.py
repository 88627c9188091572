"""The classes of a data set as those of a model: by name, or as the user maps them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..training.camvid import CAMVID32_TO_11, VOID, VOID_NAMES, Dataset
from .errors import ExportError

CAMVID32 = "camvid32"  # the mapping that comes in the box
_NEAR = 0.6  # likeness of two names that a message proposes as a pair


def parse_map(values: Sequence[str], dataset: Dataset) -> dict[str, str]:
    """What `--map` says, a later value before an earlier one: data class to model class or "void".

    Args:
        values: each `CLASS=CLASS`, `camvid32`, or the path of a JSON file with one object of such pairs.
        dataset: whose classes the left sides must be. Only those of `camvid32` need not all be there.

    Raises:
        ExportError: a value is none of these, or names a class that the data set does not have.
    """
    known = {name.lower(): name for name in dataset.codes}
    mapping: dict[str, str] = {}
    for value in values:
        pairs = _pairs(value)
        for name, target in pairs.items():
            if name.lower() in known:
                mapping[known[name.lower()]] = target
            elif value != CAMVID32:
                raise ExportError(f"--map {value}: the data has no class {name}; it has {', '.join(dataset.codes)}")
    return mapping


def match_classes(dataset: Dataset, class_names: Sequence[str], mapping: Mapping[str, str]) -> NDArray[np.uint8]:
    """(256,) index of a data set's class to that of the model's class it stands for, or to void.

    Args:
        dataset: whose labels are scored against.
        class_names: the model's.
        mapping: as `parse_map` gives it; classes that are not in it go to their namesakes.

    Raises:
        ExportError: a class has no namesake and is not mapped, or is mapped to none of the model's; or all are void.
    """
    index_of = dict.fromkeys(VOID_NAMES, VOID) | {name.lower(): index for index, name in enumerate(class_names)}
    targets = {name: mapping.get(name, name) for name in dataset.class_names}
    for name, target in mapping.items():
        if target.lower() not in index_of:
            raise ExportError(
                f"--map {name}={target}: the model has no class {target}; it has {', '.join(class_names)}, "
                "and void leaves a class out"
            )
        if name.lower() in VOID_NAMES and index_of[target.lower()] != VOID:
            raise ExportError(f"--map {name}={target}: what is {name} in the data is never scored")
    if unknown := [name for name, target in targets.items() if target.lower() not in index_of]:
        raise ExportError(_mismatch(dataset, class_names, unknown, mapping))
    class_of_label = np.full(256, VOID, np.uint8)
    class_of_label[: len(targets)] = [index_of[target.lower()] for target in targets.values()]
    if (class_of_label == VOID).all():
        raise ExportError(f"{dataset.root}: every class of the data is mapped to void; nothing is left to score")
    return class_of_label


def _pairs(value: str) -> Mapping[str, str]:
    if value == CAMVID32:
        return CAMVID32_TO_11
    if value.lower().endswith(".json"):
        return _read_json(Path(value))
    name, equals, target = (part.strip() for part in value.partition("="))
    if not (name and equals and target):
        raise ExportError(f"--map {value}: neither CLASS=CLASS (or CLASS=void) nor {CAMVID32} nor a .json file")
    return {name: target}


def _read_json(path: Path) -> dict[str, str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as exc:
        raise ExportError(f"{path}: cannot be read ({exc.strerror or exc})") from exc
    except ValueError as exc:
        raise ExportError(f"{path}: not JSON ({exc})") from exc
    if not isinstance(content, dict) or not all(isinstance(target, str) for target in content.values()):
        raise ExportError(f'{path}: must be one object of pairs, as in {{"Truck_Bus": "Car", "Archway": "void"}}')
    return content


def _mismatch(dataset: Dataset, class_names: Sequence[str], unknown: Sequence[str], mapping: Mapping[str, str]) -> str:
    """Which classes lack a partner, on both sides, and the options that would pair them."""
    taken = {mapping.get(name, name).lower() for name in dataset.class_names}
    free = [name for name in class_names if name.lower() not in taken]
    lacking = f"; not in the data: {', '.join(free)}" if free else ""
    return (
        f"{dataset.root}: the classes do not match; not in the model: {', '.join(unknown)}{lacking}; "
        f"say what they are with {_proposal(dataset, class_names, unknown, free)}"
    )


def _proposal(dataset: Dataset, class_names: Sequence[str], unknown: Sequence[str], free: Sequence[str]) -> str:
    targets = {name.lower(): target.lower() for name, target in CAMVID32_TO_11.items()}
    known = {name.lower() for name in class_names} | VOID_NAMES
    if all(targets.get(name.lower()) in known for name in dataset.class_names):
        return f"--map {CAMVID32}"
    pairs = (f"{name}={_nearest(name, free) or _nearest(name, class_names) or 'void'}" for name in unknown)
    return " ".join(f"--map {shlex.quote(pair)}" for pair in pairs)


def _nearest(name: str, candidates: Sequence[str]) -> str | None:
    best = max(candidates, key=lambda candidate: _likeness(name, candidate), default=None)
    return best if best is not None and _likeness(name, best) >= _NEAR else None


def _likeness(first: str, second: str) -> float:
    """1 where the names share a whole word (`traffic_sign` and `SignSymbol`), else as `difflib` compares them."""
    if _words(first) & _words(second):
        return 1.0
    return SequenceMatcher(None, first.lower(), second.lower()).ratio()


def _words(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_a-zA-Z]+", name)}
