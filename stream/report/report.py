"""Make one page of runs: find the archives, look at each, write HTML that needs no network and no other file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from ..archive.archive import open_masks
from ..archive.manifest import MANIFEST_NAME
from ..errors import ArchiveError, RoadmaskError
from ..system.disk import PartialOutput, writing
from ..system.hold import held_to_make, refuse_inputs
from .run import ReportSettings, RunLook, look_at
from .sections import overview, run_section

log = logging.getLogger(__name__)

_KEYFRAMES, _FEW_KEYFRAMES, _MANY_RUNS = 12, 6, 5
_PAGES = (".html", ".htm")
_SUFFIXES = (".zip", ".mkv", ".npz", ".zarr")  # of archives that are no folders of PNGs


def write_report(settings: ReportSettings, *, on_progress: Callable[[str, str, int, int], None]) -> list[RunLook]:
    """Write the page; `on_progress` is told a run's name, what of it is read, how much, of how much.

    Raises:
        RoadmaskError: masks, video or statistics cannot be read or do not belong together, or the page not be written.
    """
    if settings.output.suffix.lower() not in _PAGES:
        raise RoadmaskError(f"{settings.output}: a report is a page; give it the suffix {_PAGES[0]}", usage=True)
    archives = list(dict.fromkeys(found for path in settings.masks for found in _archives(path)))
    _refuse(settings, len(archives))
    keyframes = _FEW_KEYFRAMES if len(archives) >= _MANY_RUNS else _KEYFRAMES
    page = PartialOutput(settings.output, overwrite=settings.overwrite)
    with held_to_make([settings.output], *settings.masks), page:
        runs = [
            look_at(path, settings, keyframes=keyframes, number=number, on_progress=partial(on_progress, path.name))
            for number, path in enumerate(archives, 1)
        ]
        with writing(settings.output):
            page.path.write_text(_html(runs), encoding="utf-8", errors="replace")  # names may be no text
        page.used = True
    return runs


def _archives(path: Path) -> list[Path]:
    """The archive named, or those in the folder named. Raises `ArchiveError` where there are none."""
    if not path.is_dir() or path.suffix.lower() == ".zarr" or (path / MANIFEST_NAME).exists():
        return [path]
    if not (inside := list(_archives_in(path))):
        raise ArchiveError(f"{path}: is no mask archive, and holds none; name the masks of a run")
    return inside


def _archives_in(folder: Path) -> Iterator[Path]:
    """Also those in folders of folders, as `roadmask run` lays them out; nothing inside an archive is looked at."""
    for item in sorted(folder.iterdir()):
        if item.suffix.lower() in _SUFFIXES or (item / MANIFEST_NAME).exists():
            if ".partial" not in item.suffixes and _opens(item):
                yield item
        elif item.is_dir() and not item.name.startswith("."):
            yield from _archives_in(item)


def _opens(path: Path) -> bool:
    """What looks like an archive and is none, as an overlay .mkv, is passed over and told."""
    try:
        with open_masks(path):
            return True
    except ArchiveError as exc:
        log.warning("%s; it is left out", exc)
        return False


def _refuse(settings: ReportSettings, count: int) -> None:
    """Raises `RoadmaskError` where the page would replace what it is made of, or one file is to do for several runs."""
    video, stats = settings.video, settings.stats
    refuse_inputs(settings.output, *settings.masks, video, stats)
    if count > 1 and stats is not None:
        raise RoadmaskError(f"{stats}: statistics of one run, but {count} archives were named; name that run's alone")
    if count > 1 and video is not None and not video.is_dir():
        raise RoadmaskError(f"{video}: a video of one run, but {count} archives were named; name the folder of videos")


def _html(runs: Sequence[RunLook]) -> str:
    assets = files(__package__) / "page"
    style, script, page = (
        (assets / name).read_text(encoding="utf-8") for name in ("style.css", "report.js", "page.html")
    )
    alone = len(runs) == 1
    title = runs[0].header.source or runs[0].name if alone else f"{len(runs)} runs"
    body = "" if alone else f"<header class='page'><h1>Mask report</h1></header>{overview(runs)}"
    body += "".join(run_section(run, alone=alone) for run in runs)
    return Template(page).substitute(title=escape(title), style=style, script=script, body=body)
