"""Look through a whole data set: what is in it, and everything that is wrong with it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .dataset import Dataset
from .errors import DataError
from .files import read_picture
from .layouts import Example
from .split import read_list

_Result = TypeVar("_Result")
_NAMED = 3  # files of a kind of problem that are named


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    frames_per_drive: Counter[str]
    sizes: Counter[tuple[int, int]]  # (height, width) of the pictures
    class_shares: NDArray[np.float64]  # among the pixels that are not void
    void_share: float  # among all labelled pixels
    usable: tuple[Example, ...]
    problems: tuple[str, ...]  # a line a kind, with the files' paths
    strays: dict[Path, int]  # pixels in colours of no class, which are void, of those label pictures that have any
    shades: dict[Path, int]  # and those taken for the class whose colour they nearly have


def survey(
    dataset: Dataset, *, valid_list: Path | None = None, on_example: Callable[[int], None] | None = None
) -> Survey:
    """Read every picture and label; nothing is raised, every problem is noted.

    `on_example` is told how many examples are done.
    """
    counts = np.zeros(256, np.int64)
    sizes: Counter[tuple[int, int]] = Counter()
    usable: list[Example] = []
    problems: list[str] = []
    for done, example in enumerate(dataset.examples, 1):
        found = _read(dataset, example, problems)
        if found is not None:
            picture, mask = found
            sizes[picture.shape[0], picture.shape[1]] += 1
            counts += np.bincount(mask.ravel(), minlength=256)
            usable.append(example)
        if on_example:
            on_example(done)
    problems += _twice(dataset.examples)
    problems += dataset.strangers
    problems += _listed_but_absent(dataset, valid_list)
    known = counts[: len(dataset.class_names)]
    return Survey(
        frames_per_drive=Counter(example.drive for example in dataset.examples),
        sizes=sizes,
        class_shares=known / max(known.sum(), 1),
        void_share=float(1 - known.sum() / max(counts.sum(), 1)),
        usable=tuple(usable),
        problems=tuple(_by_kind(problems)),
        strays=dict(dataset.reader.strays),
        shades=dict(dataset.reader.shades),
    )


def _read(
    dataset: Dataset, example: Example, problems: list[str]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
    """Picture and mask; or None and a line for each file at fault."""
    picture = _noting(problems, lambda: read_picture(example.picture))
    if not (dataset.has_label(example) or example.label.is_symlink()):
        problems.append(f"{example.label}: no such file; its picture is left out by train and eval")
        return None
    ids = _noting(problems, lambda: dataset.label_ids(example))
    if picture is None or ids is None:
        return None
    found = _noting(problems, lambda: dataset.pair(example, picture, ids))
    if found is not None and not (found[1] < len(dataset.class_names)).any():
        problems.append(f"{example.label}: void everywhere; there is nothing to learn from it")
    return found


def _noting(problems: list[str], read: Callable[[], _Result]) -> _Result | None:
    try:
        return read()
    except DataError as exc:
        problems.append(str(exc))
        return None


def _twice(examples: Iterable[Example]) -> list[str]:
    """One frame in two places may be trained on and scored on."""
    count = Counter(example.name for example in examples)
    twice = (example.picture for example in examples if count[example.name] > 1)
    return [f"{picture}: there is another picture of this name; keep one, or give each a folder" for picture in twice]


def _listed_but_absent(dataset: Dataset, valid_list: Path | None) -> list[str]:
    path = valid_list or dataset.root / "valid.txt"
    if not path.is_file():
        return []
    absent = sorted(read_list(path, dataset.examples) - {example.name for example in dataset.examples})
    if not absent:
        return []
    more = f" and {len(absent) - _NAMED} more" if len(absent) > _NAMED else ""
    return [f"{path}: lists {', '.join(absent[:_NAMED])}{more}, of which there is no picture here"]


def _by_kind(problems: Iterable[str]) -> list[str]:
    """A line for those that differ in files and numbers alone: the first one's words, how many, and three files."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for problem in problems:
        file, _, fault = problem.partition(": ")
        kinds.setdefault(re.sub(r"\d+", "#", fault), []).append((file, fault))
    return [_line(some) for some in kinds.values()]


def _line(some: Sequence[tuple[str, str]]) -> str:
    file, fault = some[0]
    if len(some) == 1:
        return f"{file}: {fault}"
    more = ", ..." if len(some) > _NAMED else ""
    return f"{len(some)} files: {fault}: {', '.join(file for file, _ in some[:_NAMED])}{more}"
