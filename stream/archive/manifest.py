"""What a mask archive says of itself: `classes.json` once, and a line of `manifest.jsonl` for each mask.

{"schema": 1, "classes": [{"name": "road", "color": [128, 64, 128]}, ...], "width": 1280, "height": 720,
"source": "drive.mp4", "model": "roadmask.onnx", "model_sha256": "...", "smoothed": true}   null where not known;
and "ignored": "bottom:12%" where part of the pictures is left out: its pixels are 255. Beside masks of pictures, which
are no archive, it has the classes alone.

{"index": 12, "pts": 6144, "time_base": "1/12800", "time": 0.48, "file": "frame_000012.png",
"crc32": "0a1b2c3d", "width": 1280, "height": 720}   and "reused": true where it is the mask of the line before,
"carried": true where it was carried along from a frame before, and the network has not seen this one

`run.json`, written last, tells how the run ended:

{"state": "partial", "frames": 250, "undecodable": 3, "damaged": 0, "missing_s": 1.2, "lost": "3 undecodable packets",
"unlike": 0.02}   and null where not known
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import ArchiveError, OutputError
from ..frames import Ending, SegmentedFrame
from ..spec import MAX_CLASSES, PixelClass, pixel_class
from ..system.disk import replace_file, writing

MaskFormat = Literal["folder", "zip", "ffv1", "npz", "zarr"]
_MASK_FORMATS: dict[str, MaskFormat] = {"": "folder", ".zip": "zip", ".mkv": "ffv1", ".npz": "npz", ".zarr": "zarr"}

CLASSES_NAME = "classes.json"
MANIFEST_NAME = "manifest.jsonl"
ENDING_NAME = "run.json"
_SCHEMA = 1

# An archive may come from anywhere. What is more than this is none of ours, and is refused before memory is taken.
MOST_PIXELS = 1 << 28  # of a mask: 16384 x 16384
MOST_TEXT = 1 << 20  # bytes of classes.json, of run.json: 255 classes take 20 kB
MOST_MANIFEST = 1 << 29  # bytes of a manifest: three million masks
_MOST_LINE = 1 << 12  # characters of a line of it, which has 170
_MOST_NUMBER = 1 << 63
_MOST_SIDE = 1 << 20
_MOST_STREAMS = 1000
_RATIO = re.compile(r"[1-9]\d{0,17}(/[1-9]\d{0,17})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class ArchiveHeader:
    """What holds for all masks of an archive."""

    classes: tuple[PixelClass, ...]  # a mask holds indices into this
    width: int
    height: int
    source: str | None = None  # the video's name, without its folder
    model: str | None = None
    model_sha256: str | None = None
    smoothed: bool | None = None  # over time; else each mask is of its frame alone
    stream: int | None = None  # which of the video's streams, where it was named
    ignored: str | None = None  # what is left out, and so is `NO_CLASS` in the masks; None for nothing


@dataclass(frozen=True, slots=True)
class MaskRecord:
    """One mask of an archive."""

    index: int  # of the frame, among all frames of the source
    pts: int  # in units of `time_base`, as in the source
    time_base: Fraction
    file: str | None  # the PNG; None where the archive is not made of such
    crc32: str  # of the mask's pixels, row by row: 8 hex digits
    width: int
    height: int
    reused: bool = False  # the picture had not changed, and the mask before was taken
    carried: bool = False  # the network has not seen the picture; the mask was carried along from one before

    @property
    def time(self) -> Fraction:
        """Seconds on the source's own clock."""
        return self.pts * self.time_base


def mask_format(path: Path) -> MaskFormat:
    """The mask archive that a path's suffix means.

    Raises:
        OutputError: the suffix means none.
    """
    try:
        return _MASK_FORMATS[path.suffix.lower()]
    except KeyError:
        raise OutputError(
            f"{path}: no mask archive has the suffix {path.suffix}; "
            "name a folder (no suffix), a .zip of PNG files, a .mkv (FFV1 video), a .npz (NumPy) or a .zarr",
            usage=True,
        ) from None


def record_of(result: SegmentedFrame) -> MaskRecord:
    """Without a file, whose name is up to the archive."""
    height, width = result.mask.shape
    frame = result.frame
    crc32 = checksum(result.mask)
    of = (frame.index, frame.pts, frame.time_base)
    return MaskRecord(*of, None, crc32, width, height, frame.unchanged, frame.carried)


def checksum(mask: NDArray[np.uint8]) -> str:
    """CRC-32 of the pixels, row by row: 8 hex digits."""
    return f"{zlib.crc32(np.ascontiguousarray(mask).data):08x}"


def header_text(header: ArchiveHeader) -> str:
    content = {"schema": _SCHEMA} | asdict(header)
    for name in ("stream", "ignored"):
        if content[name] is None:
            del content[name]
    return json.dumps(content, indent=2) + "\n"


