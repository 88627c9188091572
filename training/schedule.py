"""Learning rate and momentum as functions of the step: one cycle (Smith, 2018), with fastai's shape and defaults."""

from __future__ import annotations

import math

_START_DIVISOR = 25.0
_END_DIVISOR = 2.5e5
_MOMENTUM_HIGH, _MOMENTUM_LOW = 0.95, 0.85


def one_cycle_rate(step: int, step_count: int, *, peak: float, pct_start: float) -> float:
    """The learning rate at `step` of 0 .. `step_count` - 1.

    The first `int(step_count * pct_start)` steps rise by a cosine from peak / 25 to peak, the rest fall to
    peak / 2.5e5.
    """
    return _two_cosines(step, step_count, pct_start, peak / _START_DIVISOR, peak, peak / _END_DIVISOR)


def one_cycle_momentum(step: int, step_count: int, *, pct_start: float) -> float:
    """Adam's first beta: .95 to .85 while the rate rises, and back."""
    return _two_cosines(step, step_count, pct_start, _MOMENTUM_HIGH, _MOMENTUM_LOW, _MOMENTUM_HIGH)


def _two_cosines(step: int, step_count: int, pct_start: float, start: float, middle: float, end: float) -> float:
    rising = int(step_count * pct_start)
    if step < rising:
        return _cosine(start, middle, step / rising)
    return _cosine(middle, end, (step - rising) / max(step_count - 1 - rising, 1))


def _cosine(start: float, end: float, position: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * min(position, 1.0)))
