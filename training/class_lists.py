"""Lists of classes as tools and data sets write them: names by id, and colours where labels are in colours."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import DataError
from .files import MOST_NAME, Color, is_class_name, read_json, read_lines, read_text
from .public_sets import CITYSCAPES_IDS, CITYSCAPES_NAMES, CODES

VOID_NAMES = frozenset({"void", "unlabelled", "unlabeled", "ignore"})
_BACKGROUND = "background"  # in black, it is what nobody labelled: so CVAT has it
_BLACK = (0, 0, 0)
NO_CLASS = "(no class "  # before an id without a name
_MOST = 255
_BETWEEN = r"[\s,;]+"
_CHANNELS = rf"\d{{1,3}}{_BETWEEN}\d{{1,3}}{_BETWEEN}\d{{1,3}}"

NAMED = (
    *("codes.txt", "classes.txt", "class_names.txt", "obj.names", "labels.txt", "_classes.csv", "mask_targets.json"),
    *("classes.json", "data.yaml", "dataset.yaml", "data.yml", "label_config.xml"),
)
COLORED = ("label_colors.txt", "class_dict.csv", "labelmap.txt")


@dataclass(frozen=True, slots=True, eq=False)
class ClassList:
    codes: tuple[str, ...]  # names by id, void among them
    void: frozenset[str]  # of `codes`
    origin: str  # for people
    id_of_color: Mapping[Color, int] | None = None


def class_list(
    codes: Iterable[str], origin: str, *, void: Iterable[str] = (), id_of_color: Mapping[Color, int] | None = None
) -> ClassList:
    """Checked; classes that are void by their names need not be in `void`.

    Raises:
        DataError: a name is none, or is there twice; or there are too few or too many.
    """
    codes = tuple(codes)
    for code in codes:
        if not is_class_name(code):
            raise DataError(f"{origin}: {code!r:.40} is no name of a class; take up to {MOST_NAME} letters")
    if len(set(codes)) != len(codes):
        twice = next(code for code in codes if codes.count(code) > 1)
        raise DataError(f"{origin}: class {twice!r} is named twice; give each a name of its own")
    if not 1 <= len(codes) <= _MOST:
        raise DataError(f"{origin}: {len(codes)} classes; 2 to {_MOST} can be told apart")
    by_name = {code for code in codes if code.lower() in VOID_NAMES}
    return ClassList(codes, frozenset({*void, *by_name}), origin, id_of_color)


def known_list(name: str) -> ClassList:
    """One of `CODES`."""
    void = set(CITYSCAPES_IDS) - set(CITYSCAPES_NAMES) if CODES[name] is CITYSCAPES_IDS else ()
    return class_list(CODES[name], f"the list of {name}", void=void)


def find_list(folders: Sequence[Path], names: Sequence[str]) -> ClassList | None:
    """The first of these files that there is."""
    for folder in folders:
        there = {path.name.lower(): path for path in folder.iterdir()} if folder.is_dir() else {}
        for name in names:
            if name in there:
                return read_class_list(there[name])
    return None


def find_yaml(folder: Path) -> ClassList | None:
    """YOLO's list of names in a file of whatever name: `street-seg.yaml`."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".yaml", ".yml"))
    named = [path for path in paths if re.search(r"^names:", read_text(path), re.MULTILINE)]
    return read_class_list(named[0]) if named else None


