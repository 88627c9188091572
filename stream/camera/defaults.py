"""What is kept beside a camera's name, for the next run that has a camera called so: what is left out of its pictures.

One file among the user's settings, `cameras.json`:

    {"front": {"ignore": ["bottom:12%", {"mask": "bonnet.png", "png": "iVBORw0..."}]}}

A mask is kept itself, not where it was.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..archive.png import png
from ..errors import OutputError, RoadmaskError
from ..masks.ignore import Ignored, Painted, painted_of, parse_ignored
from ..system.disk import replace_file, writing
from ..system.machine import settings_folder


def defaults_path() -> Path:
    """Of the file."""
    return settings_folder() / "cameras.json"


def saved_ignored() -> dict[str, Ignored]:
    """By the cameras' names.

    Raises:
        RoadmaskError: the file is damaged.
    """
    try:
        path = defaults_path()
    except RuntimeError:  # of those who have no home
        return {}
    try:
        return {name: _ignored(facts["ignore"]) for name, facts in _read(path).items() if "ignore" in facts}
    except OutputError:
        raise
    except (RoadmaskError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise RoadmaskError(f"{path}: cannot be used ({exc!r}); move it away") from exc


def save_ignored(by_name: Mapping[str, Ignored]) -> None:
    """Keep these, and what others have; one that is empty is forgotten.

    Raises:
        RoadmaskError: the file is damaged, or cannot be written.
    """
    path = defaults_path()
    kept = saved_ignored() | dict(by_name)
    content = {
        name: {"ignore": [_plain(item) for item in ignored.regions]} for name, ignored in kept.items() if ignored
    }
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, (json.dumps(content, indent=1) + "\n").encode())


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, PermissionError):  # a service's home may be anywhere
        return {}
    except OSError as exc:
        raise OutputError(f"{path}: cannot be read ({exc.strerror or exc})") from exc
    if not isinstance(content, dict):
        raise TypeError("it is no table of cameras")
    return content


def _plain(region: object) -> object:
    if isinstance(region, Painted):
        return {"mask": region.name, "png": b64encode(png(region.pixels())).decode()}
    return str(region)


def _ignored(items: list[Any]) -> Ignored:
    found = Ignored()
    for item in items:
        if isinstance(item, str):
            found |= parse_ignored(item)
        else:
            found |= Ignored((painted_of(b64decode(item["png"], validate=True), str(item["mask"])),))
    return found
