"""Whether a drive looks like what its model has learnt, by how clearly the model tells its classes apart.

Where a picture is like none that a network has seen, the scores of its classes lie close together: their best leads
the second by little. What is little for a model is measured on pictures that it knows, and stands in its file
(`roadmask export --familiar`): without that, nothing is said. A wrong mask that the model is sure of is not found so.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .flow import median

EVERY = 25  # frames of a run of which one is looked at; a piece is a multiple
LOW = 0.02  # share of the pictures that a model knows whose lead is less than the one in its file
_MOST = 0.5  # of a drive: beyond it, the drive is told to be unlike
_STEP = 4  # of the scores, in both directions one in so many is looked at


class Familiarity(NamedTuple):
    """How many frames of a run were looked at, and how many of them are unlike what the model knows."""

    seen: int = 0
    unlike: int = 0

    @property
    def share(self) -> float | None:
        """Of the frames that are unlike; `None` where none was looked at."""
        return round(self.unlike / self.seen, 4) if self.seen else None

    def with_frame(self, scores: NDArray[np.float32], least: float) -> Familiarity:
        """And a frame with these `scores`, whose lead should be `least`."""
        return Familiarity(self.seen + 1, self.unlike + (lead(scores) < least))

    def with_others(self, seen: int, unlike: int) -> Familiarity:
        return Familiarity(self.seen + seen, self.unlike + unlike)


def lead(scores: NDArray[np.float32]) -> float:
    """By how much the best class leads the second: the median over places of `scores` (classes, h, w).

    Of 206 days and 88 lit nights, pictures that no training had labels of, a day has the larger lead in 98 of 100
    pairs; the larger mean probability of the best class in 96, and the brighter picture in 9, as cameras brighten a
    lit night.
    """
    if len(scores) < 2:
        return float("inf")
    seen = scores[:, _STEP // 2 :: _STEP, _STEP // 2 :: _STEP] if min(scores.shape[1:]) > _STEP else scores
    second, best = np.partition(seen.reshape(len(seen), -1), -2, axis=0)[-2:]
    return median(best - second)


def warning_of(unlike: float | None, *, of_picture: bool = False) -> str:
    """What to say of a drive of which this share of frames is unlike; empty where there is nothing to say."""
    if unlike is None or unlike <= _MOST:
        return ""
    if of_picture:
        return "looks unlike what the model has learnt, as nights do: look at its mask before you use it"
    return (
        f"looks unlike what the model has learnt in {100 * unlike:.0f} % of the frames looked at, as nights do: "
        "masks are often wrong there, look at them before you use them"
    )
