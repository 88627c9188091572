"""What a report tells of one run: everything that is looked at, before any of it is a page."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..archive.archive import open_masks
from ..archive.manifest import ArchiveHeader
from ..archive.masked_frames import MaskedVideo
from ..batch.timings import Timings, find_timings
from ..stats.stats import read_shares
from .curve import Curve, curve_of
from .keyframes import choose_keyframes
from .pictures import Flicker, Picture, mask_pictures, video_pictures, visits
from .problems import Problem, problems_of
from .scan import MaskScan, scan_masks

log = logging.getLogger(__name__)

OnProgress = Callable[[str, int, int], None]  # what is done, how much of it, of how much


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
    timings: Timings | None  # None where not known


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
            timings=find_timings(path, masks.header.source),
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
