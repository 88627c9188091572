"""Several data sets as one training: their labels as classes to learn, what is held out, their shares of a batch."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .camvid import (
    VOID,
    Dataset,
    Example,
    Picture,
    Split,
    class_colors,
    of_drives,
    open_dataset,
    open_unlabelled,
    split,
)
from .classmap import ClassMap, Targets, read_map
from .errors import DataError
from .labels import Labels
from .settings import TrainSettings

# In a picture from a driving car: nothing that stands on the ground reaches into its top fifth, no sky into its bottom
# third. Said of unlabelled pictures where all these classes are learnt, and measured by tests/bench/sky.py.
_ON_THE_GROUND = frozenset({"road", "sidewalk", "car", "pedestrian", "bicyclist"})
_SKY = frozenset({"sky"})
_TOP, _BOTTOM = 1 / 5, 2 / 3


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One data set of a training."""

    name: str  # of its folder
    dataset: Dataset  # its masks hold codes of the training's `Labels`
    split: Split
    share: float  # of each batch
    horizon: tuple[int, int, int] | None = None  # codes of an unlabelled picture's top, middle and bottom

    def read(self, example: Example) -> tuple[Picture, NDArray[np.uint8]]:
        """The picture and its mask of codes, or of `VOID`. Raises `DataError`."""
        if self.horizon is None:
            return self.dataset.read(example)
        picture = self.dataset.read_picture(example)
        mask = np.full(picture.shape[:2], self.horizon[1], np.uint8)
        mask[: round(len(mask) * _TOP)] = self.horizon[0]
        mask[round(len(mask) * _BOTTOM) :] = self.horizon[2]
        return picture, mask


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    labels: Labels
    parts: tuple[Part, ...]  # those with labels first, in the order they were named


def open_mixture(settings: TrainSettings) -> Mixture:
    """Find the pictures of all data sets that `settings` name, and read their class maps.

    The classes to learn are those of the first data set, as its map names them if it has one.

    Raises:
        DataError: a data set or map is unusable, names a class that is not there, or leaves one without a partner.
    """
    named = [parse_data(value) for value in settings.data]
    datasets = [open_dataset(root) for root, _ in named]
    maps = [
        _checked(read_map(value), dataset) if value else {} for (_, value), dataset in zip(named, datasets, strict=True)
    ]
    names = _class_names(datasets[0], maps[0])
    targets = [_all_targets(dataset, given, names) for dataset, given in zip(datasets, maps, strict=True)]
    index_of = {name.lower(): index for index, name in enumerate(names)}
    meant = [
        {name: frozenset(index_of[target.lower()] for target in some) for name, some in part.items()}
        for part in targets
    ]
    sets = [members for part in meant for members in part.values() if len(members) > 1]
    horizons = _horizon(names) if settings.unlabelled else ()
    sets += [members for members in horizons if len(members) > 1]
    labels = Labels(names, class_colors(names), tuple(dict.fromkeys(sets)))
    if len(names) + len(labels.sets) > VOID:
        raise DataError(f"{len(names)} classes and {len(labels.sets)} sets of them; {VOID} can be told apart")
    splits = _splits(datasets, settings)
    unlabelled = [open_unlabelled(Path(root)) for root in settings.unlabelled]
    counts = [len(chosen.train) for chosen in splits] + [len(dataset.examples) for dataset in unlabelled]
    shares = _shares(settings.shares, counts)
    parts = [
        Part(dataset.root.resolve().name, _in_codes(dataset, part, labels), chosen, share)
        for dataset, part, chosen, share in zip(datasets, meant, splits, shares, strict=False)
    ]
    parts += [
        Part(
            dataset.root.resolve().name,
            dataset,
            Split(dataset.examples, (), "none"),
            share,
            tuple(labels.code(members) for members in horizons),  # type: ignore[arg-type]  # three of them
        )
        for dataset, share in zip(unlabelled, shares[len(datasets) :], strict=True)
    ]
    return Mixture(labels, tuple(parts))


