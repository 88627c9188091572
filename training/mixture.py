"""Several data sets as one training: their labels as classes to learn, what is held out, their shares of a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .class_lists import folded
from .classmap import class_names, meanings, one_class, read_map, split_map
from .dataset import Dataset, open_dataset, open_unlabelled
from .errors import DataError
from .files import Picture, read_picture
from .label_pictures import VOID
from .labels import Labels
from .layouts import Example
from .public_sets import ClassMap, class_colors
from .settings import TrainSettings
from .split import Split, is_drive, of_drives, split

# In a picture from a driving car: nothing that stands on the ground reaches into its top fifth, no sky into its bottom
# third. Said of unlabelled pictures where all these classes are learnt, and measured by tests/bench/roads.py.
_ON_THE_GROUND = frozenset({"road", "sidewalk", "car", "pedestrian", "bicyclist"})
_SKY = frozenset({"sky"})
_TOP, _BOTTOM = 1 / 5, 2 / 3


Levels = tuple[int, int, int]  # codes of a picture's top, middle and bottom


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One data set of a training."""

    name: str  # of its folder; made distinct
    dataset: Dataset  # its masks hold codes of the training's `Labels`
    split: Split
    share: float  # of each batch
    horizon: Levels | None  # of unlabelled pictures

    @property
    def codes(self) -> frozenset[int]:
        """Those that its label pictures can show."""
        return frozenset(self.dataset.class_of_id.tolist()) - {VOID}

    def read(self, example: Example) -> tuple[Picture, NDArray[np.uint8]]:
        """The picture and its mask of codes, or of `VOID`. Raises `DataError`."""
        if self.horizon is None:
            return self.dataset.read(example)
        picture = read_picture(example.picture)
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
    datasets, maps = _open(settings.data)
    names = class_names(datasets[0], maps[0])
    if len(names) < 2:
        raise DataError(one_class(datasets[0], names))
    meant = [_meant(dataset, given, names) for dataset, given in zip(datasets, maps, strict=True)]
    horizon = _horizon(names) if settings.unlabelled else ()
    labels = _labels(names, [*(members for some in meant for members in some.values()), *horizon])
    splits = _splits(datasets, settings)
    datasets = [_in_codes(dataset, some, labels) for dataset, some in zip(datasets, meant, strict=True)]
    levels: list[Levels | None] = [None] * len(datasets)
    for root in settings.unlabelled:
        datasets.append(open_unlabelled(Path(root)))
        splits.append(Split(datasets[-1].examples, (), "none"))
        levels.append(_levels(labels, horizon))
    shares = _shares(settings.shares, [len(chosen.train) for chosen in splits])
    of_each = zip(_distinct_names(datasets), datasets, splits, shares, levels, strict=True)
    return Mixture(labels, tuple(Part(*fields) for fields in of_each))


def meaning(part: Part, labels: Labels) -> dict[str, str]:
    """What each class of its data set stands for, as a class map says it."""
    codes = part.dataset.class_of_id[: len(part.dataset.codes)].tolist()
    return {
        name: "void" if code == VOID else labels.names[code]
        for name, code in zip(part.dataset.codes, codes, strict=True)
    }


def _open(values: Sequence[str]) -> tuple[list[Dataset], list[ClassMap]]:
    named = [split_map(value) for value in values]
    datasets = [open_dataset(root) for root, _ in named]
    maps = [read_map(name, dataset) if name else {} for (_, name), dataset in zip(named, datasets, strict=True)]
    return datasets, maps


def _meant(dataset: Dataset, given: ClassMap, names: Sequence[str]) -> dict[str, frozenset[int]]:
    """The indices into `names` that each class of the data set stands for; none for void."""
    index_of = {folded(name): index for index, name in enumerate(names)}
    found = {}
    for name, some in meanings(dataset, given).items():
        if unknown := [target for target in some if folded(target) not in index_of]:
            what = f"its map takes {name!r} for" if name in given else "there is no partner for its class"
            raise DataError(
                f"{dataset.root}: {what} {', '.join(map(repr, unknown))}, which is none of the classes to learn "
                f"({', '.join(names)}); give a map (FOLDER:MAP.json)"
            )
        found[name] = frozenset(index_of[folded(target)] for target in some)
    if not any(found.values()):
        raise DataError(
            f"{dataset.root}: every class is mapped to void; nothing is left to learn; map one class at least"
        )
    return found


def _labels(names: tuple[str, ...], meant: Sequence[frozenset[int]]) -> Labels:
    sets = tuple(dict.fromkeys(members for members in meant if len(members) > 1))
    if len(names) + len(sets) > VOID:
        raise DataError(f"{len(names)} classes and {len(sets)} sets of them; {VOID} can be told apart")
    return Labels(names, class_colors(names), sets)


def _horizon(names: Sequence[str]) -> list[frozenset[int]]:
    """What the top, the middle and the bottom of an unlabelled picture can be: all classes, less what we know."""
    lower = [name.lower() for name in names]
    everything = frozenset(range(len(names)))
    if not set(lower) >= _ON_THE_GROUND | _SKY:
        return [everything] * 3
    ground, sky = ({index for index, name in enumerate(lower) if name in some} for some in (_ON_THE_GROUND, _SKY))
    return [everything - ground, everything, everything - sky]


def _levels(labels: Labels, horizon: Sequence[frozenset[int]]) -> Levels:
    top, middle, bottom = map(labels.code, horizon)
    return top, middle, bottom


def _splits(datasets: Sequence[Dataset], settings: TrainSettings) -> list[Split]:
    """By the drives that a data set has among those to hold out, else by its list; the first must score on some."""
    known = [{example.drive for example in dataset.examples if example.folder != "test"} for dataset in datasets]
    wanted = settings.valid_drives
    here = [[drive for drive in wanted if any(is_drive(name, drive) for name in some)] for some in known]
    if unknown := [drive for drive in wanted if not any(drive in some for some in here)]:
        of_drives(datasets[0], list(datasets[0].examples), frozenset(unknown))  # says what there is, and raises
    found = [
        split(
            dataset,
            valid_list=Path(settings.valid_list) if settings.valid_list and not index else None,
            valid_drives=drives,
            share=None if index else settings.split,
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
        raise DataError(
            f"{len(given)} shares for {len(counts)} data sets; give one for each, the unlabelled last", usage=True
        )
    if not given:
        return [count / sum(counts) for count in counts]
    return [share / sum(given) for share in given]


def _distinct_names(datasets: Sequence[Dataset]) -> list[str]:
    """Of their folders; "street", "street-2" for two of one name."""
    seen: Counter[str] = Counter()
    names = []
    for dataset in datasets:
        name = dataset.root.resolve().name
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return names


def _in_codes(dataset: Dataset, meant: Mapping[str, frozenset[int]], labels: Labels) -> Dataset:
    codes = np.full(256, VOID, np.uint8)
    for class_id, name in enumerate(dataset.codes):
        if members := meant.get(name, frozenset()):
            codes[class_id] = labels.code(members)
    return replace(dataset, class_names=labels.class_names, class_colors=labels.class_colors, class_of_id=codes)
