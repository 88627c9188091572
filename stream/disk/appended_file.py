"""A file that grows by whole pieces, so that whoever reads it after a crash finds at most the last one torn."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from .durable import sync_folder


class AppendedFile:
    """Nothing waits in memory: what was appended is with the system, and outlives this process.

    A piece that cannot be written in full (the disk is full) leaves no trace.

    Args:
        path: of the file.
        keep: go on behind its first bytes, so many; 0 to begin it anew.
    """

    def __init__(self, path: Path, *, keep: int = 0) -> None:
        self.path = path
        self.size = keep
        self._file = path.open("r+b" if keep else "wb", buffering=0)
        self._file.truncate(keep)
        self._is_named = False  # on disk

    def append(self, piece: bytes) -> None:
        try:
            self._write(self.size, piece)
        except OSError:
            with suppress(OSError):
                self._file.truncate(self.size)
            raise
        self.size += len(piece)

    def patch(self, offset: int, piece: bytes) -> None:
        """Write over what is there."""
        self._write(offset, piece)

    def _write(self, offset: int, piece: bytes) -> None:
        self._file.seek(offset)
        rest = memoryview(piece)
        while rest:
            rest = rest[self._file.write(rest) :]

    def sync(self) -> None:
        os.fsync(self._file.fileno())
        if not self._is_named:
            sync_folder(self.path.parent)
            self._is_named = True

    def close(self) -> None:
        self._file.close()
