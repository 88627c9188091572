"""roadmask on an NVIDIA GPU, in some minutes: python tests/gpu/check.py [CLIP...] [-o FOLDER] [--minutes 8].

Whether masks are the CPU's, and how fast the model alone and whole runs are, at 720p and 1080p or on the clips that are
named; with what is there of CUDA, TensorRT, NVIDIA's decoder and fp16. It installs nothing. Each step is a process of
its own: one that fails, crashes or takes too long is told, and the others go on. FOLDER/check.json has all that was
found after each step, FOLDER/check.md the table. --rehearse goes through all steps on the CPU, tiny.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import onnxruntime
import steps
from card import smi
from steps import Job, Row

from roadmask.stream.errors import RoadmaskError
from roadmask.stream.network.libraries import load_tensorrt
from roadmask.stream.network.model import find_model
from roadmask.stream.network.providers import placement_of

_LEAST_S = 10.0  # a step is not begun with less
_START, _DRAW = "start", "draw"  # what the others need
_FP16_MAKE = "fp16: make"
_ENGINE_S = 300.0  # for a step of TensorRT, which builds first


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    function: Callable[..., list[Row]]
    arguments: tuple[Any, ...]
    job: Job
    limit_s: float = 90.0


@dataclass(slots=True)
class Found:
    """What became of a step."""

    step: str
    state: str  # "ok", "failed", "left out" for want of time, or "not there"
    seconds: float = 0.0
    why: str = ""
    rows: list[Row] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path, metavar="CLIP", help="videos to run on; without, two are drawn")
    parser.add_argument("-o", "--output", type=Path, default=Path("gpu-check"), metavar="FOLDER")
    parser.add_argument("--minutes", type=float, default=8.0, help="in all; what does not fit is left out, and named")
    parser.add_argument("--model", default="camvid-lite0")
    parser.add_argument("--frames", type=int, default=300, help="of a clip, in a run")
    parser.add_argument("--only", metavar="WORD", action="append", help="the steps whose names have it; more than once")
    parser.add_argument("--rehearse", action="store_true", help="all steps on the CPU, tiny")
    options = parser.parse_args()
    if problem := _problem(options):
        sys.stderr.write(f"check.py: {problem}\n")
        return 1
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="roadmask-gpu-") as folder:
        found = _all(options, Path(folder))
    sys.stdout.write(_table(found))
    return 3 if any(each.state in ("failed", "left out") for each in found) else 0


def _problem(options: argparse.Namespace) -> str:
    """Why nothing can be checked here."""
    if missing := [clip for clip in options.clips if not clip.is_file()]:
        return f"{missing[0]}: no such file"
    try:
        find_model(options.model)
        if options.rehearse:
            return ""
        if not smi("name"):
            return "no NVIDIA GPU here (nvidia-smi names none); --rehearse goes through all steps on the CPU"
        placement_of("cuda")
    except RoadmaskError as exc:
        return str(exc)
    return ""


def _all(options: argparse.Namespace, folder: Path) -> list[Found]:
    end, found = time.monotonic() + 60 * options.minutes, list[Found]()
    for step in _chosen(list(_steps(options, folder)), options.only):
        left_s = end - time.monotonic()
        if left_s < min(_LEAST_S, step.limit_s):
            each = Found(step.name, "left out", why=f"{options.minutes:g} minutes are over")
        elif found and found[0].step == _START and found[0].state != "ok":
            each = Found(step.name, "left out", why="the device does not start")
        else:
            each = _done(step, min(step.limit_s, left_s))
        found.append(each)
        sys.stderr.write(f"{each.state:<9}{each.seconds:6.1f} s  {each.step}{each.why and ': '}{each.why}\n")
        _save(found, options.output)
    if not options.rehearse and (missing := _no_tensorrt()):
        found.append(Found("TensorRT", "not there", why=missing))
        _save(found, options.output)
    return found


def _chosen(all_steps: list[Step], words: list[str] | None) -> list[Step]:
    """Those whose names have one of the words, and what these need."""
    if not words:
        return all_steps
    names = {step.name for step in all_steps if any(word in step.name for word in words)}
    needed = (_START, _DRAW, *([_FP16_MAKE] if any("fp16" in name for name in names) else []))
    return [step for step in all_steps if step.name in names or step.name.startswith(needed)]


def _no_tensorrt() -> str:
    if "TensorrtExecutionProvider" not in onnxruntime.get_available_providers():
        return "this onnxruntime has no provider for it"
    return load_tensorrt()


def _save(found: list[Found], folder: Path) -> None:
    _write(folder / "check.json", json.dumps([_plain(each) for each in found], indent=1) + "\n")
    _write(folder / "check.md", _table(found))


def _steps(options: argparse.Namespace, folder: Path) -> Iterator[Step]:
    """In the order of what one would know first, as the time may not be enough for all."""
    if options.rehearse:
        job = Job("cpu", folder, options.model, 6, 3, (1, 2), 0.01, 1)
        sizes = {} if options.clips else {96: 160}
    else:
        job = Job("cuda", folder, options.model, options.frames, 60, (1, 2, 4, 8, 16, 32), 1.0, 3)
        sizes = {} if options.clips else {1080: 1920, 720: 1280}
    clips = options.clips or [steps.clip_path(job, height) for height in sizes]
    fp16 = str(steps.fp16_path(job))
    yield Step(_START, steps.facts, (), job)
    for height, width in sizes.items():
        yield Step(f"{_DRAW} {width}x{height}", steps.drawn_clip, (height, width), job)
    yield Step("masks as the CPU's", steps.agreement, (options.model, clips[0]), job)
    for clip in clips:
        yield Step(f"run, {clip.stem}", steps.runs, (options.model, clip), job)
    yield Step("bare model", steps.bare, (options.model, clips[0]), job)
    yield Step("several files at once", steps.together, (clips[0], (2,) if options.rehearse else (4, 8)), job)
    for clip in clips:
        yield Step(f"decode, {clip.stem}", steps.decoding, (clip,), job)
    yield Step("run, decoded in software", steps.runs, (options.model, clips[0], "software"), job)
    yield Step("options of the provider", steps.variants, (clips[0],), job)
    yield Step(_FP16_MAKE, steps.fp16_model, (), job)
    yield Step("fp16: masks as the CPU's", steps.agreement, (fp16, clips[0]), job)
    yield Step("fp16: bare model", steps.bare, (fp16, clips[0]), job)
    yield Step("fp16: run", steps.runs, (fp16, clips[0]), job)
    if not options.rehearse and not _no_tensorrt():
        engine = Job("tensorrt", *(getattr(job, name) for name in Job.__slots__[1:]))
        for name, model in (("float32", options.model), ("fp16", fp16)):
            yield Step(f"TensorRT, {name}: masks", steps.agreement, (model, clips[0]), engine, _ENGINE_S)
            yield Step(f"TensorRT, {name}: run", steps.runs, (model, clips[0]), engine, _ENGINE_S)


def _done(step: Step, limit_s: float) -> Found:
    """What the step found, in a process that is ended when its time is over."""
    # A fork of a process that has imported all starts at once, but a GPU's driver may not survive one.
    forks = step.job.device == "cpu" and sys.platform == "linux"
    context = multiprocessing.get_context("forkserver" if forks else "spawn")
    if forks:
        context.set_forkserver_preload(["roadmask.stream.run.segment"])
    here, there = context.Pipe(duplex=False)
    started = time.monotonic()
    process = context.Process(target=_work, args=(there, step), daemon=True)
    process.start()
    there.close()
    found = Found(step.name, "failed")
    try:
        if here.poll(limit_s):
            found.state, found.why, found.rows = here.recv()
        else:
            found.why = f"took more than {limit_s:.0f} s"
    except EOFError:
        process.join(10)
        found.why = f"its process ended with {process.exitcode}"  # minus a signal's number, where it crashed
    process.kill()
    process.join()
    found.seconds = round(time.monotonic() - started, 1)
    return found


def _work(there: Connection, step: Step) -> None:
    try:
        there.send(("ok", "", step.function(step.job, *step.arguments)))
    except Exception as exc:  # noqa: BLE001 - told by the process that waits
        there.send(("failed", steps.brief(exc), []))


def _plain(found: Found) -> dict[str, Any]:
    return {name: getattr(found, name) for name in Found.__slots__}


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


# The table.


_SPEED = {
    "frames/s": "frames/s",
    "from, to": "from, to",
    "of bare": "of bare",
    "side by side": "frames/s, side by side",
    "bound": "frames/s, bound",
    "core ms": "ms of a core a frame",
    **{name: f"ms, {name}" for name in ("decode", "infer", "decide", "write")},
    "GPU %": "GPU busy, %",
    "GPU MB": "GPU MB",
    "MB": "MB",
}
_MASKS = {
    "equal": "equal",
    "worst frame": "equal in the worst frame",
    "on the grid": "equal on the grid",
    "lead where they differ": "lead where they differ, median",
    "at most": "lead where they differ, largest",
    "lead everywhere": "lead everywhere, median",
}


def _table(found: list[Found]) -> str:
    """As Markdown: masks, speed, all else."""
    rows = [row for each in found for row in each.rows]
    bare = max((max(_rates(row)) for row in rows if row["what"].startswith("bare ")), default=0.0)
    masks, speed, others = list[Row](), list[Row](), list[Row]()
    for row in rows:
        if "equal on the grid" in row:
            masks.append(row)
        if "ms of a core a frame" in row:
            speed.append(
                row
                | {
                    "from, to": f"{_said(row['from'])} to {_said(row['to'])}",
                    "of bare": row["frames/s"] / bare if bare else None,
                }
            )
        elif "frames/s" in row or "frames/s, bound" in row:
            speed.append(row)
        elif row not in masks:
            others.append(row)
    lines = [*_columns("masks, beside the CPU's", masks, _MASKS), "", *_columns("speed", speed, _SPEED), ""]
    lines += ["| all else | |", "|---|---|"]
    for row in others:
        told = (f"{name} {_said(value)}" for name, value in row.items() if name != "what" and value is not None)
        lines.append(f"| {row['what']} | {'; '.join(told)} |")
    lines += [f"| {each.step} | {each.state}: {each.why} |" for each in found if each.state != "ok"]
    return "\n".join(lines) + "\n"


def _columns(title: str, rows: list[Row], columns: dict[str, str]) -> list[str]:
    lines = [f"| {' | '.join((title, *columns))} |", "|---" * (len(columns) + 1) + "|"]
    for row in rows:
        values = (row.get(key) for key in columns.values())
        lines.append(f"| {' | '.join((row['what'], *('' if value is None else _said(value) for value in values)))} |")
    return lines


def _rates(row: Row) -> list[float]:
    return [value for name, value in row.items() if name.startswith("frames/s")]


def _said(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.5g}"


if __name__ == "__main__":
    sys.exit(main())
