"""`roadmask info`: what a file is, as names and values: footage, a model, masks, statistics, or a training run."""

from __future__ import annotations

import csv
import json
import math
import os
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, SupportsFloat
from zipfile import BadZipFile, ZipFile

import typer
from rich.console import Console
from rich.text import Text

from ..archive.archive import open_masks
from ..archive.manifest import MaskRecord
from ..batch.summary import entries_of, noted_model
from ..decode.opening import is_sequence, open_file
from ..decode.picture import PictureSource, is_picture
from ..decode.source import open_source
from ..decode.video_stream import tracks_of
from ..errors import ArchiveError, OutputError, RoadmaskError
from ..masks.familiar import warning_of
from ..network.model import Model, bundled_models, find_model
from ..spec import PixelClass
from ..stats.stats import CARRIED_COLUMN, PLACE_COLUMNS, read_columns
from ..stats.stats import SUFFIXES as STATS_SUFFIXES
from ..system.talk import did_you_mean, number_of, printable
from .options import AsJson

_CALLED = {
    "fps": "frames per second",
    "color_profile": "colour profile",
    "ignored": "left out",
    "reused": "of these reused",
    "carried": "of these carried",
    "best_miou": "best mIoU",
    "last_miou": "last mIoU",
    "drives": "mIoU by drive",
}
_TOLD_WITH_THE_NEXT = ("width", "stored_width", "orientation", "latitude")
_TOLD_BY: dict[str, Callable[[Any], object]] = {
    **dict.fromkeys(("first", "last"), lambda place: f"frame {place['index']}, {place['time']:.3f} s"),
    "familiar": lambda lead: f"where the best class leads by {lead:.2f} or more",
    "finished": lambda is_so: is_so or "no, its run was killed or goes on; the masks told here are whole",
    "run": lambda ending: _run(ending),
    "streams": lambda streams: {item["stream"]: _stream(item) for item in streams},
}
_CHECKPOINTS = ("best.pt", "last.pt")  # of a training run
# What `training.checkpoint` begins with, of which nothing is imported here, and bytes in which it stands.
_CHECKPOINT_MARK, _CHECKPOINT_BEGIN = b"roadmask-checkpoint", 4096


