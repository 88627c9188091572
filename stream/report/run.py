"""What a report tells of one run: everything that is looked at, and what is wrong with its masks, in words."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..archive.archive import open_masks
from ..archive.manifest import ArchiveHeader
from ..archive.masked_frames import MaskedVideo
from ..stats.stats import ShareTable, read_shares
from .pictures import Flicker, Picture, choose_keyframes, mask_pictures, video_pictures, visits
from .scan import Curve, MaskScan, curve_of, scan_masks

log = logging.getLogger(__name__)

OnProgress = Callable[[str, int, int], None]  # what is done, how much of it, of how much

_GAP = 2.5  # usual distances of two masks in time
_TOLD = 5  # of each kind
_ROUNDING = 2e-6  # six decimals, and shares kept in 32 bits


@dataclass(frozen=True, slots=True)
class Depth:
    """How much a page shows of a run: less where there are many."""

    points: int = 600  # of a curve
    keyframes: int = 12
    picture_width: int = 480


@dataclass(frozen=True, slots=True, eq=False)
class RunLook:
    """All of it."""

    name: str  # of the archive
    anchor: str  # in the page
    header: ArchiveHeader
    reused: int  # masks that were taken again
    scan: MaskScan
    curve: Curve
    pictures: list[Picture]
    has_video: bool
    flicker: Flicker | None  # None without the video
    problems: list[Problem]


def look_at(
    path: Path, *, videos: Path | None, stats: Path | None, depth: Depth, number: int, on_progress: OnProgress
) -> RunLook:
    """Read a run's masks, and what else there is of it.

    Args:
        path: a mask archive of any kind.
        videos: the one that the masks were made from, or a folder in which it may be.
        stats: of the same run, to be compared.
        depth: how much to keep.
        number: of the run in the page.
        on_progress: told now and then.

    Raises:
        RoadmaskError: one of them cannot be read, or does not belong to the masks.
    """
    with open_masks(path) as masks:
        video = _video_of(masks.header, videos)
        statistics = read_shares(stats, [item.name for item in masks.classes]) if stats else None
        scan = scan_masks(masks, lambda done: on_progress("masks", done, len(masks)))
        keyframes = choose_keyframes(scan, depth.keyframes)
        flicker: Flicker | None = None
        if video is None or not keyframes:
            pictures = mask_pictures(masks, keyframes, width=depth.picture_width)
        else:
            total, seen = visits(len(masks), keyframes), iter(range(1, len(masks) + 1))
            pictures, flicker = video_pictures(
                MaskedVideo(masks, video),
                keyframes,
                width=depth.picture_width,
                on_frame=lambda: on_progress("frames", next(seen), total),
            )
        return RunLook(
            name=path.name,
            anchor=f"run-{number}-{re.sub(r'[^a-z0-9]+', '-', path.stem.lower()).strip('-')}",
            header=masks.header,
            reused=sum(record.reused for record in masks.records),
            scan=scan,
            curve=curve_of(scan, depth.points),
            pictures=pictures,
            has_video=video is not None,
            flicker=flicker,
            problems=problems_of(scan, statistics, is_finished=masks.is_finished),
        )


def _video_of(header: ArchiveHeader, videos: Path | None) -> Path | None:
    """The video itself; or the archive's source in that folder, where it is there."""
    if videos is None or not videos.is_dir():
        return videos
    source = header.source
    if not source or Path(source).name != source or not (videos / source).is_file():
        log.warning("%s: has no video %s; the report shows masks alone", videos, source or "of that name")
        return None
    return videos / source


@dataclass(frozen=True, slots=True)
class Problem:
    """One line for people."""

    text: str
    is_serious: bool = True  # something is missing or wrong, not only unusual


