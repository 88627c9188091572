"""What a report tells of one run: its masks, looked at once, and what is wrong with them, in words."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..archive.archive import MaskArchive, open_masks
from ..archive.manifest import ArchiveHeader
from ..archive.masked_frames import MaskedVideo, usual_step
from ..decode.gps import read_gps
from ..encode.overlay import Overlay, Style
from ..encode.palette import CLEAR, Palette
from ..errors import ArchiveError
from ..frames import Ending
from ..pipeline import Pipeline
from ..spec import NO_CLASS, Renamed
from ..stats.stats import ShareTable, read_shares
from .pictures import choose_keyframes, mask_pictures, video_pictures
from .track import Way, way_of

log = logging.getLogger(__name__)

OnProgress = Callable[[str, int, int], None]  # what is done, how much of it, of how much

_COLUMNS = 600  # of a chart
_AHEAD = 4  # masks that wait to be counted
_GAP = 2.5  # usual distances of two masks in time, beyond which nothing is shown any more
_TOLD = 5  # of each kind
_ROUNDING = 2e-6  # six decimals, and shares kept in 32 bits


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """What to make a page of."""

    masks: tuple[Path, ...]  # archives, or folders of archives
    output: Path
    video: Path | None = None  # of the one archive, or a folder in which each one's source lies
    stats: Path | None = None  # of the one archive
    palette: Palette = CLEAR
    style: Style = "fill"  # of overlays
    renamed: Renamed = ()  # classes
    overwrite: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class RunLook:
    """All of it."""

    name: str  # of the archive
    anchor: str  # in the page
    header: ArchiveHeader
    reused: int  # masks that were taken again
    carried: int  # that were carried along
    scan: MaskScan
    curve: Curve
    pictures: dict[int, str]  # data URIs, by the position of the mask
    flicker: float | None  # share of the points followed that change their class; None without the video
    way: Way | None  # where it was, as video or statistics tell
    problems: list[Problem]
    unlike: float | None  # share of the frames that look unlike what the model has learnt; None where not known
    statistics: str | None  # name of the file that the masks were compared with


def look_at(path: Path, settings: ReportSettings, *, keyframes: int, number: int, on_progress: OnProgress) -> RunLook:
    """Read a run's masks, and what else there is of it, for so many pictures.

    Raises:
        RoadmaskError: one of them cannot be read, or does not belong to the masks.
    """
    with open_masks(path, renamed=settings.renamed) as masks:
        video, names = _video_of(masks.header, settings.video), [item.name for item in masks.classes]
        classes = settings.palette.colored(masks.classes)
        statistics = read_shares(settings.stats, names) if settings.stats else None
        scan = scan_masks(masks, lambda done: on_progress("masks", done, len(masks)))
        chosen = choose_keyframes(scan.shares[scan.known], scan.known, keyframes)
        flicker = None
        if video is None or not chosen:
            pictures = mask_pictures(masks, classes, chosen)
        else:
            pair = MaskedVideo(masks, video)
            overlay = Overlay(classes, style=settings.style)
            pictures, flicker = video_pictures(
                pair, overlay, chosen, scan.known, lambda done: on_progress("pictures", done, len(chosen))
            )
        problems, ending = problems_of(scan, statistics, is_finished=masks.is_finished), None
        try:
            ending = masks.ending
        except ArchiveError as exc:
            problems.append(Problem(f"How the run ended is not known: {exc}."))
        return RunLook(
            name=path.name,
            anchor=f"run-{number}-{re.sub(r'[^a-z0-9]+', '-', path.stem.lower()).strip('-')}",
            header=replace(masks.header, classes=classes),
            reused=sum(record.reused for record in masks.records),
            carried=sum(record.carried for record in masks.records),
            scan=scan,
            curve=curve_of(scan, _COLUMNS),
            way=_way_of(scan, statistics, video),
            pictures=pictures,
            flicker=flicker,
            problems=problems + (problems_told(ending, len(masks)) if ending else []),
            unlike=ending.unlike if ending else None,
            statistics=statistics.name if statistics else None,
        )


def _way_of(scan: MaskScan, statistics: ShareTable | None, video: Path | None) -> Way | None:
    """As the statistics tell, or else the video."""
    table, track = None, None
    if statistics is not None and statistics.places is not None:
        table = np.full((len(scan.indices), statistics.places.shape[1]), np.nan)
        _, here, there = np.intersect1d(scan.indices, statistics.indices, return_indices=True)
        table[here] = statistics.places[there]
    elif video is not None and video.is_file():
        track = read_gps(video)
    return way_of(scan.times, table, track)


def _video_of(header: ArchiveHeader, videos: Path | None) -> Path | None:
    """The video itself; or the archive's source in that folder, where it is there."""
    if videos is None or not videos.is_dir():
        return videos
    source = header.source
    if not source or Path(source).name != source or not (videos / source).is_file():
        log.warning("%s: has no video %s; the report shows masks alone", videos, source or "of that name")
        return None
    return videos / source