def read_class_list(path: Path) -> ClassList:
    """A file of any of the kinds that `NAMED` and `COLORED` have, or of another name.

    Raises:
        DataError: it is none.
    """
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _read_csv(path)
    if suffix == ".json":
        return _read_targets(path)
    if suffix in (".yaml", ".yml"):
        return class_list(_yaml_names(path), str(path))
    if suffix == ".xml":
        text = "\n".join(read_lines(path))
        return class_list(map(html.unescape, re.findall(r"""<Label\b[^>]*?\bvalue=["']([^"']+)""", text)), str(path))
    lines = read_lines(path)
    if path.name.lower() == "labelmap.txt" or any(re.search(r":\d+,\d+,\d+:", line) for line in lines):
        return _read_labelmap(path, lines)
    is_colored = path.name.lower() == "label_colors.txt" or any(re.match(r"\d+\s+\d+\s+\d+\s", line) for line in lines)
    if is_colored:
        return _read_label_colors(path, lines)
    if len(lines) == 1 and "," in lines[0]:
        return class_list([name.strip() for name in lines[0].split(",")], str(path))
    numbered = [re.fullmatch(r"(\d{1,3})(?:\s*[:;,=]\s*|\s+)(\S.*)", line) for line in lines]
    by_id = {int(match[1]): match[2] for match in numbered if match is not None}
    # Names such as `2 wheeler` begin with numbers, too, but with none that count from the first line on.
    is_numbered = len(by_id) == len(lines) and list(by_id) == sorted(by_id) and min(by_id, default=2) < 2
    return _by_id(path, by_id) if is_numbered else class_list(lines, str(path))


def folded(name: str) -> str:
    """Equal for names that differ in case, blanks and underscores alone: `Traffic_Light` and `traffic light`."""
    return re.sub(r"[\s_-]+", " ", name.strip().lower())


def _colored(path: Path, rows: Iterable[tuple[str, Color, str]]) -> ClassList:
    """`rows`: line, colour, name. Black is Void, unless it is a class."""
    codes: list[str] = []
    id_of_color: dict[Color, int] = {}
    for line, color, name in rows:
        if not is_class_name(name):
            raise DataError(f"{path}: {name!r:.40} is no name of a class; take up to {MOST_NAME} letters")
        if name in codes or color in id_of_color:
            raise DataError(f"{path}: {line!r} has a name or colour that an earlier line has")
        id_of_color[color] = len(codes)
        codes.append(name)
    black = id_of_color.get(_BLACK)
    void = [codes[black]] if black is not None and codes[black].lower() == _BACKGROUND else []
    if black is None:
        number = next((number for number, code in enumerate(codes) if code.lower() == "void"), len(codes))
        id_of_color[_BLACK] = number
        codes += ["Void"] if number == len(codes) else []
    return class_list(codes, str(path), void=void, id_of_color=id_of_color)


def _read_label_colors(path: Path, lines: Iterable[str]) -> ClassList:
    """A line `R G B name` or `name R G B` each, with blanks or commas between; # begins a comment."""
    rows = []
    for line in lines:
        if line.startswith("#"):
            continue
        text = line.partition("#")[0].strip()
        match = re.fullmatch(f"(?P<color>{_CHANNELS}){_BETWEEN}(?P<name>.+)", text)
        match = match or re.fullmatch(f"(?P<name>.+?){_BETWEEN}(?P<color>{_CHANNELS})", text)
        if match is None or (color := _color(re.split(_BETWEEN, match["color"]))) is None:
            raise DataError(f"{path}: {line!r} is not R G B NAME, such as 128 64 128 Road")
        rows.append((line, color, match["name"]))
    return _colored(path, rows)


def _read_labelmap(path: Path, lines: Iterable[str]) -> ClassList:
    """CVAT's: a line `name:r,g,b:parts:actions` each."""
    rows = []
    for line in lines:
        if line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        color = _color(rest.partition(":")[0].split(","))
        if color is None:
            raise DataError(f"{path}: {line!r} is not NAME:R,G,B:: as CVAT writes it")
        rows.append((line, color, name.strip()))
    return _colored(path, rows)


def _color(parts: Sequence[str]) -> Color | None:
    if len(parts) != 3 or not all(part.strip().isdecimal() and int(part) <= 255 for part in parts):
        return None
    red, green, blue = map(int, parts)
    return red, green, blue