def refuse_other_classes(folder: Path, classes: Sequence[PixelClass], *, overwrite: bool) -> None:
    """Raises `OutputError` where masks of pictures would come among those of other classes, unless these may go."""
    path = folder / CLASSES_NAME
    if overwrite or not path.exists():
        return
    try:
        there = _classes(json.loads(path.read_text(encoding="utf-8"))["classes"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise OutputError(f"{path}: exists, and lists no classes of masks; choose another folder") from None
    if there != tuple(classes):
        raise OutputError(
            f"{path}: the masks in this folder are of other classes than this model's; "
            "choose another folder, or pass --overwrite"
        )


def write_classes(folder: Path, classes: Sequence[PixelClass]) -> None:
    """Beside the masks of pictures: what their values mean. An archive's own list of the same stays."""
    path = folder / CLASSES_NAME
    with writing(path):
        if not (folder / MANIFEST_NAME).exists():
            content = {"schema": _SCHEMA, "classes": list(map(asdict, classes))}
            replace_file(path, (json.dumps(content, indent=2) + "\n").encode())


def record_line(record: MaskRecord) -> str:
    content = {
        "index": record.index,
        "pts": record.pts,
        "time_base": str(record.time_base),
        "time": float(record.time),
        "file": record.file,
        "crc32": record.crc32,
        "width": record.width,
        "height": record.height,
    }
    return json.dumps(content | {name: True for name in ("reused", "carried") if getattr(record, name)})


def rows_of(records: Sequence[MaskRecord]) -> dict[str, NDArray[np.generic]]:
    """What is told of each mask, as arrays, for those who read them without roadmask."""
    return {
        "pts": np.array([record.pts for record in records], "<i8"),
        "time": np.array([float(record.time) for record in records], "<f8"),
        "crc32": np.array([int(record.crc32, 16) for record in records], "<u4"),
        "index": np.array([record.index for record in records], "<i8"),  # last: once it is there, all is
    }


def ending_text(ending: Ending) -> str:
    return json.dumps(asdict(ending)) + "\n"


def parse_ending(text: str, path: str) -> Ending:
    """Read `run.json`; raises `ArchiveError` where it is something else. `path` is the archive's name, for messages."""
    try:
        content = json.loads(text)
        content = {"unlike": None} | content  # which 1.0.0 had not
        return Ending(
            **{item.name: content[item.name] for item in fields(Ending)} | {"unlike": _share(content["unlike"])}
        )
    except (ValueError, KeyError, TypeError) as exc:
        raise ArchiveError(f"{path}: its {ENDING_NAME} cannot be used ({exc!r})") from exc


def _share(value: float | None) -> float | None:
    if value is not None and not 0 <= value <= 1:
        raise ValueError(f"{value!r} is no share")
    return value


def parse_header(text: str, path: str) -> ArchiveHeader:
    """Read `classes.json`; `path` is the archive's name, for messages.

    Raises:
        ArchiveError: not JSON, of a newer schema, or a field is missing or wrong.
    """
    try:
        content = json.loads(text)
        if content["schema"] > _SCHEMA:
            raise ArchiveError(f"{path}: schema {content['schema']} is newer than this roadmask; upgrade")
        if "width" not in content:
            raise ArchiveError(f"{path}: masks of pictures, each by itself, and no archive of a video's; read its PNGs")
        return ArchiveHeader(
            classes=_classes(content["classes"]),
            width=_number(content["width"], 1, _MOST_SIDE),
            height=_number(content["height"], 1, _MOST_SIDE),
            source=_word(content.get("source")),
            model=_word(content.get("model")),
            model_sha256=_word(content.get("model_sha256")),
            smoothed=content.get("smoothed"),
            stream=None if content.get("stream") is None else _number(content["stream"], 0, _MOST_STREAMS),
            ignored=_word(content.get("ignored")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise ArchiveError(f"{path}: its {CLASSES_NAME} cannot be used ({exc!r})") from exc


def parse_records(text: str, path: str) -> tuple[MaskRecord, ...]:
    """Read a manifest. A last line without its end is one that a crash cut off, and is left out.

    Raises:
        ArchiveError: a whole line is not a record.
    """
    records = []
    for number, line in enumerate(_whole_lines(text), start=1):
        try:
            records.append(parse_record(line))
        except (ValueError, KeyError, TypeError) as exc:
            raise ArchiveError(f"{path}: line {number} of its {MANIFEST_NAME} cannot be used ({exc!r})") from exc
    return tuple(records)


def _whole_lines(text: str) -> Iterator[str]:
    """One after the other: millions of them at once take more memory than the text."""
    begin = 0
    while (end := text.find("\n", begin)) >= 0:
        yield text[begin:end]
        begin = end + 1


def parse_record(line: str) -> MaskRecord:
    """Raises `ValueError`, `KeyError` or `TypeError` where it is no record."""
    if len(line) > _MOST_LINE:
        raise ValueError(f"{len(line)} characters")
    try:
        content = json.loads(line)
    except RecursionError as exc:
        raise ValueError("lists in lists without end") from exc
    width, height = (_number(content[side], 1, _MOST_SIDE) for side in ("width", "height"))
    if width * height > MOST_PIXELS:
        raise ValueError(f"a mask of {width}x{height}")
    return MaskRecord(
        index=_number(content["index"], 0, _MOST_NUMBER),
        pts=_number(content["pts"], -_MOST_NUMBER, _MOST_NUMBER),
        time_base=_time_base(content["time_base"]),
        file=_word(content["file"]),
        crc32=str(content["crc32"]),
        width=width,
        height=height,
        reused=bool(content.get("reused", False)),
        carried=bool(content.get("carried", False)),
    )


@lru_cache(maxsize=64)
def _time_base(text: str) -> Fraction:
    """One object for all records that have the same: to read it takes as long as the rest of a line."""
    if not _RATIO.fullmatch(text):  # of "1e999999999" a fraction would be made for hours
        raise ValueError(f"time base {text!r}")
    return Fraction(text)


def _classes(items: list[dict[str, object]]) -> tuple[PixelClass, ...]:
    if not 1 <= len(items) <= MAX_CLASSES:
        raise ValueError(f"{len(items)} classes; 1 to {MAX_CLASSES} are possible")
    return tuple(map(pixel_class, items))


def _number(value: object, least: int, most: int) -> int:
    if type(value) is not int or not least <= value < most:  # True is an int, too
        raise ValueError(f"{value!r:.40} is no number from {least} to {most - 1}")
    return value


def _word(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    return value
