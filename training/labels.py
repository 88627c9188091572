"""What the numbers in masks stand for: classes, and sets of classes that a data set does not tell apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .files import Color
from .metrics import iou, pixel_accuracy


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Some classes, and the codes that masks hold: first one for each class, then one for each set."""

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

    @property
    def names(self) -> tuple[str, ...]:
        """Of the codes: `Car`, ..., `Sidewalk|Tree`, ..."""
        return (*self.class_names, *("|".join(self.class_names[index] for index in sorted(some)) for some in self.sets))

    @property
    def colors(self) -> tuple[Color, ...]:
        """Of the codes; of a set the mean of its classes' colours."""
        mixed = (np.mean([self.class_colors[index] for index in some], axis=0) for some in self.sets)
        return (*self.class_colors, *((int(red), int(green), int(blue)) for red, green, blue in mixed))

    def groups(self, codes: Iterable[int]) -> Groups:
        """What can be scored by pictures whose masks hold `codes`."""
        members, labelled = self.members, sorted(codes)
        first = np.arange(len(self.class_names))  # of each class, the first class of its group
        for some in members[labelled]:
            joined = np.isin(first, first[some])
            first[joined] = first[joined].min()
        leaders, of_class = np.unique(first, return_inverse=True)
        return Groups(
            names=tuple(
                "+".join(self.class_names[index] for index in np.flatnonzero(first == leader)) for leader in leaders
            ),
            members=members,
            of_class=of_class,
            is_labelled=np.isin(np.arange(len(leaders)), of_class[members[labelled].any(axis=0)]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Classes that some labels tell apart: of one class each, or of several where a set joins them.

    Between groups these labels tell exactly what is right; within one they do not.
    """

    names: tuple[str, ...]  # `Road`, ..., `Car+Pedestrian+Bicyclist`
    members: NDArray[np.bool_]  # (codes, classes), as of `Labels`
    of_class: NDArray[np.intp]  # (classes,) the group of each, from 0
    is_labelled: NDArray[np.bool_]  # (groups,) false for those that the labels never show

    def confusion(self, confusion: NDArray[np.int64]) -> NDArray[np.int64]:
        """[true group, predicted group] of [true code, predicted class]."""
        of_code = self.of_class[self.members.argmax(axis=1)]
        table = np.zeros((len(self.names), len(self.names)), np.int64)
        np.add.at(table, (of_code[:, None], self.of_class[None, :]), confusion)
        return table

    def iou(self, confusion: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of each group, by [true code, predicted class]; nan where it nowhere occurs, or is never labelled."""
        return np.where(self.is_labelled, iou(self.confusion(confusion)), np.nan)

    def accuracy(self, confusion: NDArray[np.int64]) -> float:
        """Share of the pixels whose class is in the set that their label stands for."""
        return pixel_accuracy(confusion, self.members)
