"""`roadmask bench`: how fast a run is, beside the bare model, on this machine."""

from __future__ import annotations

import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import av
import cv2
import numpy as np
import onnxruntime
import typer
from rich.console import Console

from .. import __version__
from ..bench.bench import BARE, SIDE_BY_SIDE, Bench, Case, measure, prepare, rivals_of
from ..bench.clip import draw_drive
from ..masks.carry import FAST
from ..network.model import Model
from ..network.providers import DEVICES, is_there
from ..run.settings import SegmentSettings
from ..run.stages import batch_size
from ..system.machine import usable_cores
from ..system.talk import printable
from . import options as of

_STAGES = ("all", "decode", "follow", "infer", "decide", "write", "libraries")
_COLUMNS = tuple(f" {name}" for name in ("all ms", *_STAGES[1:-1], " libs"))
_HEADER = f"{'':<31}frames/s {'(from, to)':>14}   bare   both{''.join(_COLUMNS)}    MB"  # 120 wide, as windows are


def bench(
    clip: Annotated[Path | None, typer.Argument(metavar="CLIP", help="A video; default: one that is drawn.")] = None,
    model: of.ModelFile = None,
    device: of.Device = "auto",
    video_size: Annotated[str, typer.Option(metavar="WxH", help="Of the video that is drawn.")] = "960x540",
    max_frames: Annotated[int, typer.Option(min=10, help="Of the clip, in each round.")] = 100,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds, after one that warms up.")] = 3,
    batch: of.Batch = "auto",  # type: ignore[assignment]
    threads: of.Threads = "auto",  # type: ignore[assignment]
    workers: of.Workers = "auto",  # type: ignore[assignment]
    size: of.Size = "auto",
    smooth: of.Smooth = True,
    every: of.Seen = None,
    as_json: of.AsJson = False,
) -> None:
    """Measure how fast a run is, beside the bare model, on this machine.

    The cases run in turn, several times over, in one process: read the ratios, machines are noisy.

    \b
    roadmask bench                                    with a drive that is drawn, 960x540
    roadmask bench drive.mp4 --max-frames 300
    roadmask bench --video-size 1280x720 --model camvid-lite0-int8 --json > bench.json
    """  # noqa: D301 - Typer needs the character itself, to leave the lines after it as they are
    height, width = of.video_size(video_size)
    if height % 2 or width % 2:
        raise typer.BadParameter(f"{video_size}: both sides of a video must be even")
    cv2.setNumThreads(1)  # as run does
    network = Model.load(model, device=device, threads=threads, workers=workers, size=size)
    rivals = rivals_of(network, is_chosen=model is None, threads=threads, workers=workers)
    with TemporaryDirectory(prefix="roadmask-") as folder:
        if clip is None:
            clip = Path(folder) / "drawn.mp4"
            draw_drive(clip, height=height, width=width, frames=max_frames)
        template = SegmentSettings(clip, max_frames=max_frames, batch=batch or None, smooth=smooth)
        prepared = prepare(template, network, every=every or FAST, rivals=rivals, folder=Path(folder))
        with Console(stderr=True, highlight=False).status("warming up") as status:

            def told(done: int, name: str) -> None:
                status.update(f"round {done} of {repeats}: {name}" if done else f"warming up: {name}")

            measure(prepared, repeats=repeats, on_case=told)
    facts = _facts(prepared, network, template)
    if as_json:
        sys.stdout.write(json.dumps(facts | {"cases": _plain(prepared)}, indent=2) + "\n")
    else:
        sys.stdout.write(_table(prepared, facts))


def _facts(prepared: Bench, network: Model, template: SegmentSettings) -> dict[str, Any]:
    info, (height, width) = prepared.info, prepared.input_size
    frames, size = prepared.waiting
    return {
        "clip": f"{template.name}, {info.width}x{info.height} {info.codec}, {prepared.frames} frames",
        "model": f"{network.path.stem} on {network.device}, network {width}x{height}, "
        f"batch {batch_size(network, template.batch)}, workers {network.workers}",
        "smoothed": template.smooth,
        "machine": f"{usable_cores()} cores, {platform.machine()}, {platform.system()}",
        "versions": _versions(),
        "most_waiting": frames,
        "most_waiting_mb": round(size / 1e6),
    }


def _versions() -> dict[str, str]:
    """By what is imported: the packages that bring ONNX Runtime have other names."""
    brought = {library.__name__: library.__version__ for library in (onnxruntime, av, np)}
    openvino = {"openvino": version("openvino")} if is_there(DEVICES["openvino"]) else {}
    return {"roadmask": __version__, **brought, **openvino, "python": platform.python_version()}


def _plain(prepared: Bench) -> list[dict[str, Any]]:
    return [
        {
            "name": case.name,
            "fps": round(case.rate, 2),
            "of_bare": round(case.rate / prepared.case(BARE).rate, 3),
            "of_both": round(case.rate / prepared.case(SIDE_BY_SIDE).rate, 3),
            "processor_ms": {name: round(value, 2) for name, value in case.processor_ms.items()},
            "peak_memory_mb": case.peak_memory_mb and round(case.peak_memory_mb),
            "rounds_fps": [round(sample.rate, 2) for sample in case.samples],
        }
        for case in prepared.cases
    ]


def _table(prepared: Bench, facts: dict[str, Any]) -> str:
    lines = [
        *(printable(f"{name}: {facts[name]}") for name in ("clip", "model", "machine")),
        *("", _HEADER, *(_row(case, prepared) for case in prepared.cases), ""),
        "bare, both: the rate by that of the bare model, as ONNX Runtime comes, and side by side as run does.",
        "ms: of a core, a frame, medians; libs: threads of codecs and ONNX Runtime. MB: the process's peak.",
        f"At most {facts['most_waiting']} frames wait between decoder and outputs, however long the video: "
        f"{facts['most_waiting_mb']} MB.",
    ]
    return "\n".join(lines) + "\n"


def _row(case: Case, prepared: Bench) -> str:
    rates = [sample.rate for sample in case.samples]
    of_bare, of_both = (case.rate / prepared.case(name).rate for name in (BARE, SIDE_BY_SIDE))
    spent = "".join(
        f"{_short(case.processor_ms[name]) if name in case.processor_ms else '':>{len(column)}}"
        for name, column in zip(_STAGES, _COLUMNS, strict=True)
    )
    spread = f"{_short(min(rates))} to {_short(max(rates))}"
    memory = "" if case.peak_memory_mb is None else f"{case.peak_memory_mb:.0f}"
    return f"{case.name:<31}{_short(case.rate):>8} {spread:>14}{of_bare:7.2f}{of_both:7.2f}{spent}{memory:>6}"


def _short(value: float) -> str:
    return f"{value:.1f}" if value < 1000 else f"{value:.0f}"
