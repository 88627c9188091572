"""Folders that are written to: whether they can be, and how much room they have."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..system.machine import cache_folder
from .doctor import Finding, megabytes

# An hour of 1080p gives an overlay of about 2 GB and masks of about 0.5 GB; a TensorRT engine takes tens of megabytes.
_ENOUGH = {"here": 5_000_000_000, "temporary": 500_000_000, "cache": 500_000_000}
_TOO_LITTLE = 50_000_000


def examine() -> Iterator[Finding]:
    try:
        yield here(Path.cwd())
    except FileNotFoundError:
        yield Finding("here", "warning", "the folder that you are in is not there any more", "go to another: cd")
    yield temporary()
    yield cache(cache_folder())


def here(folder: Path) -> Finding:
    """The working folder, where outputs go that have no folder of their own; nothing is written to it."""
    if not os.access(folder, os.W_OK | os.X_OK):
        found = f"{folder}: cannot be written to; outputs without a folder of their own would go there"
        return Finding("here", "warning", found, "go to another folder, or name outputs in one: -o FOLDER/")
    return _room("here", folder, "make room, or name outputs on another disk: -o FOLDER/")


def temporary() -> Finding:
    try:
        folder = Path(tempfile.gettempdir())
        _write(folder)
    except OSError as exc:
        return Finding("temporary", "problem", f"cannot be written to: {exc.strerror or exc}", "set TMPDIR to a folder")
    return _room("temporary", folder, "make room, or set TMPDIR to a folder on another disk")


def cache(folder: Path) -> Finding:
    """Where devices keep what they compile; the CPU keeps nothing."""
    other = "LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder)
    except OSError as exc:
        found = f"{folder}: cannot be written to ({exc.strerror or exc}); devices that compile would do so in every run"
        return Finding("cache", "warning", found, f"make it writable, or set {other} to a folder that is")
    return _room("cache", folder, f"make room, or set {other} to a folder on another disk")


def _write(folder: Path) -> None:
    """What permissions promise, a file system may not keep: quotas, network shares, sandboxes. Raises `OSError`."""
    with tempfile.TemporaryFile(dir=folder, prefix="roadmask-") as file:
        file.write(bytes(1 << 16))
        file.flush()


def _room(name: str, folder: Path, advice: str) -> Finding:
    free = shutil.disk_usage(folder).free
    found = f"{folder}: writable, {megabytes(free)} free"
    if free >= _ENOUGH[name]:
        return Finding(name, "ok", found)
    return Finding(name, "problem" if free < _TOO_LITTLE else "warning", found, advice)
