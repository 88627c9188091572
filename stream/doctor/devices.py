"""What the network runs on here: whether each device runs it, and gives what the CPU gives."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ..errors import RoadmaskError
from ..network.model import Model
from ..network.providers import DEVICES, Device
from .doctor import Finding, State, first_line
from .selftest import HEIGHT, WIDTH, draw_known, read

# Shares of the places whose best class is not the CPU's. Products rounded to 10 or 16 bits move a few at edges.
_FEW, _MANY = 0.01, 0.05
_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


def devices() -> Iterator[Finding]:
    there = _there()
    states: dict[str, State] = {}
    for finding in _compared([device for device in there if not device.building]):
        states[finding.name] = finding.state
        yield finding
    for device in there:
        if device.building:
            found = f"is there; not tried, as {device.building} takes minutes"
            yield Finding(device.name, "ok", found, "to try it: roadmask doctor engines")
    if all(device.name != "cuda" for device in there) and (_NVIDIA_DRIVER.exists() or shutil.which("nvidia-smi")):
        advice = "pip uninstall onnxruntime, then pip install onnxruntime-gpu"
        yield Finding("cuda", "warning", "there is an NVIDIA GPU, and this onnxruntime cannot use it", advice)
    if states["cpu"] == "ok":
        taken = Model.load(device="auto").device
        advice = "" if states[taken] == "ok" else f"name another until {taken} is mended: --device cpu"
        yield Finding("auto", states[taken], f"--device auto takes {taken}", advice)


def engines() -> Iterator[Finding]:
    """The devices that build for minutes before they run."""
    if building := [device for device in _there() if device.building]:
        yield from _compared(building)
    else:
        yield Finding("engines", "ok", "this onnxruntime has no device that builds before it runs")


def _there() -> list[Device]:
    available = onnxruntime.get_available_providers()
    return [device for device in DEVICES.values() if device.provider in available and device.name != "cpu"]


def _compared(others: list[Device]) -> Iterator[Finding]:
    """The CPU, then each of `others` beside it, with a known picture."""
    with TemporaryDirectory(prefix="roadmask-") as folder:
        clip = Path(folder) / "drive.mp4"
        draw_known(clip, frames=1)
        try:
            model = Model.load(device="cpu")
            pictures = np.stack([frame.input for frame in read(clip, model.spec.input_size(HEIGHT, WIDTH))])
            expected, took = _scores(model, pictures)
        except RoadmaskError as exc:
            yield Finding("cpu", "problem", first_line(exc), "install roadmask and onnxruntime again")
            return
    yield Finding("cpu", "ok", f"runs {model.path.stem}, {took}")
    for device in others:
        yield _beside(device, pictures, expected)


def _beside(device: Device, pictures: NDArray[np.uint8], expected: NDArray[np.float32]) -> Finding:
    try:
        scores, took = _scores(Model.load(device=device.name), pictures)
    except Exception as exc:  # noqa: BLE001 - drivers raise what they like; told as what was found
        advice = "install its driver and libraries"
        if device.packages:
            advice += f"; if there is no such device, pip install onnxruntime in place of {device.packages}"
        return Finding(device.name, "warning", f"does not run: {first_line(exc)}", advice)
    is_same = np.isfinite(scores).all(axis=1) & (scores.argmax(axis=1) == expected.argmax(axis=1))
    differing = float(1 - is_same.mean())
    found = f"runs, {took}; other classes than the CPU's in {differing:.2%} of the places"
    if differing <= _FEW:
        return Finding(device.name, "ok", found)
    state: State = "problem" if differing > _MANY else "warning"
    return Finding(device.name, state, found, "take --device cpu; upgrade its driver and onnxruntime, and check again")


def _scores(model: Model, pictures: NDArray[np.uint8]) -> tuple[NDArray[np.float32], str]:
    """The network's, and how long a call takes which is not the first."""
    model.scores(pictures)
    started = time.perf_counter()
    scores = model.scores(pictures)
    return scores, f"{1000 * (time.perf_counter() - started) / len(pictures):.0f} ms a picture"
