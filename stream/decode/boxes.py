"""The boxes that an MP4 or MOV is made of (ISO/IEC 14496-12, 4.2), one after the other; nothing in them is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

INDEX = b"moov"
FIRST_KINDS = frozenset({b"ftyp", INDEX, b"mdat", b"moof", b"styp", b"sidx", b"wide", b"free", b"skip", b"pnot"})


class Box(NamedTuple):
    kind: bytes  # four letters
    begin: int  # in the file
    inside: int  # behind its head
    end: int  # as it says, also where the file ends before; before `inside`, it is no box

    @property
    def is_sound(self) -> bool:
        return self.end >= self.inside


def boxes(file: BinaryIO, begin: int, end: int) -> Iterator[Box]:
    """Those from `begin` on; the last one is the last that has a head before `end`, or that is none."""
    while begin + 8 <= end:
        file.seek(begin)
        head = file.read(16)
        if len(head) < 8:
            return
        length, is_long = int.from_bytes(head[:4]), head[:4] == b"\0\0\0\1"
        if is_long:
            length = int.from_bytes(head[8:]) if len(head) == 16 else 0
        elif not length:  # to the end
            length = end - begin
        box = Box(head[4:8], begin, begin + (16 if is_long else 8), begin + length)
        yield box
        if not box.is_sound:
            return
        begin = box.end
