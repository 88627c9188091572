"""Which pictures of a data set to score: its own choice, or a drive, a list, a folder, or all there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..training.dataset import Dataset
from ..training.layouts import Example
from ..training.split import of_drives, of_list, stretches
from .errors import ExportError

Folder = Literal["train", "val", "test"]


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    examples: tuple[Example, ...]
    by: str  # for people


# Raises ExportError or DataError where there is nothing to choose.
Choice = Callable[[Dataset], Chosen]


def own_choice(dataset: Dataset) -> Chosen:
    """`valid.txt`, or the folder `val`."""
    path = dataset.root / "valid.txt"
    if path.is_file():
        return on_list(path)(dataset)
    if dataset.has_folders:
        return in_folder("val")(dataset)
    raise ExportError(f"{dataset.root}: has no valid.txt; choose by --drive, --list or --split, or score --all")


def labelled_alone(dataset: Dataset, chosen: Chosen) -> Chosen:
    """Without the pictures that nobody has labelled, which are counted in what is said of the choice.

    Raises:
        ExportError: none is left.
    """
    found = tuple(example for example in chosen.examples if dataset.has_label(example))
    if not found:
        raise ExportError(
            f"{dataset.root}: none of the pictures chosen ({chosen.by}) has a label; choose others, or label them"
        )
    count = len(chosen.examples) - len(found)
    return Chosen(found, f"{chosen.by}; {count} without a label left out" if count else chosen.by)


def everything(dataset: Dataset) -> Chosen:
    return Chosen(dataset.examples, "all there are")


def of_drive(names: Sequence[str]) -> Choice:
    """The frames of these recordings, whichever folder they lie in."""

    def choose(dataset: Dataset) -> Chosen:
        found = of_drives(dataset, list(dataset.examples), frozenset(names))
        return Chosen(tuple(found), f"drive {', '.join(sorted(set(names)))}")

    return choose


def on_list(path: Path) -> Choice:
    """The pictures that a file names, a line each."""

    def choose(dataset: Dataset) -> Chosen:
        if not path.is_file():
            raise ExportError(f"{path}: no such list of pictures; choose by --drive or --split, or score --all")
        found = of_list(list(dataset.examples), path)
        if not found:
            raise ExportError(f"{path}: names no picture; it should name one a line, as valid.txt does")
        return Chosen(tuple(found), f"list {path.name}")

    return choose


def in_stretches(share: float) -> Choice:
    """What `train --split` holds out."""

    def choose(dataset: Dataset) -> Chosen:
        candidates = (example for example in dataset.examples if example.folder != "test")
        found, by = stretches([example for example in candidates if dataset.has_label(example)], share)
        return Chosen(tuple(found), by)

    return choose


def in_folder(name: Folder) -> Choice:
    """One part of a data set whose folders divide it so."""

    def choose(dataset: Dataset) -> Chosen:
        if not dataset.has_folders:
            raise ExportError(f"{dataset.root}: has no folder {name}; choose by --drive or --list")
        found = tuple(example for example in dataset.examples if example.folder == name)
        if not found:
            raise ExportError(f"{dataset.root / name}: no pictures in this folder; choose another")
        return Chosen(found, f"folder {name}")

    return choose
