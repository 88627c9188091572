"""What the network runs on here, and whether it gives what the CPU gives; and a drawn video, segmented as any other."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from numpy.typing import NDArray

from ..archive.archive import open_masks
from ..archive.verify import VideoCheck, archive_problems
from ..bench.clip import draw_drive
from ..decode.source import open_source
from ..errors import RoadmaskError, first_line
from ..frames import Frame
from ..network.model import BUNDLED, Model
from ..network.providers import DEVICES, Device, is_there
from ..run.done import forget_done
from ..run.segment import process_video
from ..run.settings import Report, SegmentSettings
from ..spec import PixelClass
from .doctor import REPORT, Finding, State

# Shares of the places whose best class is not the CPU's. Products rounded to 10 or 16 bits move a few at edges:
# bfloat16 0.8 % in the drawn road here, and 0.4 % in real ones.
_FEW, _MANY = 0.02, 0.05
_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")

_FRAMES = 8
_DRAWN = 5  # mean difference of 255 levels; encoding makes 1, an overlay more than 30
VIDEO, OVERLAY, _MASKS, _STATS = "drive.mp4", "overlay.mp4", "masks.zip", "shares.csv"
HEIGHT, WIDTH = 192, 320
# As `bench.clip` draws it: the sky ends above two fifths of the height, and the road is as wide as this at the bottom.
_SKY = slice(0, HEIGHT * 7 // 20), slice(None)
_AHEAD = slice(HEIGHT * 3 // 4, None), slice(WIDTH * 2 // 5, WIDTH * 3 // 5)
_KNOWN = {"sky": (_SKY, 0.7), "road": (_AHEAD, 0.9)}  # the model in the box labels 0.95 and 1.00 of them so


draw_known = partial(draw_drive, height=HEIGHT, width=WIDTH)


def devices() -> Iterator[Finding]:
    states: dict[str, State] = {}
    for finding in _compared(_there(building=False)):
        states[finding.name] = finding.state
        yield finding
    for device in _there(building=True):
        found = f"is there; not tried, as {device.building} takes minutes"
        yield Finding(device.name, "ok", found, "to try it: roadmask doctor engines")
    if not is_there(DEVICES["cuda"]) and (_NVIDIA_DRIVER.exists() or shutil.which("nvidia-smi")):
        advice = f"pip uninstall onnxruntime, then pip install {DEVICES['cuda'].packages}"
        yield Finding("cuda", "warning", "there is an NVIDIA GPU, and this onnxruntime cannot use it", advice)
    if states["cpu"] == "ok":
        taken = Model.load(device="auto")
        state = states[taken.placement.device.name]
        advice = "" if state == "ok" else f"name another until {taken.device} is mended: --device cpu"
        yield Finding("auto", state, f"--device auto takes {taken.device}, with {taken.path.stem}", advice)


def engines() -> Iterator[Finding]:
    """The devices that build for minutes before they run."""
    none = Finding("engines", "ok", "this onnxruntime has no device that builds before it runs")
    yield from _compared(building) if (building := _there(building=True)) else [none]


def _there(*, building: bool) -> list[Device]:
    """The devices beside the CPU, of those that build for minutes or of the others."""
    return [
        item for item in DEVICES.values() if item.name != "cpu" and bool(item.building) == building and is_there(item)
    ]


def _compared(others: list[Device]) -> Iterator[Finding]:
    """The CPU, then each of `others` beside it, with a known picture."""
    try:
        model = Model.load(BUNDLED, device="cpu")
        with TemporaryDirectory(prefix="roadmask-") as folder:
            draw_known(Path(folder) / VIDEO, frames=1)
            (frame,) = read(Path(folder) / VIDEO, model.spec.input_size(HEIGHT, WIDTH))
        expected, took = _scores(model, frame.input[None])
    except RoadmaskError as exc:
        yield Finding("cpu", "problem", first_line(exc), "install roadmask and onnxruntime again")
        return
    yield Finding("cpu", "ok", f"runs {model.path.stem}, {took}")
    for device in others:
        yield _beside(device, frame.input[None], expected)


def _beside(device: Device, pictures: NDArray[np.uint8], expected: NDArray[np.float32]) -> Finding:
    try:
        model = Model.load(BUNDLED, device=device.name)
        scores, took = _scores(model, pictures)
    except Exception as exc:  # noqa: BLE001 - drivers raise what they like; told as what was found
        advice = "install its driver and libraries"
        if device.packages:
            advice += f"; if there is no such device, pip install onnxruntime in place of {device.packages}"
        return Finding(device.name, "warning", f"does not run: {first_line(exc)}", advice)
    is_same = np.isfinite(scores).all(axis=1) & (scores.argmax(axis=1) == expected.argmax(axis=1))
    differing = float(1 - is_same.mean())
    found = f"runs as {model.device}, {took}; other classes than the CPU's in {differing:.2%} of the places"
    state: State = "problem" if differing > _MANY else "warning" if differing > _FEW else "ok"
    advice = "" if state == "ok" else "take --device cpu; upgrade what drives it, and check again"
    return Finding(device.name, state, found, advice)


def _scores(model: Model, pictures: NDArray[np.uint8]) -> tuple[NDArray[np.float32], str]:
    """The network's, and how long a call takes which is not the first."""
    model.scores(pictures)
    started = time.perf_counter()
    scores = model.scores(pictures)
    return scores, f"{1000 * (time.perf_counter() - started) / len(pictures):.0f} ms a picture"


def selftest() -> Iterator[Finding]:
    cv2.setNumThreads(1)  # as run does
    with TemporaryDirectory(prefix="roadmask-") as name:
        folder = Path(name)
        draw_known(folder / VIDEO, frames=_FRAMES)
        try:
            report = run(folder, Model.load())
            problem = report.lost or masks_problem(folder) or overlay_problem(folder)
            speed = f"{report.frames} frames, {report.fps:.1f} a second"
        except (RoadmaskError, OSError) as exc:
            problem = first_line(exc)
    if problem:
        yield Finding("run", "problem", problem, REPORT)
    else:
        yield Finding("run", "ok", f"{speed}; masks are whole and label road and sky; overlay decodes")


def run(folder: Path, model: Model) -> Report:
    settings = SegmentSettings(folder / VIDEO, overlay=folder / OVERLAY, masks=folder / _MASKS, stats=folder / _STATS)
    try:
        return process_video(settings, model)
    finally:
        forget_done(settings.outputs)


def masks_problem(folder: Path) -> str:
    with open_masks(folder / _MASKS) as masks:
        if len(masks) != _FRAMES:
            return f"{len(masks)} masks came out of {_FRAMES} frames"
        problems = [*archive_problems(masks), *VideoCheck(masks, folder / VIDEO).problems()]
        return problems[0] if problems else what_is_wrong(masks[-1], masks.classes)


def overlay_problem(folder: Path) -> str:
    before, after = (read(folder / name, (HEIGHT, WIDTH)) for name in (VIDEO, OVERLAY))
    if [frame.time for frame in before] != [frame.time for frame in after]:
        return f"the overlay has {len(after)} frames, not at the times of the video's {len(before)}"
    change = np.abs(after[-1].input.astype(np.int16) - before[-1].input).mean()
    return "nothing is drawn over the video" if change < _DRAWN else ""


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
