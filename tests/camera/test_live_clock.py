"""The times of a camera's frames, whatever its own clock does."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from roadmask.stream.camera.live import TIME_BASE, LiveClock

FRAME = Fraction(1, 25)


def times(clock: LiveClock, frames: list[tuple[Fraction | None, float]]) -> list[float]:
    return [round(float(clock.pts(camera_time, arrived) * TIME_BASE), 3) for camera_time, arrived in frames]


def test_frames_are_as_far_apart_as_the_camera_says_however_the_network_delays_them() -> None:
    late = [0.0, 0.3, 0.31, 0.32]
    assert times(LiveClock(), [(7 + FRAME * n, 100 + late[n]) for n in range(4)]) == [0, 0.04, 0.08, 0.12]


def test_a_reconnection_leaves_the_gap_that_there_was() -> None:
    clock = LiveClock()
    assert times(clock, [(Fraction(50), 100.0), (50 + FRAME, 100.04)]) == [0, 0.04]
    clock.restart()
    assert times(clock, [(Fraction(0), 110.0), (FRAME, 110.04)]) == [10, 10.04]


def test_a_first_frame_without_a_time_does_not_shift_the_others() -> None:
    frames: list[tuple[Fraction | None, float]] = [(None, 5.0), (Fraction(1000), 5.04), (1000 + FRAME, 5.08)]
    assert times(LiveClock(), frames) == [0, 0.04, 0.08]


def test_a_clock_that_jumps_back_or_far_ahead_is_set_by_the_time_of_arrival() -> None:
    for jump in (-3600, -Fraction(1, 2), 3600):
        clock = LiveClock()
        times(clock, [(Fraction(5000), 0.0), (5000 + FRAME, 0.04)])
        assert times(clock, [(5000 + jump, 0.08), (5000 + jump + FRAME, 0.12)]) == [0.08, 0.12]


def test_of_a_clock_that_stands_still_frames_have_the_time_of_their_arrival() -> None:
    frames: list[tuple[Fraction | None, float]] = [(Fraction(7), 100 + n / 25) for n in range(50)]
    assert times(LiveClock(), frames) == [round(n / 25, 3) for n in range(50)]


def test_a_time_that_comes_twice_does_not_shift_the_frames_after_it() -> None:
    camera_times = [Fraction(7), 7 + FRAME, 7 + FRAME, 7 + 3 * FRAME]
    frames: list[tuple[Fraction | None, float]] = [(time, 100 + n / 25) for n, time in enumerate(camera_times)]
    assert times(LiveClock(), frames) == [0, 0.04, 0.08, 0.12]


def test_two_seconds_sent_at_once_keep_their_distances() -> None:
    burst = [(FRAME * n, 100.0) for n in range(50)]
    assert times(LiveClock(), burst) == [round(0.04 * n, 3) for n in range(50)]


@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.fractions(min_value=-1000, max_value=100_000, max_denominator=90_000)),
            st.floats(0, 20),
            st.booleans(),
        ),
        max_size=30,
    )
)
def test_times_always_rise(frames: list[tuple[Fraction | None, float, bool]]) -> None:
    clock, arrived, before = LiveClock(), 1000.0, -1
    for camera_time, later, is_restart in frames:
        arrived += later
        if is_restart:
            clock.restart()
        pts = clock.pts(camera_time, arrived)
        assert pts > before
        before = pts
