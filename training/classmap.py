"""The classes of one data set in those of another: each as one class, as a set of classes, or as void."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from .camvid import CAMVID32_TO_11, VOID_NAMES
from .errors import DataError

Targets = tuple[str, ...]  # one class, several that the label does not tell apart, or none: void
ClassMap = Mapping[str, Targets]

# Varma et al., "IDD: A dataset for exploring problems of autonomous navigation in unconstrained environments" (2019):
# the seven classes of its Lite version, each a level-1 class of its hierarchy, in CamVid's 11 classes.
IDD_LITE: dict[str, Targets] = {
    "drivable": ("Road",),
    "non-drivable": ("Sidewalk", "Tree"),  # pavements and verges
    "living things": ("Pedestrian", "Bicyclist"),  # people and riders
    "vehicles": ("Car", "Bicyclist"),  # two-wheelers too
    "road side objects": ("Fence", "Column_Pole", "SignSymbol", "Building", "Sidewalk"),  # walls, kerbs
    "far objects": ("Building", "Tree"),
    "sky": ("Sky",),
}
MAPS: dict[str, ClassMap] = {
    "camvid32": {name: () if target == "Void" else (target,) for name, target in CAMVID32_TO_11.items()},
    "idd-lite": IDD_LITE,
}


def read_map(value: str) -> ClassMap:
    """One of `MAPS` by its name, or a JSON file: `{"class": "Class" | ["Class", "Class"] | "void"}`.

    Raises:
        DataError: neither; or the file says two things of one class, or what is no class.
    """
    if value in MAPS:
        return MAPS[value]
    if not value.lower().endswith(".json"):
        raise DataError(f"{value}: no class map; there are {', '.join(MAPS)}, or give a .json file")
    path = Path(value)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=lambda pairs: _object(pairs, path))
    except OSError as exc:
        raise DataError(f"{path}: cannot be read ({exc.strerror or exc})") from exc
    except ValueError as exc:
        raise DataError(f"{path}: not JSON ({exc})") from exc
    if not isinstance(content, dict):
        raise DataError(f'{path}: must be one object, as in {{"bus": "Car", "verge": ["Sidewalk", "Tree"]}}')
    return {name: _targets(name, value, path) for name, value in content.items()}


def _object(pairs: Iterable[tuple[str, object]], path: Path) -> dict[str, object]:
    content: dict[str, object] = {}
    for name, value in pairs:
        if name in content and content[name] != value:
            raise DataError(f"{path}: says two things of {name}: {json.dumps(content[name])} and {json.dumps(value)}")
        content[name] = value
    return content


def _targets(name: str, value: object, path: Path) -> Targets:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not listed or not all(isinstance(item, str) and item for item in listed):
        raise DataError(f'{path}: {name} must be a class, a list of classes, or "void"; not {json.dumps(value)}')
    is_void = [item.lower() in VOID_NAMES for item in listed]
    if any(is_void) and not all(is_void):
        raise DataError(f"{path}: {name} is void and {', '.join(listed)}; it is one or the other")
    return () if all(is_void) else tuple(dict.fromkeys(listed))
