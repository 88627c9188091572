"""Files that survive a power cut: on disk before anything relies on them."""

from __future__ import annotations

import os
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """`path` has either the content it had or this one, whenever the power goes."""
    unnamed = path.with_name(f"{path.name}.tmp")
    with unnamed.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unnamed.replace(path)
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """What any handle has written to `path` is on disk; its own buffers must be flushed before."""
    descriptor = os.open(path, os.O_RDWR)  # Windows syncs only what is open for writing
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """The names in a folder are on disk; Windows has no call for that."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
