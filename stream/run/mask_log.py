"""The last frames of a run with their masks: a run that goes on draws them again, without a network.

A file holds the frames of a piece. A record is a fixed head, then the mask as runs of equal pixels, row by row: where
each begins (uint32, the first at 0), then its class (uint8). That takes a tenth of the time of a PNG.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..decode.place import look_of
from ..frames import PIECE, Position, SegmentedFrame

# index, pts, look, height, width, number of runs, CRC-32 of what follows
_HEAD = struct.Struct("<qqIIIII")
# Files kept: a container may hold back up to a second of the pictures that it was given, and an encoder some more.
_PIECES_KEPT = 3


@dataclass(frozen=True, slots=True, eq=False)
class LoggedFrame:
    """A frame that has been written."""

    index: int
    pts: int
    look: int  # of its picture: see `look_of`
    mask: NDArray[np.uint8]  # (height, width)


class MaskLog:
    """Appends to the log in `folder`.

    Args:
        folder: of a run's progress.
        position: at which the run goes on; what the log has from there on is cut off.
    """

    def __init__(self, folder: Path, position: Position) -> None:
        self.position = position  # of the next frame
        self._folder = folder
        self._file: BinaryIO | None = None
        for path in folder.glob("*.masks"):
            if _first(path) >= position:
                path.unlink()
        if position % PIECE:
            self._file = _cut(_path(folder, position), position % PIECE)

    def add(self, result: SegmentedFrame) -> LoggedFrame:
        if self.position % PIECE == 0:
            self._begin()
        assert self._file is not None
        frame = result.frame
        look = look_of(frame.picture) if frame.look is None else frame.look
        logged = LoggedFrame(frame.index, frame.pts, look, result.mask)
        self._file.write(_record(logged))
        self.position += 1
        return logged

    def _begin(self) -> None:
        if self._file is not None:
            self.sync()
            self._file.close()
        self._file = _path(self._folder, self.position).open("wb")

    def sync(self) -> None:
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())

    def forget_old(self) -> None:
        """To be called when what is in the log is on disk, and the outputs are too."""
        oldest = (self.position // PIECE - _PIECES_KEPT + 1) * PIECE
        for path in self._folder.glob("*.masks"):
            if _first(path) < oldest:
                path.unlink()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def log_begin(folder: Path) -> Position:
    """Of the first frame that the log still has; 0 where it has none."""
    return min(map(_first, folder.glob("*.masks")), default=0)


def read_log(folder: Path, begin: Position, end: Position) -> Iterator[LoggedFrame]:
    """The frames from `begin` up to `end`, without it.

    Raises:
        ValueError: one is missing or damaged.
    """
    position = begin // PIECE * PIECE
    while position < end:
        piece_end = min(position + PIECE, end)
        for logged in islice(_records(_path(folder, position)), piece_end - position):
            if position >= begin:
                yield logged
            position += 1
        if position < piece_end:
            raise ValueError(f"its record of frame {position} is damaged")


def _path(folder: Path, position: Position) -> Path:
    return folder / f"{position // PIECE * PIECE:08d}.masks"


def _first(path: Path) -> Position:
    return int(path.stem)


def _record(logged: LoggedFrame) -> bytes:
    flat = np.ascontiguousarray(logged.mask).reshape(-1)
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1]).astype(np.uint32)
    runs = starts.tobytes() + flat[starts].tobytes()
    height, width = logged.mask.shape
    return _HEAD.pack(logged.index, logged.pts, logged.look, height, width, len(starts), zlib.crc32(runs)) + runs


def _records(path: Path) -> Iterator[LoggedFrame]:
    """The whole ones; a killed process may have left part of another."""
    if not path.exists():
        raise ValueError(f"{path.name} is missing")
    with path.open("rb") as file:
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            index, pts, look, height, width, count, crc32 = _HEAD.unpack(head)
            runs = file.read(count * 5)
            if len(runs) < count * 5 or zlib.crc32(runs) != crc32:
                return
            starts = np.frombuffer(runs, np.uint32, count)
            classes = np.frombuffer(runs, np.uint8, count, offset=count * 4)
            lengths = np.append(starts[1:], np.uint32(height * width)) - starts
            yield LoggedFrame(index, pts, look, np.repeat(classes, lengths).reshape(height, width))


def _cut(path: Path, records: int) -> BinaryIO:
    """The file, open behind its first `records` records."""
    file = path.open("r+b")
    for _ in range(records):
        *_, count, _ = _HEAD.unpack(file.read(_HEAD.size))
        file.seek(count * 5, os.SEEK_CUR)
    file.truncate()
    return file