def info(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A video, a picture, a model (.onnx), masks, statistics, a summary, a training run."
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Say what a video, a picture, a model, a mask archive, a table of statistics, a summary or a training run is.

    \b
    roadmask info drive.mp4
    roadmask info model.onnx
    roadmask info results/drive_masks --json
    roadmask info runs/mine
    """  # noqa: D301 - Typer needs the character itself, to leave the lines after it as they are
    facts = describe(path)
    if as_json:
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
        return
    told = _for_people(facts)
    width = max(len(name) for name in told)
    console = Console(highlight=False)
    for name, value in told.items():
        console.print(Text(f"{name:<{width}}  ", style="bold") + _shown(value), soft_wrap=True)


def _for_people(facts: Mapping[str, Any]) -> dict[str, Any]:
    """In words: what programs are told as several numbers is one fact."""
    told: dict[str, Any] = {}
    for name, value in facts.items():
        if name in _TOLD_WITH_THE_NEXT:
            continue
        if name == "pixel_format":
            told["codec"] += f", {value}"
        elif name == "height":
            told["size"] = f"{facts['width']}x{value}"
        elif name == "stored_height":
            told["stored"] = f"{facts['stored_width']}x{value}, turned by EXIF's orientation {facts['orientation']}"
        elif name == "longitude":
            told["place"] = None if value is None else f"{facts['latitude']:.6f}, {value:.6f}"
        elif name in _TOLD_BY:
            told[name] = None if value is None else _TOLD_BY[name](value)
        else:
            told[_CALLED.get(name, name.replace("_", " "))] = value
    return told


def _shown(value: object) -> Text:
    """A fact for people; classes with their numbers, colours and scores."""
    if isinstance(value, list) and value and isinstance(value[0], dict) and "color" in value[0]:
        text = Text()
        for item in value:
            text.append(f"\n  {item['id']:>3} ").append("██ ", style="rgb({},{},{})".format(*item["color"]))
            text.append(f"{printable(item['name']):<14}{item['iou']:.3f}" if "iou" in item else printable(item["name"]))
        return text
    if isinstance(value, dict):
        names = (name for name in value if not str(name).startswith("iou_"))  # which stand beside their classes
        return Text("".join(f"\n  {printable(name)}: {printable(value[name])}" for name in names))
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, list):
        value = ", ".join(map(str, value)) or None
    return Text("unknown" if value is None else printable(value))


def describe(path: Path) -> dict[str, Any]:
    """Facts about `path`, or about the model of that name in the box, that JSON can hold.

    Raises:
        RoadmaskError: there is no such file, or it is none of these.
    """
    if not os.path.exists(path) and not is_sequence(path):  # noqa: PTH110 - which knows names that are too long
        if str(path) in bundled_models():
            return _model(find_model(path))
        if ":/" in str(path):
            raise RoadmaskError(f"{path}: is an address, and info says what files are; fetch it first")
        raise RoadmaskError(f"{path}: no such file{did_you_mean(str(path), bundled_models())}")
    suffix = path.suffix.lower()
    by_suffix = {".onnx": _model, ".pt": _checkpoint, ".pth": _checkpoint, ".json": _summary}
    if tell := by_suffix.get(suffix, _statistics if suffix in STATS_SUFFIXES else None):
        return tell(path)
    if (path / "folds.csv").is_file():
        return _folds(path)
    if any((path / name).is_file() for name in ("history.csv", *_CHECKPOINTS)):
        return _training_run(path)
    if path.is_dir() or suffix in (".zip", ".npz"):
        return _archive(path)
    if suffix == ".mkv":  # either
        with suppress(ArchiveError):
            return _archive(path)
    return _picture(path) if is_picture(path) and not is_sequence(path) else _video(path)


def _model(path: Path) -> dict[str, Any]:
    model = Model.load(path, device="cpu")
    spec = model.spec
    size = f"{spec.width}x{spec.height}"
    multiples = f"multiples of {spec.stride}, best at about {size}" if spec.stride > 1 else f"any, best at about {size}"
    sides = f"{size} alone" if spec.fixed else f"height and width {multiples}"
    return {
        "kind": "model",
        "file": path.name,
        "bytes": path.stat().st_size,
        "sha256": model.sha256,
        "schema": spec.schema,
        "input": f"{spec.input_name}: uint8 (batch, height, width, 3), RGB from 0 to 255 as it is; {sides}",
        "output": f"{spec.output_name}: float32 (batch, {len(spec.classes)}, rows, columns), a score for each class",
        "width": spec.width,  # that it was trained at
        "height": spec.height,
        "stride": spec.stride,
        "classes": _classes(spec.classes, spec.scores),
        "scores": dict(spec.scores) or None,
        "familiar": spec.least_lead,
        "provenance": dict(spec.provenance),
    }


def _classes(classes: Sequence[PixelClass], scores: Mapping[str, float]) -> list[dict[str, Any]]:
    """With the number that each has in a mask."""
    return [
        {"id": number, "name": item.name, "color": list(item.color)}
        | ({"iou": scores[f"iou_{item.name}"]} if f"iou_{item.name}" in scores else {})
        for number, item in enumerate(classes)
    ]


def _checkpoint(path: Path) -> dict[str, Any]:
    """By what it says that it is: all that it holds is read by torch, which need not be here."""
    begin = b""
    with suppress(OSError, BadZipFile, StopIteration, RuntimeError, EOFError, zlib.error), ZipFile(path) as file:
        begin = file.open(next(name for name in file.namelist() if name.endswith("data.pkl"))).read(_CHECKPOINT_BEGIN)
    if _CHECKPOINT_MARK not in begin:
        raise RoadmaskError(f"{path}: no checkpoint that 'roadmask train' wrote, or damaged; take best.pt of the run")
    return {
        "kind": "checkpoint",
        "file": path.name,
        "bytes": path.stat().st_size,
        "next": f"roadmask export {printable(path)} -o model.onnx, and roadmask info model.onnx",
    }


def _training_run(path: Path) -> dict[str, Any]:
    epochs = _scored(path / "history.csv", "epoch") if (path / "history.csv").is_file() else {}
    best = max(epochs, key=lambda epoch: epochs[epoch], default=None)
    checkpoints = [name for name in _CHECKPOINTS if (path / name).is_file()]
    facts: dict[str, Any] = {"kind": "training run", "folder": path.name, "epochs": len(epochs)}
    if best:
        last = next(reversed(epochs.values()))
        facts |= {"best_epoch": int(best) if best.isdecimal() else None, "best_miou": epochs[best], "last_miou": last}
    facts["checkpoints"] = checkpoints
    facts["plots"] = sorted(item.name for item in path.glob("*.png"))
    if checkpoints:
        facts["next"] = f"roadmask export {printable(path / checkpoints[0])} -o model.onnx"
    return facts


def _folds(path: Path) -> dict[str, Any]:
    scores = _scored(path / "folds.csv", "drive")
    return {"kind": "training runs, each with a drive held out", "folder": path.name, "drives": scores}


def _scored(path: Path, key: str) -> dict[str, float]:
    """The mIoU in each row of a table of training, the mean over its data sets; rows without one are left out."""
    scores = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                mious = [float(value) for name, value in row.items() if name and name.endswith("miou") and value]
                if mious and math.isfinite(sum(mious)):
                    scores[row.get(key) or "?"] = sum(mious) / len(mious)
    except (OSError, ValueError, csv.Error) as exc:
        raise RoadmaskError(f"{path}: cannot be read ({exc}); is it whole?") from exc
    return scores


def _statistics(path: Path) -> dict[str, Any]:
    names, columns = read_columns(path)
    count = len(columns[0])
    first, last = (_place(*(column[at] for column in columns[:2])) if count else None for at in (0, -1))
    of = {"frames": count, "first": first, "last": last}
    shares = {name: column for name, column in zip(names[2:], columns[2:], strict=True) if name not in PLACE_COLUMNS}
    carried = shares.pop(CARRIED_COLUMN) if list(shares)[-1:] == [CARRIED_COLUMN] else None
    return {
        "kind": "statistics",
        "file": path.name,
        "bytes": path.stat().st_size,
        **(of if names[0] == "index" else {"pictures": count}),
        **({} if carried is None else {"carried": int(carried.sum())}),
        "mean_shares": {name: round(float(column.mean()), 4) for name, column in shares.items()} if count else None,
    }


def _summary(path: Path) -> dict[str, Any]:
    try:
        entries, model = entries_of(path), noted_model(path)
    except OutputError as exc:
        raise RoadmaskError(f"{path}: no summary of 'roadmask run', which is all of JSON that is known here") from exc
    return {
        "kind": "summary",
        "file": path.name,
        "model": model and model[0],
        "device": model and model[1],
        "sources": len(entries),
        **Counter(entry.state for entry in entries),
        "frames": sum(entry.frames or 0 for entry in entries),
        "reasons": {entry.source: entry.reason for entry in entries if entry.reason},
    }


def _archive(path: Path) -> dict[str, Any]:
    with open_masks(path) as masks:
        header = masks.header
        return {
            "kind": "mask archive",
            "file": path.name,
            "format": masks.kind,
            "finished": masks.is_finished,
            "run": asdict(masks.ending) if masks.ending else None,
            "source": header.source,
            "model": header.model,
            "model_sha256": header.model_sha256,
            "smoothed": header.smoothed,
            **({"ignored": header.ignored} if header.ignored else {}),
            "masks": len(masks),
            **_counts(masks.records),
            "width": header.width,
            "height": header.height,
            "first": _place_of(masks.records[:1]),
            "last": _place_of(masks.records[-1:]),
            "classes": _classes(masks.classes, {}),
        }


def _run(ending: Mapping[str, Any]) -> str:
    lost = f"lost: {ending['lost']}" if ending["lost"] else ""
    words = (f"{ending['state']}, {number_of(ending['frames'], 'frame')}", lost, warning_of(ending["unlike"]))
    return "; ".join(filter(None, words))


def _counts(records: Sequence[MaskRecord]) -> dict[str, int]:
    """Of masks that the network has not worked out; none where it has."""
    counts = {name: sum(getattr(record, name) for record in records) for name in ("reused", "carried")}
    return {name: count for name, count in counts.items() if count}


def _place_of(records: Sequence[MaskRecord]) -> dict[str, float] | None:
    return _place(records[0].index, records[0].time) if records else None


def _place(index: float, time: SupportsFloat) -> dict[str, float] | None:
    """`None` where a table has no numbers there."""
    return {"index": int(index), "time": round(float(time), 6)} if math.isfinite(index + float(time)) else None


def _picture(path: Path) -> dict[str, Any]:
    with PictureSource(path) as source:
        info, head = source.info, source.head
    stored = {"orientation": head.orientation, "stored_width": head.width, "stored_height": head.height}
    return {
        "kind": "picture",
        "file": path.name,
        "bytes": path.stat().st_size,
        "codec": info.codec,
        "pixel_format": info.pixel_format,
        "width": info.width,
        "height": info.height,
        **(stored if head.orientation > 1 else {}),
        "taken": head.taken or None,
        "camera": head.camera or None,
        **dict(zip(("latitude", "longitude"), head.place or (None, None), strict=True)),
        "color_profile": bool(head.icc),
    }


def _video(path: Path) -> dict[str, Any]:
    with open_source(path) as source:
        info = source.info
    streams = []
    if info.streams > 1:
        with open_file(path) as container:
            for track in tracks_of(container, path):
                video = container.streams.video[track.number]
                told = {"stream": track.number, "label": track.label, "is_default": track.is_default}
                streams.append(told | {"width": video.width, "height": video.height})
    return {
        "kind": "video",
        "file": path.name,
        "bytes": path.stat().st_size,
        "codec": info.codec,
        "pixel_format": info.pixel_format,
        "width": info.width,
        "height": info.height,
        "rotation": info.rotation,
        "pixel_aspect": str(info.sample_aspect_ratio),
        "fps": None if info.rate is None else round(float(info.rate), 3),
        "frames": info.frame_count,
        **({"frames_note": info.count_note} if info.count_note else {}),
        "seconds": None if info.duration is None else round(float(info.duration), 3),
        "time_base": str(info.time_base),
        "audio": info.has_audio,
        **({"streams": streams} if streams else {}),
    }


def _stream(facts: Mapping[str, Any]) -> str:
    default = ", the default" if facts["is_default"] else ""
    return f"{facts['label']}, {facts['width']}x{facts['height']}{default}"
