"""A disk whose power may be cut: it has what was synced, and nothing else is sure."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


class Disk:
    """Remembers what is synced, by inode, as names come later. Knows open files by Linux' /proc."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._content: dict[int, bytes] = {}
        self._names: dict[int, set[str]] = {}  # of folders
        monkeypatch.setattr(os, "fsync", self._fsync)

    def _fsync(self, descriptor: int) -> None:
        path, inode = Path(f"/proc/self/fd/{descriptor}"), os.fstat(descriptor).st_ino
        if path.is_dir():
            self._names[inode] = {item.name for item in path.iterdir()}
        else:
            self._content[inode] = path.read_bytes()

    def has(self, path: Path) -> bool:
        """Whether all that is in the file now would still be there."""
        return self._content.get(path.stat().st_ino) == path.read_bytes()

    def has_name(self, path: Path) -> bool:
        return path.name in self._names.get(path.parent.stat().st_ino, set())
