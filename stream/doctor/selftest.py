"""A drawn video, segmented as `roadmask run` does it, with every output read again."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from numpy.typing import NDArray

from ..archive.archive import open_masks
from ..archive.verify import VideoCheck, archive_problems
from ..decode.source import open_source
from ..errors import RoadmaskError
from ..network.model import Model
from ..run.segment import process_video
from ..run.settings import Report, SegmentSettings
from .finding import REPORT, Finding, first_line
from .picture import HEIGHT, WIDTH, draw_known, what_is_wrong

_FRAMES = 8
_DRAWN = 5  # mean difference of 255 levels; encoding makes 1, an overlay more than 30
_VIDEO, _OVERLAY, _MASKS, _STATISTICS = "drive.mp4", "overlay.mp4", "masks.zip", "shares.csv"


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
