"""Make one page of runs: find the archives, look at each, write HTML that needs no network and no other file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from ..archive.archive import open_masks
from ..archive.manifest import CLASSES_NAME
from ..errors import ArchiveError, OutputError, RoadmaskError
from ..system.disk import PartialOutput, writing
from .run import Depth, RunLook, look_at
from .sections import overview, run_section

log = logging.getLogger(__name__)

_MANY = 5  # runs, from which on each gets less room
_FEW_PICTURES = Depth(points=300, keyframes=6, picture_width=360)
_SUFFIXES = (".zip", ".mkv", ".npz", ".zarr")  # of archives that are no folders of PNGs


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """What to make a page of."""

    masks: tuple[Path, ...]  # archives, or folders of archives
    output: Path
    video: Path | None = None  # of the one archive, or a folder in which each one's source lies
    stats: Path | None = None  # of the one archive
    overwrite: bool = False


def write_report(
    settings: ReportSettings, *, on_progress: Callable[[str, str, int, int], None] | None = None
) -> list[RunLook]:
    """Write the page; `on_progress` is told a run's name, what of it is read, how much, of how much.

    Raises:
        RoadmaskError: masks, video or statistics cannot be read or do not belong together, or the page not be written.
    """
    _refuse_input(settings)
    archives = find_archives(settings.masks)
    _refuse_several(settings, archives)
    page = PartialOutput(settings.output, overwrite=settings.overwrite)
    depth = _FEW_PICTURES if len(archives) >= _MANY else Depth()
    with page:
        runs = []
        for number, path in enumerate(archives, 1):

            def told(what: str, done: int, total: int, name: str = path.name) -> None:
                if on_progress:
                    on_progress(name, what, done, total)

            runs.append(
                look_at(path, videos=settings.video, stats=settings.stats, depth=depth, number=number, on_progress=told)
            )
        with writing(settings.output):
            page.path.write_text(page_of(runs), encoding="utf-8", errors="replace")  # names may be no text
        page.used = True
    return runs


def find_archives(paths: Sequence[Path]) -> list[Path]:
    """The archives named, and those in folders named; in order.

    Raises:
        ArchiveError: a folder holds none.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir() or path.suffix.lower() == ".zarr" or (path / CLASSES_NAME).exists():
            found.append(path)
            continue
        inside = list(_archives_in(path))
        if not inside:
            raise ArchiveError(f"{path}: is no mask archive, and holds none; name the masks of a run")
        found += inside
    return list(dict.fromkeys(found))


def page_of(runs: Sequence[RunLook]) -> str:
    """The whole HTML."""
    assets = files(__package__) / "page"
    style, script, page = (
        (assets / name).read_text(encoding="utf-8") for name in ("style.css", "report.js", "page.html")
    )
    alone = len(runs) == 1
    title = runs[0].header.source or runs[0].name if alone else f"{len(runs)} runs"
    body = "" if alone else f"<header class='page'><h1>Mask report</h1></header>{overview(runs)}"
    body += "".join(run_section(run, alone=alone) for run in runs)
    return Template(page).substitute(title=escape(title), style=style, script=script, body=body)


def _archives_in(folder: Path) -> Iterator[Path]:
    """Also those in folders of folders, as `roadmask run` lays them out; nothing inside an archive is looked at."""
    for item in sorted(folder.iterdir()):
        if _is_archive(item):
            yield item
        elif item.is_dir() and not item.name.startswith(".") and item.suffix.lower() != ".zarr":
            yield from _archives_in(item)


def _is_archive(path: Path) -> bool:
    """Whether it can be opened as one; what looks like one and cannot, as an overlay .mkv, is passed over and told."""
    is_folder = path.is_dir() and path.suffix.lower() != ".zarr"
    looks_like_one = (path / CLASSES_NAME).exists() if is_folder else path.suffix.lower() in _SUFFIXES
    if not looks_like_one or ".partial" in path.suffixes:
        return False
    try:
        open_masks(path).__exit__(None, None, None)
    except ArchiveError as exc:
        log.warning("%s; it is left out", exc)
        return False
    return True


def _refuse_input(settings: ReportSettings) -> None:
    """Raises `OutputError` where the page would replace what it is made of."""
    for path in (*settings.masks, settings.video, settings.stats):
        if path is not None and path.exists() and settings.output.exists() and settings.output.samefile(path):
            raise OutputError(f"{settings.output}: is one of the inputs; choose another name for the page")


def _refuse_several(settings: ReportSettings, archives: Sequence[Path]) -> None:
    if len(archives) < 2:
        return
    if settings.stats is not None:
        raise RoadmaskError(f"{settings.stats}: statistics of one run, but {len(archives)} archives were named")
    if settings.video is not None and not settings.video.is_dir():
        raise RoadmaskError(
            f"{settings.video}: a video of one run, but {len(archives)} archives were named; name the folder of videos"
        )
