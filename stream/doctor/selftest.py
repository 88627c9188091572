"""A drawn video, segmented as `roadmask run` does it, with every output read again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
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
from ..network.model import Model
from ..run.segment import process_video
from ..run.settings import Report, SegmentSettings
from ..spec import PixelClass
from .doctor import REPORT, Finding, first_line

_FRAMES = 8
_DRAWN = 5  # mean difference of 255 levels; encoding makes 1, an overlay more than 30
_VIDEO, _OVERLAY, _MASKS, _STATISTICS = "drive.mp4", "overlay.mp4", "masks.zip", "shares.csv"

HEIGHT, WIDTH = 192, 320
# As `bench.clip` draws it: the sky ends above two fifths of the height, and the road is as wide as this at the bottom.
_SKY = slice(0, HEIGHT * 7 // 20), slice(None)
_AHEAD = slice(HEIGHT * 3 // 4, None), slice(WIDTH * 2 // 5, WIDTH * 3 // 5)
_KNOWN = {"sky": (_SKY, 0.7), "road": (_AHEAD, 0.9)}  # the model in the box labels 0.95 and 1.00 of them so


def examine() -> Iterator[Finding]:
    cv2.setNumThreads(1)  # as run does
    with TemporaryDirectory(prefix="roadmask-") as name:
        folder = Path(name)
        draw_known(folder / _VIDEO, frames=_FRAMES)
        try:
            model = Model.load()
            report = run(folder, model)
        except (RoadmaskError, OSError) as exc:
            yield Finding("run", "problem", first_line(exc), REPORT)
            return
        yield _told("run", run_problem(report), f"{report.frames} frames on {model.device}, {report.fps:.1f} a second")
        yield _told("masks", masks_problem(folder), "whole, one for each frame; road and sky are labelled so")
        yield _told("overlay", overlay_problem(folder), "plays, and has the video's frames at the video's times")
        yield _told("statistics", statistics_problem(folder), "a line for each frame")


def run(folder: Path, model: Model) -> Report:
    overlay, masks, statistics = (folder / name for name in (_OVERLAY, _MASKS, _STATISTICS))
    return process_video(SegmentSettings(folder / _VIDEO, overlay=overlay, masks=masks, stats=statistics), model)


def _told(name: str, problem: str, otherwise: str) -> Finding:
    return Finding(name, "problem", problem, REPORT) if problem else Finding(name, "ok", otherwise)


def run_problem(report: Report) -> str:
    return f"{report.frames} frames came out of {_FRAMES}" if report.frames != _FRAMES else report.lost


def masks_problem(folder: Path) -> str:
    with open_masks(folder / _MASKS) as masks:
        problems = [*archive_problems(masks), *VideoCheck(masks, folder / _VIDEO).problems()]
        if len(masks) != _FRAMES:
            problems.append(f"{len(masks)} masks came out of {_FRAMES} frames")
        return problems[0] if problems else what_is_wrong(masks[-1], masks.classes)


def overlay_problem(folder: Path) -> str:
    (video, before), (overlay, after) = _seen(folder / _VIDEO), _seen(folder / _OVERLAY)
    if video != overlay:
        return f"it has {len(overlay)} frames, not at the times of the video's {len(video)}"
    return "nothing is drawn over the video" if np.abs(after - before).mean() < _DRAWN else ""


def _seen(path: Path) -> tuple[list[Fraction], NDArray[np.int16]]:
    """The times of a video's frames, and its last picture, RGB and small."""
    with open_source(path) as source:
        frames = list(source.frames(lambda _: (HEIGHT, WIDTH)))
    return [frame.time for frame in frames], frames[-1].input.astype(np.int16)


def statistics_problem(folder: Path) -> str:
    lines = len((folder / _STATISTICS).read_text(encoding="utf-8").splitlines()) - 1  # names are above
    return f"{lines} lines came out of {_FRAMES} frames" if lines != _FRAMES else ""


def draw_known(path: Path, *, frames: int) -> None:
    draw_drive(path, height=HEIGHT, width=WIDTH, frames=frames)


def network_inputs(path: Path, model: Model) -> NDArray[np.uint8]:
    """(frames, h, w, 3): what the network is given of a video."""
    with open_source(path) as source:
        size = model.spec.input_size(HEIGHT, WIDTH)
        return np.stack([frame.input for frame in source.frames(lambda _: size)])


def what_is_wrong(mask: NDArray[np.uint8], classes: Sequence[PixelClass]) -> str:
    """How a mask of the picture, at its own size, differs from what is known; empty where it does not."""
    names = [item.name.lower() for item in classes]
    for name, (place, least) in _KNOWN.items():
        share = float((mask[place] == names.index(name)).mean())
        if share < least:
            return f"of the {name} {share:.0%} are labelled so, and {least:.0%} have to be"
    return ""
