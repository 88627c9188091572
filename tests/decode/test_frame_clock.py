"""Times for frames whose own are missing, doubled or begin again."""

from __future__ import annotations

import itertools
from fractions import Fraction

import av
from hypothesis import given
from hypothesis import strategies as st

from roadmask.stream.decode.place import FrameClock


def picture_at(pts: int | None) -> av.VideoFrame:
    picture = av.VideoFrame(16, 16, "yuv420p")
    picture.pts = pts
    return picture


def clocked(*pts: int | None) -> list[int]:
    clock = FrameClock(Fraction(1, 1000), Fraction(25))
    return [clock.pts(picture_at(time)) for time in pts]


def test_a_missing_time_is_one_frame_after_the_last() -> None:
    assert clocked(None, None, 80, None) == [0, 40, 80, 120]


def test_a_doubled_time_is_moved_by_one_tick() -> None:
    assert clocked(0, 40, 40, 80) == [0, 40, 41, 80]


def test_a_clock_that_starts_again_goes_on() -> None:
    assert clocked(90000, 90040, 0, 40, 80) == [90000, 90040, 90080, 90120, 90160]


@given(st.lists(st.none() | st.integers(-(10**6), 10**6), max_size=30))
def test_times_always_rise(pts: list[int | None]) -> None:
    times = clocked(*pts)
    assert all(earlier < later for earlier, later in itertools.pairwise(times))
