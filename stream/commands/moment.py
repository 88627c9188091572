"""Places in a video as people write them: 90, 1:30, 00:01:30.5."""

from __future__ import annotations

import re
from fractions import Fraction


def parse_moment(text: str) -> Fraction:
    """Seconds.

    Raises:
        ValueError: it is no such time.
    """
    if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d+)?", text.strip()):
        raise ValueError(f"{text!r} is not a time; write seconds (90) or 00:01:30")
    seconds = Fraction(0)
    for part in text.strip().split(":"):
        seconds = seconds * 60 + Fraction(part)
    return seconds