def _read_csv(path: Path) -> ClassList:
    """With a heading: `name,r,g,b` (class_dict.csv), or pixel values and names (Roboflow's _classes.csv)."""
    lines = read_lines(path) or [""]
    delimiter = max(",;\t", key=lines[0].count)  # Excel's own depends on the country
    heading, *rows = csv.reader(io.StringIO("\n".join(lines)), delimiter=delimiter)
    columns = {title.strip().lower(): place for place, title in enumerate(heading)}

    def column(*titles: str) -> int | None:
        return next((columns[title] for title in titles if title in columns), None)

    name, value = column("name", "class", "class name", "label"), column("pixel value", "id", "value", "class id")
    channels = [column("r", "red"), column("g", "green"), column("b", "blue")]
    colors = [place for place in channels if place is not None]
    if name is None or (len(colors) < 3 and value is None):
        raise DataError(f"{path}: its first line names no columns name,r,g,b nor Pixel Value,Class")
    found: list[tuple[str, Color, str]] = []
    by_id: dict[int, str] = {}
    for row in rows:
        cells = [cell.strip() for cell in row]
        color = _color([cells[place] for place in colors if place < len(cells)])
        if name >= len(cells) or (len(colors) == 3 and color is None):
            columns_named = f"{','.join(heading)}, with whole numbers up to 255"
            raise DataError(f"{path}: {','.join(row)!r:.80} is not of the columns {columns_named}")
        if color is not None:
            found.append((",".join(row), color, cells[name]))
        elif value is not None and value < len(cells) and cells[value].isdecimal():
            by_id[int(cells[value])] = cells[name]
    return _colored(path, found) if len(colors) == 3 else _by_id(path, by_id)


def _read_targets(path: Path) -> ClassList:
    """FiftyOne's `{"1": "Road"}`, what `roadmask run` writes beside masks, Mapillary's own, or names alone."""
    content = read_json(path)
    names = (content.get("classes") or content.get("labels")) if isinstance(content, dict) else content
    if isinstance(names, list):
        return class_list(map(_name_of, names), str(path))
    if not isinstance(content, dict) or not all(
        key.isdecimal() and isinstance(name, str) for key, name in content.items()
    ):
        raise DataError(f'{path}: must be ids and names, as in {{"1": "Road", "2": "Sky"}}')
    return _by_id(path, {int(key): name for key, name in content.items()})


def _name_of(item: object) -> str:
    return str(item.get("readable") or item.get("name")) if isinstance(item, dict) else str(item)


def _by_id(path: Path, names: Mapping[int, str]) -> ClassList:
    """Ids without a name between others are void."""
    names = {number: name for number, name in names.items() if number != _MOST or name.lower() not in VOID_NAMES}
    if not names or max(names) >= _MOST:
        raise DataError(f"{path}: names no ids from 0 to {_MOST - 1}")
    gaps = {number: f"{NO_CLASS}{number})" for number in range(max(names)) if number not in names}
    return class_list(({**names, **gaps}[number] for number in range(max(names) + 1)), str(path), void=gaps.values())


def _yaml_names(path: Path) -> list[str]:
    """What stands under `names:`, in any of the three ways in which YOLO's files have it."""
    text = "\n".join(line.partition(" #")[0] for line in read_text(path).splitlines())
    if match := re.search(r"^names:\s*[\[{](.*?)[\]}]", text, re.MULTILINE | re.DOTALL):
        items = re.findall(r"""(?:[^,'"]|"[^"]*"|'[^']*')+""", match[1])  # a comma may stand in quotes
    elif match := re.search(r"^names:\s*\n((?:\s*(?:-|\d+\s*:).*\n?|\s*\n)+)", text, re.MULTILINE):
        items = [line.strip().removeprefix("-") for line in match[1].splitlines()]
    else:
        raise DataError(f"{path}: has no list of names:")
    names = [re.sub(r"^\s*\d+\s*:", "", item).strip().strip("'\"") for item in items]
    return [name for name in names if name]
