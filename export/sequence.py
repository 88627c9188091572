"""Which labelled pictures follow each other as frames of one video, told by their names."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..training.layouts import Example

_NUMBER = re.compile(r"[A-Za-z]*(\d+)")  # CamVid has 0016E5_07959, 0006R0_f00930 and 0001TP_006690
# CamVid's labels at 15 Hz name every second frame of a 30 Hz video; its other ones are 30 frames, a second, apart.
_MAX_STEP = 3


def frame_number(example: Example) -> int | None:
    """The number in `DRIVE_number`; None where the name is not of that kind."""
    drive, underscore, frame = example.name.rpartition("_")
    found = _NUMBER.fullmatch(frame)
    return int(found[1]) if drive and underscore and found else None


def in_order(examples: Iterable[Example]) -> list[Example]:
    """Drive by drive in the order of the numbers, whatever the order of the files."""
    return sorted(examples, key=lambda example: (example.drive, frame_number(example) or 0, example.name))


def follows(previous: Example | None, example: Example) -> bool:
    """Whether `example` is the next frame, so near that what moved between them can be tracked."""
    if previous is None or previous.drive != example.drive:
        return False
    before, now = frame_number(previous), frame_number(example)
    return before is not None and now is not None and 0 < now - before <= _MAX_STEP
