"""Which pictures are trained on and which are scored on: never at random.

Frames of one drive show the same street, so a random choice would score what was learnt by heart.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np

from .dataset import Dataset
from .errors import DataError
from .files import composed, read_lines
from .layouts import Example

T = TypeVar("T")

_STRETCHES, _STRETCH = (
    5,
    8,
)  # at most so many held out by a share, and at least so many pictures in each but the only one


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    train: tuple[Example, ...]
    valid: tuple[Example, ...]
    valid_by: str  # for people: how the validation pictures were chosen
    without: tuple[Example, ...] = ()  # that have no label, and are in neither part


def split(
    dataset: Dataset,
    *,
    valid_list: Path | None = None,
    valid_drives: Iterable[str] = (),
    share: float | None = None,
    must_score: bool = True,
) -> Split:
    """Divide the pictures into those to train on and those to score on.

    Without options the data set's own choice holds: `valid.txt`, or the folder `val`. The folder `test` is in neither
    part, nor are pictures that nobody has labelled.

    Args:
        dataset: whose pictures.
        valid_list: a file that names the validation pictures.
        valid_drives: recordings to hold out; `*` stands for any characters, as in `train_*7`.
        share: hold out so much, in stretches of pictures that follow each other by name.
        must_score: off, a data set may have no validation pictures.

    Raises:
        DataError: a named drive or file does not exist, one side would be empty, or nothing says which to hold out.
    """
    candidates = [example for example in dataset.examples if example.folder != "test"]
    own_list = dataset.root / "valid.txt"
    if drives := frozenset(valid_drives):
        by = f"drive {', '.join(sorted(drives))}"
        valid = of_drives(dataset, candidates, drives)
    elif share is not None:
        valid, by = stretches([example for example in candidates if dataset.has_label(example)], share)
    elif valid_list is not None or own_list.is_file():
        path = valid_list or own_list
        by = f"list {path.name}"
        valid = of_list(candidates, path)
    elif dataset.has_folders or not must_score:
        by = "folder val"
        valid = [example for example in candidates if example.folder == "val"]
    else:
        raise DataError(f"{dataset.root}: no valid.txt says which pictures to score on; {_offer(candidates)}")
    without = tuple(example for example in candidates if not dataset.has_label(example))
    left_out = {id(example) for example in without}
    valid = [example for example in valid if id(example) not in left_out]
    chosen = {id(example) for example in valid} | left_out
    train = tuple(example for example in candidates if id(example) not in chosen)
    if not train or (must_score and not valid):
        counts = f"{len(train)} pictures to train on, {len(valid)} to score on"
        offer = f"; {_offer(candidates)}" if by == "folder val" else ""
        raise DataError(f"{dataset.root}: by {by} there are {counts}{offer}")
    return Split(train, tuple(valid), by, without)


def evenly(items: Sequence[T], count: int) -> list[T]:
    """At most so many of them, spread over all."""
    places = np.linspace(0, len(items) - 1, min(len(items), count))
    return [items[round(place)] for place in places]


def stretches(candidates: Sequence[Example], share: float) -> tuple[list[Example], str]:
    """The last `share` of each of up to five equal parts of the pictures in the order of their names, and which."""
    ordered = sorted(candidates, key=lambda example: _natural(example.name))
    count = round(len(ordered) * share)
    parts = max(min(_STRETCHES, count // _STRETCH), 1)
    borders = [round(len(ordered) * number / parts) for number in range(parts + 1)]
    held = [
        ordered[end - max(round((end - start) * share), 1) : end] for start, end in pairwise(borders) if end > start
    ]
    named = ", ".join(f"{some[0].name} to {some[-1].name}" if len(some) > 1 else some[0].name for some in held)
    plural = "stretches" if len(held) > 1 else "a stretch"
    return [example for some in held for example in some], f"{plural} of names: {named}"


def of_drives(dataset: Dataset, candidates: list[Example], drives: frozenset[str]) -> list[Example]:
    known = sorted({example.drive for example in candidates})
    if unknown := sorted(drive for drive in drives if not any(is_drive(name, drive) for name in known)):
        some = ", ".join(known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "")
        raise DataError(f"{dataset.root}: no drive {', '.join(map(repr, unknown))}; there are {some}", usage=True)
    return [example for example in candidates if any(is_drive(example.drive, drive) for drive in drives)]


def is_drive(name: str, wanted: str) -> bool:
    """Whether a drive is the wanted one; or one of them, as `*` stands for any characters."""
    return name == wanted or fnmatch.fnmatchcase(name, wanted)


def of_list(candidates: Sequence[Example], path: Path) -> list[Example]:
    if not path.is_file():
        raise DataError(f"{path}: no such list; name the validation drives instead (--valid-drive)")
    listed = read_list(path, candidates)
    valid = [example for example in candidates if example.name in listed]
    if absent := sorted(listed - {example.name for example in valid}):
        others = f" and {len(absent) - 1} more that are" if len(absent) > 1 else ", which is"
        raise DataError(f"{path}: lists {absent[0]!r}{others} not among the pictures here; mend the list")
    return valid


def read_list(path: Path, examples: Sequence[Example]) -> frozenset[str]:
    """Names of pictures, without suffix, as `examples` have them; a line may have folders before it."""
    name_of = {composed(example.picture.stem): example.name for example in examples}
    name_of |= {composed(example.name): example.name for example in examples}
    found = []
    for line in read_lines(path):
        named = Path(composed(line))
        parts = (named.parent / named.stem).parts
        tails = ["/".join(parts[start:]) for start in range(len(parts))]  # the longest first
        found.append(next((name_of[tail] for tail in tails if tail in name_of), tails[-1]))
    return frozenset(found)


def _offer(candidates: Sequence[Example]) -> str:
    """What could say it."""
    drives = sorted({example.drive for example in candidates})
    name = drives[-1] if 1 < len(drives) < len(candidates) else "DRIVE"
    return f"hold out stretches of names (--split 0.2), or a drive (--valid-drive {name})"


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """`frame_9` before `frame_10`."""
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", name) if part]
