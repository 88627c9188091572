"""Pictures in files of their own as one video: `frames/%05d.png`, as FFmpeg writes such names, at 25 a second."""

from __future__ import annotations

import io
import logging
import os
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from ..errors import SourceError
from ..system.matroska import picture_stream

log = logging.getLogger(__name__)

_NUMBER = re.compile(r"%(?:0(\d+))?d")
_PICTURE_MS = 40
_CODECS = {".png": b"MPNG", ".jpg": b"MJPG", ".jpeg": b"MJPG"}


def is_sequence(path: Path) -> bool:
    """Whether a name stands for numbered files; a file of that very name is that file."""
    return len(_NUMBER.findall(path.name)) == 1 and not path.exists()


def sequence_name(path: Path) -> str:
    """What its results are called: as its folder, or as its files where that has no name."""
    return path.resolve().parent.name or _NUMBER.sub("", path.stem) or "frames"


def pictures_of(path: Path) -> list[Path]:
    """Its files in order; numbers that are missing are told.

    Raises:
        SourceError: there is none, or its suffix is none of such pictures.
    """
    if path.suffix.lower() not in _CODECS:
        raise SourceError(f"{path}: sequences are of {', '.join(_CODECS)}")
    before, width, after = _NUMBER.split(path.name)
    digits = rf"\d{{{width},}}" if width else r"\d+"
    pattern = re.compile(f"{re.escape(before)}({digits}){re.escape(after)}")
    numbered = {}
    if path.parent.is_dir():
        for name in os.listdir(path.parent):  # noqa: PTH208 - thousands of names, of which none is needed as a path
            if match := pattern.fullmatch(name):
                numbered[int(match[1])] = path.parent / name
    if not numbered:
        raise SourceError(f"{path}: no such file, and none of such a number")
    missing = max(numbered) - min(numbered) + 1 - len(numbered)
    if missing:
        log.warning("%s: of the numbers from %d to %d are %d missing", path, min(numbered), max(numbered), missing)
    return [numbered[number] for number in sorted(numbered)]


def sequence_stream(path: Path, opened: Callable[[Path], BinaryIO]) -> io.RawIOBase:
    """The files of a sequence as one Matroska, made as it is read: damage in one harms no other.

    Args:
        path: names the sequence.
        opened: opens one of its files.

    Raises:
        SourceError: as `pictures_of`.
    """
    paths = pictures_of(path)
    # As a "video for windows" track: the header that tells which codec it is (BITMAPINFOHEADER).
    header = struct.pack("<IiiHH4sIiiII", 40, 1, 1, 1, 24, _CODECS[path.suffix.lower()], 0, 0, 0, 0, 0)
    return _Stream(picture_stream("V_MS/VFW/FOURCC", header, _contents(paths, opened)))


def _contents(paths: Sequence[Path], opened: Callable[[Path], BinaryIO]) -> Iterator[tuple[int, bytes]]:
    for number, path in enumerate(paths):
        with opened(path) as file:
            yield number * _PICTURE_MS, file.read()


class _Stream(io.RawIOBase):
    """Pieces of bytes as a file that can be read once."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        if not self._rest:
            self._rest = memoryview(next(self._pieces, b""))
        count = min(len(view), len(self._rest))
        view[:count], self._rest = self._rest[:count], self._rest[count:]
        return count
