"""A few frames that stand for a run: some evenly over its time, others where what is seen changes most."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .scan import MaskScan

_WINDOW = 12  # masks on each side that are compared: a passing car is no change, another street is
_SCENE_CHANGE = 0.12  # of the picture shows other classes than before; less is a change only beside others
_LEAST_CHANGE = 0.03  # below, one place is as good as another


@dataclass(frozen=True, slots=True)
class Keyframe:
    """A mask to show."""

    position: int  # in the manifest
    is_scene_change: bool = False


def choose_keyframes(scan: MaskScan, count: int) -> list[Keyframe]:
    """About `count` masks, in order; all of them where there are no more."""
    known = np.flatnonzero(~np.isnan(scan.shares).any(axis=1))
    if len(known) <= count:
        return [Keyframe(int(position)) for position in known]
    times, changes = scan.times[known], _changes(scan.shares[known])
    chosen = _strongest(times, changes, count // 2)
    moments = _between(
        [float(times[place]) for place in chosen], float(times[0]), float(times[-1]), count - len(chosen)
    )
    is_taken = np.isin(np.arange(len(times)), chosen)
    for moment in moments:
        is_taken[np.argmin(np.where(is_taken, np.inf, np.abs(times - moment)))] = True
    return [
        Keyframe(int(known[place]), place in chosen and bool(changes[place] >= _SCENE_CHANGE))
        for place in np.flatnonzero(is_taken).tolist()
    ]


def _strongest(times: NDArray[np.float64], changes: NDArray[np.float64], count: int) -> list[int]:
    """Where most changes, in order of time; not two places of one change."""
    apart = (times[-1] - times[0]) / (4 * count)
    chosen: list[int] = []
    around = np.lib.stride_tricks.sliding_window_view(np.pad(changes, _WINDOW), 2 * _WINDOW + 1).max(axis=1)
    peaks = np.flatnonzero((changes == around) & (changes >= _LEAST_CHANGE))
    for place in peaks[np.argsort(-changes[peaks], kind="stable")].tolist():
        if len(chosen) < count and all(abs(times[place] - times[other]) >= apart for other in chosen):
            chosen.append(place)
    return sorted(chosen)


def _between(fixed: list[float], first: float, last: float, count: int) -> list[float]:
    """`count` moments that fill the gaps between the fixed ones, so that none is long."""
    edges = [first, *fixed, last]
    gaps = [after - before for before, after in pairwise(edges)]
    halves = [int(number > 0) + int(number < len(fixed)) for number in range(len(gaps))]  # taken up by fixed ones
    put = [0] * len(gaps)
    for _ in range(count):
        widest = max(range(len(gaps)), key=lambda number: gaps[number] / max(put[number] + halves[number] / 2, 0.5))
        put[widest] += 1
    moments = []
    for number, (begin, gap, inside) in enumerate(zip(edges, gaps, put, strict=False)):
        step = gap / (inside + halves[number] / 2) if inside else 0.0
        moments += [begin + step * (place + (1 if number else 0.5)) for place in range(inside)]
    return moments


def _changes(shares: NDArray[np.float32]) -> NDArray[np.float64]:
    """How much of the picture shows other classes in the masks from each on than in those before it: 0 to 1."""
    window = min(_WINDOW, len(shares) // 2)
    sums = np.concatenate([np.zeros((1, shares.shape[1])), np.cumsum(shares, axis=0, dtype=np.float64)])
    means = (sums[window:] - sums[:-window]) / window  # of the masks from each place on
    changes = np.zeros(len(shares))
    changes[window : len(means)] = np.abs(means[window:] - means[:-window]).sum(axis=1) / 2
    return changes
