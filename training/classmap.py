"""The classes of one data set in those of another: each as one class, as one of several, or as void."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from .class_lists import VOID_NAMES, folded
from .dataset import Dataset
from .errors import DataError
from .files import is_class_name
from .public_sets import MAPS, ClassMap


def split_map(value: str) -> tuple[Path, str]:
    """`FOLDER` or `FOLDER:MAP`; a folder may have a colon in its name."""
    root, colon, mapped = value.rpartition(":")
    is_mapped = bool(colon) and not Path(value).is_dir() and Path(root).is_dir()
    return (Path(root), mapped) if is_mapped else (Path(value), "")


def targets(text: str) -> tuple[str, ...]:
    """The classes that a value of a map names; none for void.

    Raises:
        DataError: it names none, or void and a class.
    """
    names = [name.strip() for name in text.split("|")]
    is_void = [name.lower() in VOID_NAMES for name in names]
    if not all(map(is_class_name, names)):
        raise DataError(f"{text!r} lacks the name of a class")
    if any(is_void) and not all(is_void):
        raise DataError(f"{text!r} is void and a class; it is one or the other")
    return () if all(is_void) else tuple(dict.fromkeys(names))


def read_map(value: str, dataset: Dataset) -> ClassMap:
    """One of `MAPS` by its name, or a JSON file: `{"class": "Class" | ["Class", "Class"] | "void"}`.

    By the data set's own spelling of its classes; of a map in the box it need not have all.

    Raises:
        DataError: it is neither, says two things of one class, or names what is no class of the data set.
    """
    if value in MAPS:
        known = {folded(name) for name in dataset.codes}
        return checked_map({name: text for name, text in MAPS[value].items() if folded(name) in known}, dataset, value)
    if not value.lower().endswith(".json"):
        raise DataError(f"{value!r} is no class map; there are {', '.join(MAPS)}, or give a .json file")
    return checked_map(_read_json(Path(value)), dataset, value)


def checked_map(given: ClassMap, dataset: Dataset, name: str) -> ClassMap:
    """`given` by the data set's own spelling; `name` is the map's, for messages.

    Raises:
        DataError: as `read_map`.
    """
    known = {folded(code): code for code in dataset.codes}
    found: dict[str, str] = {}
    for code, text in given.items():
        if folded(code) not in known:
            raise DataError(f"{name}: the data has no class {code!r}; it has {', '.join(dataset.codes)}")
        try:
            is_void = not targets(text)
        except DataError as exc:
            raise DataError(f"{name}: class {code!r}: {exc}") from exc
        if known[folded(code)] not in dataset.class_names and not is_void:
            raise DataError(f"{name}: class {code!r} of the data is never scored nor learnt")
        found[known[folded(code)]] = text
    return found


def meanings(dataset: Dataset, given: ClassMap) -> dict[str, tuple[str, ...]]:
    """What each class of the data set stands for: by the map, or its namesake."""
    return {name: targets(given[name]) if name in given else (name,) for name in dataset.class_names}


def class_names(dataset: Dataset, given: ClassMap) -> tuple[str, ...]:
    """The classes to learn from this data set: each as it is spelled first."""
    spelled: dict[str, str] = {}
    for some in meanings(dataset, given).values():
        for name in some:
            spelled.setdefault(folded(name), name)
    return tuple(spelled.values())


def one_class(dataset: Dataset, names: Sequence[str]) -> str:
    """For people: why it cannot be learnt, and the cure."""
    return (
        f"{dataset.root}: {', '.join(names) or 'nothing'} is all there is beside void, and a network that knows "
        f"nothing else calls everything so; let it learn the rest, too: roadmask data {dataset.root} --background other"
    )


def _read_json(path: Path) -> ClassMap:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=tuple)  # dict would drop twins
    except OSError as exc:
        raise DataError(f"{path}: cannot be read ({exc.strerror or exc})") from exc
    except ValueError as exc:
        raise DataError(f"{path}: not JSON ({exc})") from exc
    if not isinstance(content, tuple):
        raise DataError(
            f"{path}: must be one object of pairs, as in "
            '{"Truck_Bus": "Car", "verge": ["Sidewalk", "Tree"], "Archway": "void"}'
        )
    found: dict[str, str] = {}
    spelled: dict[str, str] = {}
    for name, value in content:
        text = _text(name, value, path)
        first = spelled.setdefault(name.lower(), name)
        if _sorted(found.setdefault(first, text)) != _sorted(text):
            raise DataError(f"{path}: says two things of class {name!r}: {found[first]!r} and {text!r}")
    return found


def _text(name: str, value: object, path: Path) -> str:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not listed or not all(isinstance(item, str) for item in listed):
        raise DataError(f'{path}: {name!r} must be a class, a list of classes, or "void"; not {json.dumps(value)}')
    return "|".join(listed)


def _sorted(text: str) -> list[str]:
    return sorted(name.strip().lower() for name in text.split("|"))
