"""The classes of a data set as those of a model: by name, or as the user maps them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np
from numpy.typing import NDArray

from ..stream.system.talk import did_you_mean
from ..training.class_lists import folded
from ..training.classmap import checked_map, meanings, read_map, targets
from ..training.dataset import Color, Dataset
from ..training.errors import DataError
from ..training.label_pictures import VOID
from ..training.labels import Labels
from ..training.public_sets import MAPS, ClassMap
from .errors import ExportError

_NEAR = 0.6  # likeness of two names that a message proposes as a pair
_MOSTLY = 0.5  # share of a class's pixels that the model sees as one class, which a message then proposes
_VOID = "void"

# [class of the data set, class of the model] pixels of some pictures.
Overlap = Callable[[], NDArray[np.int64]]


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
    dataset: Dataset,
    class_names: Sequence[str],
    class_colors: Sequence[Color],
    mapping: ClassMap,
    overlap: Overlap | None = None,
) -> Matched:
    """The model's class, or set of classes, that each class of a data set stands for.

    Args:
        dataset: whose labels are scored against.
        class_names: the model's.
        class_colors: the model's.
        mapping: as `parse_map` gives it; classes that are not in it go to their namesakes.
        overlap: asked where classes do not match, for a proposal.

    Raises:
        ExportError: a class has no namesake and is not mapped, or is mapped to none of the model's; or all are void.
    """
    index_of = {folded(name): index for index, name in enumerate(class_names)}
    meant = meanings(dataset, mapping)
    unknown = {name: [target for target in some if folded(target) not in index_of] for name, some in meant.items()}
    for name, absent in unknown.items():
        if absent and name in mapping:
            raise ExportError(
                f"--map {name}={mapping[name]}: the model has no class {absent[0]!r}; it has {', '.join(class_names)}, "
                f"and void leaves a class out{did_you_mean(absent[0], class_names)}",
                usage=True,
            )
    if lacking := [name for name, absent in unknown.items() if absent]:
        raise ExportError(_mismatch(dataset, class_names, lacking, mapping, overlap))
    members = [frozenset(index_of[folded(target)] for target in some) for some in meant.values()]
    labels = Labels(
        tuple(class_names), tuple(class_colors), tuple(dict.fromkeys(some for some in members if len(some) > 1))
    )
    codes = np.full(256, VOID, np.uint8)
    codes[: len(members)] = [labels.code(some) if some else VOID for some in members]
    if (codes == VOID).all():
        raise ExportError(
            f"{dataset.root}: every class of the data is mapped to void; nothing is left to score; "
            "map one class at least"
        )
    return Matched(labels, codes)


def _parsed(value: str, dataset: Dataset) -> ClassMap:
    if value in MAPS or value.lower().endswith(".json"):
        return read_map(value, dataset)
    name, equals, target = (part.strip() for part in value.partition("="))
    if not (name and equals and target):
        maps = ", ".join(MAPS)
        raise DataError(f"{value}: neither CLASS=CLASS (or CLASS=A|B, or CLASS=void) nor {maps} nor a .json file")
    return checked_map({name: target}, dataset, value)


def _mismatch(
    dataset: Dataset,
    class_names: Sequence[str],
    unknown: Sequence[str],
    mapping: ClassMap,
    overlap: Overlap | None,
) -> str:
    """Which classes lack a partner, on both sides, and the options that would pair them."""
    taken = {folded(target) for some in meanings(dataset, mapping).values() for target in some}
    free = [name for name in class_names if folded(name) not in taken]
    lacking = f"; not in the data: {', '.join(free)}" if free else ""
    what = f"{dataset.root}: the classes do not match; not in the model: {', '.join(unknown)}{lacking}"
    if name := _map_in_the_box(dataset, class_names):
        return f"{what}; say what they are with --map {name}"
    partner_of = {name: _nearest(name, free) or _nearest(name, class_names) for name in unknown}
    seen = ""
    if overlap and None in partner_of.values():
        is_all_void = len(unknown) == len(dataset.class_names) and not any(partner_of.values())
        found = _by_overlap(dataset, class_names, overlap(), least=0 if is_all_void else _MOSTLY)
        found = {name: partner for name, partner in found.items() if name in unknown and not partner_of[name]}
        partner_of |= {name: partner for name, (partner, _) in found.items()}
        seen = "".join(f"; {share:.0%} of {name} is {partner} to the model" for name, (partner, share) in found.items())
    pairs = (f"--map {shlex.quote(f'{name}={partner or _VOID}')}" for name, partner in partner_of.items())
    return f"{what}{seen}; say what they are with {' '.join(pairs)}"


def _by_overlap(
    dataset: Dataset, class_names: Sequence[str], pixels: NDArray[np.int64], *, least: float
) -> dict[str, tuple[str, float]]:
    """The model's class for each class of the data that is seen as it for the most part, and the share."""
    shares = pixels / np.maximum(pixels.sum(axis=1, keepdims=True), 1)
    return {
        name: (class_names[int(row.argmax())], float(row.max()))
        for name, row in zip(dataset.class_names, shares, strict=True)
        if row.max() > least
    }


def _map_in_the_box(dataset: Dataset, class_names: Sequence[str]) -> str:
    known = {folded(name) for name in class_names}
    for name, given in MAPS.items():
        offered = {
            folded(data_class): {folded(target) for target in targets(text)} for data_class, text in given.items()
        }
        if all(offered.get(folded(data_class), {""}) <= known for data_class in dataset.class_names):
            return name
    return ""


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