@dataclass(frozen=True, slots=True, eq=False)
class MaskScan:
    """What the masks of an archive show: `n` of them, of `c` classes. What cannot be read is nan."""

    indices: NDArray[np.int64]  # (n) of the frames
    times: NDArray[np.float64]  # (n) seconds
    step: int  # frames from mask to mask, as a rule
    shares: NDArray[np.float32]  # (n, c) of the picture without what is left out
    changed: NDArray[np.float32]  # (n) share of the pixels of another class than in the mask before; nan after a gap
    damaged: list[int] = field(default_factory=list)  # indices of the frames whose masks cannot be read
    strange: list[int] = field(default_factory=list)  # of those whose masks hold pixels of no class

    @property
    def known(self) -> NDArray[np.int64]:
        """Positions of the masks that can be read."""
        return np.flatnonzero(~np.isnan(self.shares).any(axis=1))

    @property
    def changed_share(self) -> float:
        """As `changed`, over all pairs of masks; nan without a pair."""
        return float(np.nanmean(self.changed)) if np.isfinite(self.changed).any() else float("nan")


def scan_masks(masks: MaskArchive, on_mask: Callable[[int], None] | None = None) -> MaskScan:
    """Look at every mask; `on_mask` is told how many are done."""
    scan = MaskScan(
        indices=np.array([record.index for record in masks.records], np.int64),
        times=np.array([float(record.time) for record in masks.records], np.float64),
        step=usual_step(masks.records),
        shares=np.full((len(masks), len(masks.classes)), np.nan, np.float32),
        changed=np.full(len(masks), np.nan, np.float32),
    )
    follows = np.diff(scan.indices, prepend=-1) == scan.step
    with Pipeline() as pipeline:
        before = None
        examined = pipeline.stage("masks", map(masks.examine, range(len(masks))), depth=_AHEAD)
        for position, (mask, _) in enumerate(examined):
            index = int(scan.indices[position])
            if mask is None:
                scan.damaged.append(index)
            else:
                counts = np.bincount(mask.ravel(), minlength=NO_CLASS + 1)
                size = mask.size - (int(counts[NO_CLASS]) if masks.header.ignored else 0)
                known = counts[: len(masks.classes)]
                scan.shares[position] = known / max(size, 1)
                if known.sum() < size:
                    scan.strange.append(index)
                if follows[position] and before is not None and before.shape == mask.shape:
                    scan.changed[position] = np.count_nonzero(before != mask) / max(size, 1)
            before = mask
            if on_mask:
                on_mask(position + 1)
    return scan


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """`p` columns of equal time, of what is shown in each."""

    edges: NDArray[np.float64]  # (p + 1) seconds; empty where there is nothing to show
    indices: NDArray[np.int64]  # (p) of the first frame that is shown
    shares: NDArray[np.float64]  # (p, c) mean; 0 where nothing is


def curve_of(scan: MaskScan, columns: int) -> Curve:
    """At most so many columns. A mask is shown until the next one that can be read, but not over a gap."""
    known = scan.known[np.argsort(scan.times[scan.known], kind="stable")]
    if not len(known):
        return Curve(np.empty(0), known, np.empty((0, scan.shares.shape[1])))
    times = scan.times[known]
    usual = (float(np.median(np.diff(times))) if len(times) > 1 else 0.0) or 0.001
    # A little early, so that no rounding puts a mask into the column before its own.
    edges = np.linspace(times[0], times[-1] + usual, min(columns, len(times)) + 1) - 1e-6
    end = np.searchsorted(times, edges[1:])
    begin = np.minimum(np.searchsorted(times, edges[:-1]), end - 1)  # where none begins, the one before is still there
    sums = np.cumsum(np.insert(scan.shares[known].astype(np.float64), 0, 0, axis=0), axis=0)
    shares = (sums[end] - sums[begin]) / (end - begin)[:, None]
    shares[edges[:-1] - times[begin] > _GAP * usual] = 0
    return Curve(edges, scan.indices[known[begin]], shares)


