"""A drawn video, segmented as `roadmask run` does it, with its masks and its overlay read again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from numpy.typing import NDArray

from ..archive.archive import open_masks
from ..archive.verify import VideoCheck, archive_problems
from ..bench.clip import draw_drive
from ..decode.source import open_source
from ..errors import RoadmaskError
from ..frames import Frame
from ..network.model import Model
from ..run.segment import process_video
from ..run.settings import Report, SegmentSettings
from ..spec import PixelClass
from .doctor import REPORT, Finding, first_line

_FRAMES = 8
_DRAWN = 5  # mean difference of 255 levels; encoding makes 1, an overlay more than 30
VIDEO, OVERLAY, _MASKS, _STATS = "drive.mp4", "overlay.mp4", "masks.zip", "shares.csv"

HEIGHT, WIDTH = 192, 320
# As `bench.clip` draws it: the sky ends above two fifths of the height, and the road is as wide as this at the bottom.
_SKY = slice(0, HEIGHT * 7 // 20), slice(None)
_AHEAD = slice(HEIGHT * 3 // 4, None), slice(WIDTH * 2 // 5, WIDTH * 3 // 5)
_KNOWN = {"sky": (_SKY, 0.7), "road": (_AHEAD, 0.9)}  # the model in the box labels 0.95 and 1.00 of them so


def selftest() -> Iterator[Finding]:
    cv2.setNumThreads(1)  # as run does
    with TemporaryDirectory(prefix="roadmask-") as name:
        folder = Path(name)
        draw_known(folder / VIDEO, frames=_FRAMES)
        try:
            report = run(folder, Model.load())
            problem = report.lost or masks_problem(folder) or overlay_problem(folder)
        except (RoadmaskError, OSError) as exc:
            problem = first_line(exc)
    if problem:
        yield Finding("run", "problem", problem, REPORT)
        return
    found = (
        f"{report.frames} frames, {report.fps:.1f} a second; masks are whole and label road and sky; the overlay plays"
    )
    yield Finding("run", "ok", found)


def run(folder: Path, model: Model) -> Report:
    settings = SegmentSettings(folder / VIDEO, overlay=folder / OVERLAY, masks=folder / _MASKS, stats=folder / _STATS)
    return process_video(settings, model)


def masks_problem(folder: Path) -> str:
    with open_masks(folder / _MASKS) as masks:
        problems = [*archive_problems(masks), *VideoCheck(masks, folder / VIDEO).problems()]
        if len(masks) != _FRAMES:
            problems.append(f"{len(masks)} masks came out of {_FRAMES} frames")
        return problems[0] if problems else what_is_wrong(masks[-1], masks.classes)


def overlay_problem(folder: Path) -> str:
    before, after = (read(folder / name, (HEIGHT, WIDTH)) for name in (VIDEO, OVERLAY))
    if [frame.time for frame in before] != [frame.time for frame in after]:
        return f"the overlay has {len(after)} frames, not at the times of the video's {len(before)}"
    change = np.abs(after[-1].input.astype(np.int16) - before[-1].input).mean()
    return "nothing is drawn over the video" if change < _DRAWN else ""


def draw_known(path: Path, *, frames: int) -> None:
    draw_drive(path, height=HEIGHT, width=WIDTH, frames=frames)


def read(path: Path, size: tuple[int, int]) -> list[Frame]:
    """All frames, with pictures for a network of that size."""
    with open_source(path) as source:
        return list(source.frames(lambda _: size))


def what_is_wrong(mask: NDArray[np.uint8], classes: Sequence[PixelClass]) -> str:
    """How a mask of the picture, at its own size, differs from what is known; empty where it does not."""
    names = [item.name.lower() for item in classes]
    for name, (place, least) in _KNOWN.items():
        share = float((mask[place] == names.index(name)).mean())
        if share < least:
            return f"of the {name} {share:.0%} are labelled so, and {least:.0%} have to be"
    return ""
