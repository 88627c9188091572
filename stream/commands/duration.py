"""Lengths of time as people write them: 90s, 10m, 1h30m, 48h, 7d."""

from __future__ import annotations

import re

_UNITS_S = (86400, 3600, 60, 1)
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")


def parse_duration(text: str) -> float:
    """Seconds, more than 0; a number without a unit means seconds.

    Raises:
        ValueError: it is no such length of time.
    """
    found = _DURATION.fullmatch(text.strip().lower().replace(" ", ""))
    numbers = found.groups("0") if found else ()
    seconds = sum(float(number) * unit_s for number, unit_s in zip(numbers, _UNITS_S, strict=False))
    if not seconds:
        raise ValueError(f"{text!r} is no length of time; write 90s, 10m, 1h30m, 48h or 7d")
    return seconds
