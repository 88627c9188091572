"""`roadmask info`: what a file is, as names and values: a video, a model, or a mask archive."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from ..archive.archive import open_masks
from ..archive.manifest import MaskRecord
from ..decode.opening import is_sequence
from ..decode.source import open_source
from ..errors import ArchiveError, RoadmaskError
from ..frames import Ending
from ..network.model import Model, bundled_models, find_model
from ..system.talk import printable
from .options import AsJson


def info(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A video, a model (.onnx) or a mask archive.")],
    as_json: AsJson = False,
) -> None:
    """Say what a video, a model or a mask archive is.

    \b
    roadmask info drive.mp4
    roadmask info model.onnx
    roadmask info results/drive_masks --json
    """  # noqa: D301 - Typer needs the character itself, to leave the lines after it as they are
    facts = describe(path)
    if as_json:
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
        return
    width = max(len(name) for name in facts)
    console = Console(highlight=False)
    for name, value in facts.items():
        console.print(Text(f"{name:<{width}}  ", style="bold") + _shown(value), soft_wrap=True)


def _shown(value: object) -> Text:
    """A fact for people; classes with their colours."""
    if isinstance(value, list) and value and isinstance(value[0], dict) and "color" in value[0]:
        text = Text()
        for item in value:
            text.append("\n  ").append("██ ", style="rgb({},{},{})".format(*item["color"])).append(item["name"])
        return text
    if isinstance(value, dict):
        return Text("".join(f"\n  {printable(name)}: {printable(item)}" for name, item in value.items()))
    return Text("unknown" if value is None else printable(value))


def describe(path: Path) -> dict[str, Any]:
    """Facts about `path`, or about the model of that name in the box, that JSON can hold.

    Raises:
        RoadmaskError: there is no such file, or it is none of the three.
    """
    if not os.path.exists(path) and not is_sequence(path):  # noqa: PTH110 - which knows names that are too long
        if str(path) in bundled_models():
            return _model(find_model(path))
        raise RoadmaskError(f"{path}: no such file")
    if path.suffix.lower() == ".onnx":
        return _model(path)
    if path.is_dir() or path.suffix.lower() in (".zip", ".npz"):
        return _archive(path)
    if path.suffix.lower() == ".mkv":  # either
        try:
            return _archive(path)
        except ArchiveError:
            return _video(path)
    return _video(path)


def _model(path: Path) -> dict[str, Any]:
    model = Model.load(path, device="cpu")
    spec = model.spec
    return {
        "kind": "model",
        "file": path.name,
        "bytes": path.stat().st_size,
        "sha256": model.sha256(),
        "schema": spec.schema,
        "trained at": f"{spec.width}x{spec.height}, sides multiples of {spec.stride}",
        "provenance": dict(spec.provenance),
        "scores": dict(spec.scores),
        "classes": [{"name": item.name, "color": list(item.color)} for item in spec.classes],
    }


def _archive(path: Path) -> dict[str, Any]:
    with open_masks(path) as masks:
        header = masks.header
        return {
            "kind": "mask archive",
            "file": path.name,
            "format": masks.kind,
            "finished": masks.is_finished or "no, its run was killed or goes on; the masks told here are whole",
            "run": _run(masks.ending),
            "source": header.source,
            "model": header.model,
            "model sha256": header.model_sha256,
            "smoothed": header.smoothed,
            "masks": len(masks),
            "size": f"{header.width}x{header.height}",
            "first": _place(masks.records[:1]),
            "last": _place(masks.records[-1:]),
            "classes": [{"name": item.name, "color": list(item.color)} for item in masks.classes],
        }


def _run(ending: Ending | None) -> str | None:
    if ending is None:
        return None
    return f"{ending.state}, {ending.frames} frames" + (f"; lost: {ending.lost}" if ending.lost else "")


def _place(records: Sequence[MaskRecord]) -> str | None:
    return f"frame {records[0].index}, {float(records[0].time):.3f} s" if records else None


def _video(path: Path) -> dict[str, Any]:
    with open_source(path) as source:
        info = source.info
    return {
        "kind": "video",
        "file": path.name,
        "bytes": path.stat().st_size,
        "codec": f"{info.codec}, {info.pixel_format}",
        "size": f"{info.width}x{info.height}",
        "rotation": info.rotation,
        "pixel aspect": str(info.sample_aspect_ratio),
        "frames per second": None if info.rate is None else round(float(info.rate), 3),
        "frames": info.frame_count,
        **({"frames note": info.count_note} if info.count_note else {}),
        "seconds": None if info.duration is None else round(float(info.duration), 3),
        "time base": str(info.time_base),
        "audio": info.has_audio,
    }
