"""Read all masks of an archive once, for what a report tells: shares, changes, and which masks are damaged.

The curves are means over equal stretches of time, so that they have few enough points to draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..archive.archive import MaskArchive
from ..archive.masked_frames import usual_step
from ..errors import ArchiveError
from ..pipeline import Pipeline

_AHEAD = 4  # masks that wait to be counted
_GAP = 2.5  # usual distances of two points, beyond which nothing is drawn between them


@dataclass(frozen=True, slots=True, eq=False)
class MaskScan:
    """What the masks of an archive show: `n` of them, of `c` classes. What cannot be read is nan."""

    indices: NDArray[np.int64]  # (n) of the frames
    times: NDArray[np.float64]  # (n) seconds
    step: int  # frames from mask to mask, as a rule
    shares: NDArray[np.float32]  # (n, c) of the picture
    changed: NDArray[np.float32]  # (n) share of the pixels of another class than in the mask before; nan after a gap
    damaged: list[int] = field(default_factory=list)  # indices of the frames whose masks cannot be read
    strange: list[int] = field(default_factory=list)  # of those whose masks hold pixels of no class

    @property
    def changed_share(self) -> float:
        """As `changed`, over all pairs of masks; nan without a pair."""
        known = self.changed[~np.isnan(self.changed)]
        return float(known.mean()) if len(known) else float("nan")

    def add(self, position: int, mask: NDArray[np.uint8], before: NDArray[np.uint8] | None) -> None:
        """Count a mask; `before` is the one that it follows, if any."""
        counts = np.bincount(mask.ravel(), minlength=256)[: self.shares.shape[1]]
        self.shares[position] = counts / mask.size
        if counts.sum() < mask.size:
            self.strange.append(int(self.indices[position]))
        if before is not None and before.shape == mask.shape:
            self.changed[position] = np.count_nonzero(before != mask) / mask.size


def scan_masks(masks: MaskArchive, on_mask: Callable[[int], None] | None = None) -> MaskScan:
    """Look at every mask; `on_mask` is told how many are done."""
    scan = _nothing_seen(masks)
    with Pipeline() as pipeline:
        before: NDArray[np.uint8] | None = None
        for position, mask in enumerate(pipeline.stage("masks", _readable(masks), depth=_AHEAD)):
            if mask is None:
                scan.damaged.append(int(scan.indices[position]))
            else:
                follows = position > 0 and scan.indices[position] - scan.indices[position - 1] == scan.step
                scan.add(position, mask, before if follows else None)
            before = mask
            if on_mask:
                on_mask(position + 1)
    return scan


def _nothing_seen(masks: MaskArchive) -> MaskScan:
    count, classes = len(masks), len(masks.classes)
    return MaskScan(
        indices=np.array([record.index for record in masks.records], np.int64),
        times=np.array([float(record.time) for record in masks.records], np.float64),
        step=usual_step(masks.records),
        shares=np.full((count, classes), np.nan, np.float32),
        changed=np.full(count, np.nan, np.float32),
    )


def _readable(masks: MaskArchive) -> Iterator[NDArray[np.uint8] | None]:
    for position in range(len(masks)):
        try:
            yield masks[position]
        except ArchiveError:
            yield None  # the report says which


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