@dataclass(frozen=True, slots=True)
class Problem:
    """One line for people."""

    text: str
    is_serious: bool = True  # something is missing or wrong, not only unusual


def problems_of(scan: MaskScan, statistics: ShareTable | None = None, *, is_finished: bool = True) -> list[Problem]:
    """All that can be seen in the masks themselves, and whether the statistics agree with them."""
    texts = [] if is_finished else ["The run did not come to its end; these are the masks up to there."]
    if not len(scan.indices):
        texts.append("The archive holds no masks.")
    follows, gaps = np.diff(scan.indices) == scan.step, np.diff(scan.times)
    usual = float(np.median(gaps)) if len(gaps) else 0.0
    back = np.flatnonzero(follows & (gaps <= 0))
    wide = np.flatnonzero(follows & (gaps > _GAP * usual)) if usual > 0 else back[:0]
    texts += _first([_hole(scan, at) for at in np.flatnonzero(~follows).tolist()], "such places")
    texts += _first(
        [f"Time does not rise from frame {scan.indices[at]} to the next mask." for at in back], "such places"
    )
    texts += _masks(scan.damaged, "missing or damaged")
    texts += _masks(scan.strange, "with pixels of no class")
    if statistics is not None:
        texts += _disagreements(scan, statistics)
    unusual = [
        f"A gap of {gaps[at]:.2f} s after frame {scan.indices[at]} at {clock(scan.times[at])}; "
        f"{usual:.3f} s is usual. The video may have one there too."
        for at in wide
    ]
    return [*map(Problem, texts), *(Problem(text, is_serious=False) for text in _first(unusual, "such gaps"))]


def problems_told(ending: Ending, count: int) -> list[Problem]:
    """What the run itself has told of its end; the archive's manifest tells of so many masks."""
    problems = []
    if ending.frames != count:
        problems.append(Problem(f"The run wrote {ending.frames} masks, and the manifest tells of {count}."))
    if ending.lost:
        problems.append(Problem(f"The video could not be had in full: {ending.lost}."))
    if ending.state == "interrupted":
        problems.append(Problem("The run was stopped before the end of the video.", is_serious=False))
    return problems


def _hole(scan: MaskScan, place: int) -> str:
    before, after = scan.indices[place : place + 2]
    if after <= before:
        return f"The mask of frame {after} comes after that of frame {before}: the manifest is out of order."
    rule = "in a row" if scan.step == 1 else f"{scan.step} apart"
    return f"No masks between frames {before} and {after}, where masks are {rule} otherwise."


def _disagreements(scan: MaskScan, statistics: ShareTable) -> list[str]:
    both, here, there = np.intersect1d(scan.indices, statistics.indices, return_indices=True)
    apart = np.abs(scan.shares[here] - statistics.shares[there]).max(axis=1, initial=0)
    surplus = np.setdiff1d(statistics.indices, scan.indices).tolist()
    told = [
        *_masks(np.setdiff1d(scan.indices, both).tolist(), f"without a row in {statistics.name}"),
        *_masks(both[apart > _ROUNDING].tolist(), f"whose shares are others in {statistics.name}"),
    ]
    if surplus:
        told.append(f"{statistics.name} has {len(surplus)} rows of frames without a mask: {_frames(surplus)}.")
    return told


def _first(texts: Sequence[str], what: str) -> list[str]:
    more = [f"... and {len(texts) - _TOLD} more {what}."] if len(texts) > _TOLD else []
    return [*texts[:_TOLD], *more]


def _masks(indices: Sequence[int], what: str) -> list[str]:
    count = "1 mask" if len(indices) == 1 else f"{len(indices)} masks"
    return [f"{count} {what}: {_frames(indices)}."] if indices else []


def _frames(indices: Sequence[int]) -> str:
    told = ", ".join(str(index) for index in indices[:_TOLD])
    return f"frame{'s' if len(indices) > 1 else ''} {told}" + (", ..." if len(indices) > _TOLD else "")


def clock(seconds: float) -> str:
    """A place in a video: 1:02:03.4, or 2:03.4."""
    tenths = round(abs(seconds) * 10)
    hours, minutes = divmod(tenths // 600, 60)
    rest = f"{tenths // 10 % 60:02d}.{tenths % 10}"
    sign = "-" if seconds < 0 and tenths else ""
    return f"{sign}{hours}:{minutes:02d}:{rest}" if hours else f"{sign}{minutes}:{rest}"
