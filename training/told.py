"""What was told of a data set, as it cannot be seen: `roadmask-data.json` in its folder, read by every command."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from .class_lists import class_list, read_class_list
from .errors import DataError
from .files import Color, read_json
from .public_sets import CODES

FILE = "roadmask-data.json"


@dataclass(frozen=True, slots=True)
class Told:
    layout: str = ""  # PICTURES:LABELS, folders
    known: str = ""  # one of `CODES`
    codes: tuple[str, ...] = ()  # or these names, by id
    colors: tuple[Color, ...] = ()  # of the codes, where labels are in colours
    void: tuple[int, ...] = ()  # ids
    background: str = ""  # the name of what nobody labelled, which is then a class


def told_of(layout: str | None, codes: str | None, void: str | None, background: str | None) -> Told:
    """Of options.

    Raises:
        DataError: one says nothing that could be told.
    """
    told = Told(layout=layout or "", void=_ids(void or ""), background=background or "")
    if layout is not None and not all(layout.partition(":")):
        raise DataError(f"--layout {layout}: is not PICTURES:LABELS, two folders of the data set", usage=True)
    if codes is None:
        return told
    if codes in CODES:
        return replace(told, known=codes)
    if Path(codes).is_file():
        found = read_class_list(Path(codes))
        color_of = {number: color for color, number in (found.id_of_color or {}).items()}
        return replace(told, codes=found.codes, colors=tuple(color_of[number] for number in sorted(color_of)))
    names = tuple(name.strip() for name in codes.split(","))
    if len(names) < 2:
        raise DataError(
            f"--codes {codes}: neither a file, nor names such as other,road, nor one of {', '.join(CODES)}", usage=True
        )
    return replace(told, codes=class_list(names, "--codes").codes)


def read_told(root: Path) -> Told:
    """What was kept in the folder of a data set; nothing, where nothing was.

    Raises:
        DataError: the file is not of that kind.
    """
    path = root / FILE
    if not path.is_file():
        return Told()
    content = read_json(path)
    try:
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in content.items()
        }
        told = Told(**values)
        colors = tuple((int(red), int(green), int(blue)) for red, green, blue in told.colors)
        told = replace(told, colors=colors, void=tuple(map(int, told.void)), codes=tuple(map(str, told.codes)))
        is_known = all(isinstance(text, str) for text in (told.layout, told.known, told.background))
        is_known = is_known and told.known in ("", *CODES) and all(0 <= number <= 255 for number in told.void)
        is_known = is_known and len(colors) in (0, len(told.codes))
    except (TypeError, ValueError, AttributeError):
        is_known = False
    if not is_known:
        raise DataError(f"{path}: says nothing that 'roadmask data' writes; delete it, and say it again")
    return told


def merged(root: Path, told: Told) -> Told:
    """With what was told of the data set before, where it says something else. Raises `DataError`."""
    changed = {field.name: value for field in fields(Told) if (value := getattr(told, field.name))}
    if told.known or told.codes:
        changed = {"known": told.known, "codes": told.codes, "colors": told.colors} | changed
    return replace(read_told(root), **changed)


def keep(root: Path, told: Told) -> Path:
    """For `read_told`, beside what was told before.

    Raises:
        DataError: the folder cannot be written to.
    """
    path = root / FILE
    try:
        path.write_text(json.dumps(asdict(merged(root, told)), indent=2) + "\n", encoding="utf-8")
    except OSError as exc:
        raise DataError(
            f"{path}: cannot be written ({exc.strerror or exc}), so nothing is kept; link its folders into one of yours"
        ) from exc
    return path


def _ids(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")] if text else []
    if not all(part.isdecimal() and int(part) <= 255 for part in parts):
        raise DataError(f"--void {text}: is not ids from 0 to 255, such as 255 or 0,255", usage=True)
    return tuple(map(int, parts))
