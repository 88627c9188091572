"""The classes of a data set as those of a model: by name, or as the user maps them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np
from numpy.typing import NDArray

from ..stream.system.talk import did_you_mean
from ..training.classmap import checked_map, meanings, read_map, targets
from ..training.dataset import Color, Dataset
from ..training.errors import DataError
from ..training.label_pictures import VOID
from ..training.labels import Labels
from ..training.public_sets import MAPS, ClassMap
from .errors import ExportError

_NEAR = 0.6  # likeness of two names that a message proposes as a pair


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """What the ids of a data set say of the classes of a model."""

    labels: Labels
    code_of_class: NDArray[np.uint8]  # (256,) index of a data set's class to a code of `labels`, or to void

    @property
    def codes(self) -> frozenset[int]:
        return frozenset(self.code_of_class.tolist()) - {VOID}


def parse_map(values: Sequence[str], dataset: Dataset) -> dict[str, str]:
    """What `--map` says, a later value before an earlier one: data class to model class, `A|B` or "void".

    Args:
        values: each `CLASS=CLASS` or `CLASS=A|B`, the name of a map in the box, or the path of a JSON file.
        dataset: whose classes the left sides must be. Only those of a map in the box need not all be there.

    Raises:
        ExportError: a value is none of these, contradicts itself, or names a class that the data set does not have.
    """
    mapping: dict[str, str] = {}
    for value in values:
        try:
            mapping |= _parsed(value, dataset)
        except DataError as exc:
            raise ExportError(f"--map {exc}", usage=True) from exc
    return mapping


def match_classes(
    dataset: Dataset, class_names: Sequence[str], class_colors: Sequence[Color], mapping: ClassMap
) -> Matched:
    """The model's class, or set of classes, that each class of a data set stands for.

    Args:
        dataset: whose labels are scored against.
        class_names: the model's.
        class_colors: the model's.
        mapping: as `parse_map` gives it; classes that are not in it go to their namesakes.

    Raises:
        ExportError: a class has no namesake and is not mapped, or is mapped to none of the model's; or all are void.
    """
    index_of = {name.lower(): index for index, name in enumerate(class_names)}
    meant = meanings(dataset, mapping)
    unknown = {name: [target for target in some if target.lower() not in index_of] for name, some in meant.items()}
    for name, absent in unknown.items():
        if absent and name in mapping:
            raise ExportError(
                f"--map {name}={mapping[name]}: the model has no class {absent[0]}; it has {', '.join(class_names)}, "
                f"and void leaves a class out{did_you_mean(absent[0], class_names)}",
                usage=True,
            )
    if lacking := [name for name, absent in unknown.items() if absent]:
        raise ExportError(_mismatch(dataset, class_names, lacking, mapping))
    members = [frozenset(index_of[target.lower()] for target in some) for some in meant.values()]
    labels = Labels(
        tuple(class_names), tuple(class_colors), tuple(dict.fromkeys(some for some in members if len(some) > 1))
    )
    codes = np.full(256, VOID, np.uint8)
    codes[: len(members)] = [labels.code(some) if some else VOID for some in members]
    if (codes == VOID).all():
        raise ExportError(f"{dataset.root}: every class of the data is mapped to void; nothing is left to score")
    return Matched(labels, codes)


def _parsed(value: str, dataset: Dataset) -> ClassMap:
    if value in MAPS or value.lower().endswith(".json"):
        return read_map(value, dataset)
    name, equals, target = (part.strip() for part in value.partition("="))
    if not (name and equals and target):
        maps = ", ".join(MAPS)
        raise DataError(f"{value}: neither CLASS=CLASS (or CLASS=A|B, or CLASS=void) nor {maps} nor a .json file")
    return checked_map({name: target}, dataset, value)


def _mismatch(dataset: Dataset, class_names: Sequence[str], unknown: Sequence[str], mapping: ClassMap) -> str:
    """Which classes lack a partner, on both sides, and the options that would pair them."""
    taken = {target.lower() for some in meanings(dataset, mapping).values() for target in some}
    free = [name for name in class_names if name.lower() not in taken]
    lacking = f"; not in the data: {', '.join(free)}" if free else ""
    return (
        f"{dataset.root}: the classes do not match; not in the model: {', '.join(unknown)}{lacking}; "
        f"say what they are with {_proposal(dataset, class_names, unknown, free)}"
    )


def _proposal(dataset: Dataset, class_names: Sequence[str], unknown: Sequence[str], free: Sequence[str]) -> str:
    known = {name.lower() for name in class_names}
    for name, given in MAPS.items():
        offered = {
            data_class.lower(): {target.lower() for target in targets(text)} for data_class, text in given.items()
        }
        if all(offered.get(data_class.lower(), {""}) <= known for data_class in dataset.class_names):
            return f"--map {name}"
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
