"""What the numbers in masks stand for: classes, and sets of classes that a data set does not tell apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .files import Color


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """The classes to learn, and the codes that masks hold: first one for each class, then one for each set."""

    class_names: tuple[str, ...]
    class_colors: tuple[Color, ...]
    sets: tuple[frozenset[int], ...] = ()  # of indices into `class_names`, two at least in each

    def code(self, classes: Iterable[int]) -> int:
        """Of one class, or of a set that is in `sets`."""
        members = frozenset(classes)
        return next(iter(members)) if len(members) == 1 else len(self.class_names) + self.sets.index(members)

    @property
    def members(self) -> NDArray[np.bool_]:
        """(codes, classes): the classes that each code stands for."""
        table = np.eye(len(self.class_names) + len(self.sets), len(self.class_names), dtype=np.bool_)
        for row, members in enumerate(self.sets, start=len(self.class_names)):
            table[row, sorted(members)] = True
        return table

    def groups(self, codes: Sequence[int]) -> NDArray[np.intp]:
        """(classes,) the group of each class, from 0: classes that a set among `codes` joins are of one group.

        Between groups these codes tell exactly what is right; within one they do not.
        """
        group = np.arange(len(self.class_names))
        for members in self.members[list(codes)]:
            joined = group[members]
            group[np.isin(group, joined)] = joined.min()
        return np.unique(group, return_inverse=True)[1]


def group_confusion(
    confusion: NDArray[np.int64], members: NDArray[np.bool_], groups: NDArray[np.intp]
) -> NDArray[np.int64]:
    """(groups, groups) pixels of `confusion`, (codes, classes): true code, predicted class."""
    group_of_code = groups[members.argmax(axis=1)]
    count = int(groups.max()) + 1
    table = np.zeros((count, count), np.int64)
    np.add.at(table, (group_of_code[:, None], groups[None, :]), confusion)
    return table


def accuracy_of_sets(confusion: NDArray[np.int64], members: NDArray[np.bool_]) -> float:
    """Share of the pixels whose class is in the set that their label stands for; nan where there are none."""
    total = int(confusion.sum())
    return float(confusion[members].sum()) / total if total else float("nan")