def parse_data(value: str) -> tuple[Path, str]:
    """`FOLDER` or `FOLDER:MAP`; a folder may have a colon in its name."""
    if Path(value).is_dir():
        return Path(value), ""
    root, colon, mapped = value.rpartition(":")
    return (Path(root), mapped) if colon and Path(root).is_dir() else (Path(value), "")


def _checked(given: ClassMap, dataset: Dataset) -> ClassMap:
    """By the data set's own spelling; whatever case the map uses."""
    known = {name.lower(): name for name in dataset.codes}
    if absent := [name for name in given if name.lower() not in known]:
        raise DataError(
            f"{dataset.root}: has no class {', '.join(absent)} (of its map); it has {', '.join(dataset.codes)}"
        )
    return {known[name.lower()]: targets for name, targets in given.items()}


def _class_names(dataset: Dataset, given: ClassMap) -> tuple[str, ...]:
    named = [target for name in dataset.class_names for target in given.get(name, (name,))]
    return tuple(
        {name.lower(): name for name in reversed(named)}[name] for name in dict.fromkeys(map(str.lower, named))
    )


def _all_targets(dataset: Dataset, given: ClassMap, names: Sequence[str]) -> Mapping[str, Targets]:
    """Of every class of the data set: as mapped, or its namesake."""
    targets = {name: given.get(name, (name,)) for name in dataset.class_names}
    known = {name.lower() for name in names}
    for name, some in targets.items():
        if unknown := [target for target in some if target.lower() not in known]:
            what = f"its map takes {name} for" if name in given else "there is no partner for its class"
            raise DataError(
                f"{dataset.root}: {what} {', '.join(unknown)}, which is none of the classes to learn "
                f"({', '.join(names)}); give a map (FOLDER:MAP.json)"
            )
    if not any(targets.values()):
        raise DataError(f"{dataset.root}: every class is mapped to void; nothing is left to learn")
    return targets


def _horizon(names: Sequence[str]) -> tuple[frozenset[int], frozenset[int], frozenset[int]]:
    """What the top, the middle and the bottom of an unlabelled picture can be: all classes, less what we know."""
    lower = [name.lower() for name in names]
    everything = frozenset(range(len(names)))
    if not set(lower) >= _ON_THE_GROUND | _SKY:
        return everything, everything, everything
    ground, sky = ({index for index, name in enumerate(lower) if name in some} for some in (_ON_THE_GROUND, _SKY))
    return everything - ground, everything, everything - sky


def _splits(datasets: Sequence[Dataset], settings: TrainSettings) -> list[Split]:
    """By the drives that a data set has among those to hold out, else by its list; the first must score on some."""
    known = [sorted({example.drive for example in dataset.examples}) for dataset in datasets]
    here = [[drive for drive in settings.valid_drives if fnmatch.filter(some, drive)] for some in known]
    if unknown := [drive for drive in settings.valid_drives if not any(drive in some for some in here)]:
        of_drives(datasets[0], list(datasets[0].examples), frozenset(unknown))  # says what there is, and raises
    found = [
        split(
            dataset,
            valid_list=Path(settings.valid_list) if settings.valid_list and not index else None,
            valid_drives=drives,
            must_score=not index,
        )
        for index, (dataset, drives) in enumerate(zip(datasets, here, strict=True))
    ]
    if settings.learn_all:
        found = [replace(chosen, train=(*chosen.train, *chosen.valid)) for chosen in found]
    return found


def _shares(given: Sequence[float], counts: Sequence[int]) -> list[float]:
    """Of each batch; by the number of pictures where none are given."""
    if given and len(given) != len(counts):
        raise DataError(f"{len(given)} shares for {len(counts)} data sets; give one for each, the unlabelled last")
    weights = given or counts
    return [weight / sum(weights) for weight in weights]


def _in_codes(dataset: Dataset, meant: Mapping[str, frozenset[int]], labels: Labels) -> Dataset:
    codes = np.full(256, VOID, np.uint8)
    for class_id, name in enumerate(dataset.codes):
        if members := meant.get(name, frozenset()):
            codes[class_id] = labels.code(members)
    return replace(dataset, class_names=labels.class_names, class_colors=labels.class_colors, class_of_id=codes)
