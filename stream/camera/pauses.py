"""How long to wait before the next try at something that was lost."""

from __future__ import annotations

import random

_FIRST_S, _GROWTH, _LONGEST_S = 0.5, 1.2, 30.0
_REFUSED_S = 30.0  # cameras and servers lock users out after a few wrong passwords
_JITTER = 0.2  # what was lost together shall not all come back at once


def pause_s(tries: int, *, refused: bool = False) -> float:
    """Seconds: longer with each of the `tries` that failed in a row, and never quite the same.

    Args:
        tries: 1 for the first.
        refused: asking again soon would do harm.
    """
    pause = _REFUSED_S if refused else min(_FIRST_S * _GROWTH ** (tries - 1), _LONGEST_S)
    return pause * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - nothing secret
