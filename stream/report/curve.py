"""A run's curves with few enough points to draw: means over equal stretches of time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .scan import MaskScan

_GAP = 2.5  # usual distances of two points, beyond which nothing is drawn between them


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """`p` points in time, in order; each stands for the masks of a stretch, or for one."""

    times: NDArray[np.float64]  # (p) mean of the stretch, seconds
    indices: NDArray[np.int64]  # (p) of the stretch's first frame
    shares: NDArray[np.float64]  # (p, c) mean
    changed: NDArray[np.float64]  # (p) largest; nan where not known
    pieces: tuple[slice, ...]  # of the points, between which time goes on without a gap


def curve_of(scan: MaskScan, points: int) -> Curve:
    """At most so many points; of masks that cannot be read nothing is drawn."""
    known = np.flatnonzero(~np.isnan(scan.shares).any(axis=1))
    if not len(known):
        nothing = np.empty(0)
        return Curve(nothing, nothing.astype(np.int64), np.empty((0, scan.shares.shape[1])), nothing, ())
    times = scan.times[known]
    firsts = _firsts(times, points)
    sizes = np.diff(np.append(firsts, len(known)))
    shares = np.add.reduceat(scan.shares[known].astype(np.float64), firsts) / sizes[:, None]
    changed = np.fmax.reduceat(scan.changed[known].astype(np.float64), firsts)
    mean_times = np.add.reduceat(times, firsts) / sizes
    return Curve(mean_times, scan.indices[known][firsts], shares, changed, _pieces(mean_times))


def _firsts(times: NDArray[np.float64], points: int) -> NDArray[np.int64]:
    """Where each stretch begins: a stretch for each time, or equally long ones."""
    if len(times) <= points:
        return np.arange(len(times))
    span = max(times[-1] - times[0], np.finfo(float).tiny)
    stretches = np.minimum((times - times[0]) / span * points, points - 1).astype(np.int64)
    return np.flatnonzero(np.diff(stretches, prepend=-1))


def _pieces(times: NDArray[np.float64]) -> tuple[slice, ...]:
    steps = np.diff(times)
    if not len(steps):
        return (slice(0, len(times)),)
    ends = [*(np.flatnonzero(steps > _GAP * np.median(steps)) + 1).tolist(), len(times)]
    return tuple(slice(begin, end) for begin, end in zip([0, *ends], ends, strict=False))
