"""Pictures in a stream of JPEGs, as cameras send them over HTTP, whatever they write between two of them.

Boundaries that are missing or not the ones declared, and lengths that are missing or wrong, do not matter: a JPEG says
itself where it ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from ..errors import SourceError

MOST_BYTES = 1 << 25  # of a picture: 16 million pixels at two bytes
_MOST_BETWEEN = 1 << 20  # bytes between two
_PIECE = 1 << 16
_BEGIN = b"\xff\xd8\xff"
# Ends a stretch of compressed pixels: no byte of theirs (FF 00), no restart (D0 to D7), no filler (FF FF).
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_END, _BEGIN_AGAIN, _PIXELS = 0xD9, 0xD8, 0xDA
_BARE = (0x01, *range(0xD0, 0xD8))  # markers that nothing follows
_NOTES = (*range(0xE0, 0xF0), 0xFE)  # of cameras and programs: may hold a small picture


def jpegs(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """Each JPEG, as soon as it is whole; one that is cut off by the next comes as it is.

    Args:
        read: gives some of the next bytes, so many at most; none at the end.

    Raises:
        SourceError: there is none, or one that has no end.
    """
    buffer, between = bytearray(), 0
    while piece := read(_PIECE):
        buffer += piece
        while (begin := buffer.find(_BEGIN)) >= 0:
            del buffer[:begin]
            scan, between = _Scan(), 0
            while (end := scan.end(buffer)) is None:
                if len(buffer) > MOST_BYTES:
                    raise SourceError(f"a picture has no end within {MOST_BYTES >> 20} MB")
                if not (piece := read(_PIECE)):
                    return
                buffer += piece
            if end > len(_BEGIN):
                yield bytes(buffer[:end])
            del buffer[:end]
        between += max(len(buffer) - len(_BEGIN) + 1, 0)
        del buffer[: 1 - len(_BEGIN)]
        if between > _MOST_BETWEEN:
            raise SourceError("what comes is no video that can be read")


class _Scan:
    """Goes through a JPEG that is still growing."""

    def __init__(self) -> None:
        self._at = len(_BEGIN) - 1
        self._in_pixels = False

    def end(self, buffer: bytearray) -> int | None:
        """Where it ends in `buffer`, which begins with it; `None` where that is not there yet."""
        while self._at + 4 <= len(buffer) or (self._in_pixels and self._at + 2 <= len(buffer)):
            if self._in_pixels or buffer[self._at] != 0xFF:
                found = _MARKER.search(buffer, self._at)
                if not found:
                    self._at, self._in_pixels = len(buffer) - 1, True
                    return None
                self._at, self._in_pixels = found.start(), False
            marker = buffer[self._at + 1]
            if marker == _END:
                return self._at + 2
            if marker == _BEGIN_AGAIN:
                return self._at
            if marker in _BARE:
                self._at += 2
            elif marker == 0xFF:
                self._at += 1
            elif (end := _segment_end(buffer, self._at)) is None:
                return None
            else:
                self._at, self._in_pixels = end, marker == _PIXELS
        return None


def _segment_end(buffer: bytearray, at: int) -> int | None:
    """`None` where that is not known yet. It is where the next picture begins, if that is before.

    In damage what is taken for its length may reach into the next picture, or over some. Notes may hold a picture.
    """
    if at + 4 > len(buffer):
        return None
    end = at + 2 + int.from_bytes(buffer[at + 2 : at + 4])
    if buffer[at + 1] in _NOTES:
        return end
    again = buffer.find(_BEGIN, at, end + 2)
    return again if again >= 0 else end if end + 2 <= len(buffer) else None
