"""One cycle, against values worked out by hand: lr/25 up to lr, down to lr/2.5e5, each half a cosine."""

from __future__ import annotations

import math

import pytest

from roadmask.training.schedule import one_cycle_momentum, one_cycle_rate


def rate(step: int, *, step_count: int = 101, pct_start: float = 0.3) -> float:
    return one_cycle_rate(step, step_count, peak=1.0, pct_start=pct_start)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 1 / 25),
        (15, (1 / 25 + 1) / 2),  # half way up: the mean of both ends
        (10, 1 + (1 / 25 - 1) / 2 * (1 + math.cos(math.pi / 3))),
        (30, 1.0),  # int(101 * 0.3) steps rise
        (65, (1 + 1 / 2.5e5) / 2),  # half way down
        (100, 1 / 2.5e5),
    ],
)
def test_the_rate_has_fastais_shape(step: int, expected: float) -> None:
    assert rate(step) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("step", "expected"), [(0, 0.95), (15, 0.90), (30, 0.85), (65, 0.90), (100, 0.95)])
def test_momentum_falls_while_the_rate_rises(step: int, expected: float) -> None:
    assert one_cycle_momentum(step, 101, pct_start=0.3) == pytest.approx(expected, rel=1e-12)


def test_the_rate_scales_with_its_peak() -> None:
    assert one_cycle_rate(7, 101, peak=3e-3, pct_start=0.3) == pytest.approx(3e-3 * rate(7))


@pytest.mark.parametrize("pct_start", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("step_count", [1, 2, 3, 10])
def test_a_run_of_any_length_has_a_rate_for_every_step(step_count: int, pct_start: float) -> None:
    rates = [rate(step, step_count=step_count, pct_start=pct_start) for step in range(step_count)]
    assert all(0 < value <= 1 for value in rates)