def problems_of(scan: MaskScan, statistics: ShareTable | None = None, *, is_finished: bool = True) -> list[Problem]:
    """All that can be seen in the masks themselves, and whether the statistics agree with them."""
    problems = [*_missing(scan), *_time_gaps(scan)]
    if not is_finished:
        problems.insert(0, Problem("The run did not come to its end; these are the masks up to there."))
    if not len(scan.indices):
        problems.append(Problem("The archive holds no masks."))
    if scan.damaged:
        problems.append(Problem(f"{_masks(len(scan.damaged))} missing or damaged: {_frames(scan.damaged)}."))
    if scan.strange:
        problems.append(Problem(f"{_masks(len(scan.strange))} with pixels of no class: {_frames(scan.strange)}."))
    if statistics is not None:
        problems += _disagreements(scan, statistics)
    return problems


def _missing(scan: MaskScan) -> list[Problem]:
    steps = np.diff(scan.indices)
    places = np.flatnonzero(steps != scan.step)
    rule = "in a row" if scan.step == 1 else f"{scan.step} apart"
    texts = []
    for place in places[:_TOLD]:
        before, after = scan.indices[place : place + 2]
        if after <= before:
            texts.append(f"The mask of frame {after} comes after that of frame {before}: the manifest is out of order.")
        else:
            texts.append(f"No masks between frames {before} and {after}, where masks are {rule} otherwise.")
    return _told(texts, len(places), "such places")


def _time_gaps(scan: MaskScan) -> list[Problem]:
    gaps = np.diff(scan.times)
    usual = float(np.median(gaps)) if len(gaps) else 0.0
    follows = np.diff(scan.indices) == scan.step  # else it has been told that masks are missing
    back = np.flatnonzero(follows & (gaps <= 0))
    wide = np.flatnonzero(follows & (gaps > _GAP * usual)) if usual > 0 else back[:0]
    told_back = [f"Time does not rise from frame {scan.indices[place]} to the next mask." for place in back[:_TOLD]]
    told_wide = [
        f"A gap of {gaps[place]:.2f} s after frame {scan.indices[place]} at {clock(scan.times[place])}; "
        f"{usual:.3f} s is usual. The video may have one there too."
        for place in wide[:_TOLD]
    ]
    return [
        *_told(told_back, len(back), "such places"),
        *(Problem(item.text, is_serious=False) for item in _told(told_wide, len(wide), "such gaps")),
    ]


def _disagreements(scan: MaskScan, statistics: ShareTable) -> list[Problem]:
    by_index = {int(index): row for row, index in enumerate(statistics.indices)}
    rows = [by_index.get(int(index), -1) for index in scan.indices]
    missing = [int(index) for index, row in zip(scan.indices, rows, strict=True) if row < 0]
    both = np.array([row >= 0 for row in rows], bool)
    apart = np.abs(scan.shares[both] - statistics.shares[[row for row in rows if row >= 0]]).max(axis=1, initial=0)
    differing = scan.indices[both][apart > _ROUNDING].tolist()
    surplus = sorted(set(by_index) - set(scan.indices.tolist()))
    found = (
        (missing, "without a row in"),
        (differing, "whose shares are others in"),
    )
    problems = [
        Problem(f"{_masks(len(indices))} {what} {statistics.name}: {_frames(indices)}.")
        for indices, what in found
        if indices
    ]
    if surplus:
        problems.append(
            Problem(f"{statistics.name} has {len(surplus)} rows of frames without a mask: {_frames(surplus)}.")
        )
    return problems


def _told(texts: Sequence[str], count: int, what: str) -> list[Problem]:
    more = [f"... and {count - len(texts)} more {what}."] if count > len(texts) else []
    return [Problem(text) for text in (*texts, *more)]


def _masks(count: int) -> str:
    return "1 mask" if count == 1 else f"{count} masks"


def _frames(indices: Sequence[int]) -> str:
    told = ", ".join(str(index) for index in indices[:_TOLD])
    return f"frame{'s' if len(indices) > 1 else ''} {told}" + (", ..." if len(indices) > _TOLD else "")


def clock(seconds: float) -> str:
    """A place in a video: 1:02:03.4, or 2:03.4."""
    tenths = round(seconds * 10)
    sign, tenths = ("-" if tenths < 0 else ""), abs(tenths)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    rest = f"{tenths // 10:02d}.{tenths % 10}"
    return f"{sign}{hours}:{minutes:02d}:{rest}" if hours else f"{sign}{minutes}:{rest}"
