"""Where compiled models wait for the next run: the user's cache folder, which may be emptied at any time."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ..errors import DeviceError


def cache_folder() -> Path:
    """Our folder among the user's caches, by the system's own rules."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "roadmask"


def made(folder: Path) -> Path:
    """`folder`, which is there then.

    Raises:
        DeviceError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise DeviceError(
            f"{folder}: cannot keep compiled models there ({exc.strerror or exc}); free the name, or set XDG_CACHE_HOME"
        ) from exc
    return folder
