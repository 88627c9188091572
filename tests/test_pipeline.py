"""Stages on threads: nothing is lost, nothing hangs, and every error comes out where the results do."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.channel import Channel
from stream.pipeline import Pipeline

LIMIT_S = 5.0  # for what happens at once unless it is broken


@pytest.fixture(autouse=True)
def _no_thread_outlives_a_test() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def numbers(count: int, fail_at: int | None = None, log: list[str] | None = None) -> Iterator[int]:
    try:
        for number in range(count):
            if number == fail_at:
                raise RuntimeError("decode failed")
            yield number
    finally:
        if log is not None:
            log.append(threading.current_thread().name)


def doubled(items: Iterable[int], fail_at: int | None = None) -> Iterator[int]:
    for item in items:
        if item == fail_at:
            raise RuntimeError("model failed")
        yield item * 2


def run(
    count: int = 200,
    *,
    source_fails: int | None = None,
    model_fails: int | None = None,
    sink_fails: int | None = None,
    stop_after: int | None = None,
    depth: int = 2,
    log: list[str] | None = None,
) -> list[int]:
    taken: list[int] = []
    with Pipeline(stop_timeout_s=LIMIT_S) as pipeline:
        frames = pipeline.stage("decode", numbers(count, source_fails, log), depth=depth)
        results = pipeline.stage("infer", doubled(frames, model_fails), depth=depth)
        for result in results:
            if result == sink_fails:
                raise RuntimeError("disk full")
            taken.append(result)
            if len(taken) == stop_after:
                break
    return taken


def test_every_item_arrives_in_order() -> None:
    assert run() == [2 * number for number in range(200)]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"source_fails": 50}, "decode failed"),
        ({"source_fails": 0}, "decode failed"),
        ({"source_fails": 199}, "decode failed"),
        ({"model_fails": 50}, "model failed"),
        ({"sink_fails": 100}, "disk full"),
    ],
)
def test_a_failing_stage_raises_in_the_main_loop_and_stops_the_rest(fault: dict[str, int], message: str) -> None:
    log: list[str] = []
    with pytest.raises(RuntimeError, match=message):
        run(log=log, **fault)  # type: ignore[arg-type]
    assert log == ["decode"], "the source's finally block runs once, on its own thread"


def test_leaving_early_stops_every_thread() -> None:
    assert run(10**9, stop_after=5) == [0, 2, 4, 6, 8]


def test_frames_before_an_error_are_delivered() -> None:
    with Pipeline(stop_timeout_s=LIMIT_S) as pipeline:
        items = pipeline.stage("decode", numbers(10, fail_at=5), depth=2)
        assert [next(items) for _ in range(5)] == [0, 1, 2, 3, 4]
        with pytest.raises(RuntimeError, match="decode failed"):
            next(items)


def test_a_full_channel_makes_the_producer_wait() -> None:
    channel: Channel[int] = Channel(2)
    third_is_in = threading.Event()

    def produce() -> None:
        for number in range(3):
            channel.put(number)
        third_is_in.set()

    producer = threading.Thread(target=produce)
    producer.start()
    assert not third_is_in.wait(0.05)
    assert next(channel) == 0
    assert third_is_in.wait(LIMIT_S)
    producer.join(LIMIT_S)


def test_a_live_channel_drops_the_oldest_and_counts_them() -> None:
    channel: Channel[int] = Channel(2, drop_oldest=True)
    for number in range(5):
        channel.put(number)
    channel.close()
    assert list(channel) == [3, 4]
    assert channel.dropped == 3


def test_a_stage_that_waits_for_input_is_woken() -> None:
    silent_camera: Channel[int] = Channel(1)
    with Pipeline(stop_timeout_s=LIMIT_S) as pipeline:
        frames = pipeline.stage("decode", silent_camera, depth=1)
        pipeline.stage("infer", doubled(frames), depth=1)
        silent_camera.cancel()


class StuckDriver:
    """A stage that hears of nothing until it is released."""

    def __init__(self) -> None:
        self.is_stuck = threading.Event()
        self._release = threading.Event()
        self._thread: threading.Thread | None = None

    def __iter__(self) -> Iterator[int]:
        self._thread = threading.current_thread()
        yield 1
        self.is_stuck.set()
        self._release.wait()

    def release(self) -> None:
        self._release.set()
        assert self._thread is not None
        self._thread.join(LIMIT_S)


@pytest.fixture
def driver() -> Iterator[StuckDriver]:
    driver = StuckDriver()
    yield driver
    driver.release()


def read_stuck(driver: StuckDriver, error: Exception | None = None) -> None:
    with Pipeline(stop_timeout_s=0.05) as pipeline:
        next(pipeline.stage("decode", driver, depth=1))
        assert driver.is_stuck.wait(LIMIT_S)
        if error:
            raise error


def test_a_stage_that_will_not_stop_is_named(driver: StuckDriver) -> None:
    with pytest.raises(TimeoutError, match=r"stage 'decode' did not stop within 0\.05 s"):
        read_stuck(driver)


def test_a_stage_that_will_not_stop_does_not_hide_the_readers_error(driver: StuckDriver) -> None:
    with pytest.raises(RuntimeError, match="disk full"):
        read_stuck(driver, RuntimeError("disk full"))


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(0, 40),
    depth=st.integers(1, 5),
    source_fails=st.none() | st.integers(0, 45),
    model_fails=st.none() | st.integers(0, 45),
    stop_after=st.none() | st.integers(1, 45),
)
def test_any_mix_of_faults_ends_with_a_prefix_of_the_right_answer(
    count: int, depth: int, source_fails: int | None, model_fails: int | None, stop_after: int | None
) -> None:
    try:
        taken = run(count, source_fails=source_fails, model_fails=model_fails, stop_after=stop_after, depth=depth)
    except RuntimeError:
        taken = []
    assert taken == [2 * number for number in range(count)][: len(taken)]
    assert not {"decode", "infer"} & {thread.name for thread in threading.enumerate()}
