"""Stages on threads: nothing is lost, nothing hangs, and every error comes out where the results do."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadmask.stream.pipeline import Channel, Pipeline
from tests.support import own_process
from tests.support.clips import cfr, make_clip
from tests.support.waiting import LONG_S


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
    taken: list[int] | None = None,
    source_fails: int | None = None,
    model_fails: int | None = None,
    sink_fails: int | None = None,
    stop_after: int | None = None,
    depth: int = 2,
    log: list[str] | None = None,
) -> list[int]:
    taken = [] if taken is None else taken
    with Pipeline(stop_timeout_s=LONG_S) as pipeline:
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
    with Pipeline(stop_timeout_s=LONG_S) as pipeline:
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
    assert third_is_in.wait(LONG_S)
    producer.join(LONG_S)


def test_a_live_channel_drops_the_oldest_and_counts_them() -> None:
    channel: Channel[int] = Channel(2, drop_oldest=True)
    for number in range(5):
        channel.put(number)
    channel.close()
    assert list(channel) == [3, 4]
    assert channel.dropped == 3


def test_a_stage_that_waits_for_input_is_woken() -> None:
    silent_camera: Channel[int] = Channel(1)
    ended = threading.Event()

    def decoded() -> Iterator[int]:
        try:
            yield from silent_camera
        finally:
            ended.set()

    with Pipeline(stop_timeout_s=LONG_S) as pipeline:
        frames = pipeline.stage("decode", decoded(), depth=1)
        pipeline.stage("infer", doubled(frames), depth=1)
        silent_camera.cancel()
    assert ended.is_set()


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
        self._thread.join(LONG_S)


@pytest.fixture
def driver() -> Iterator[StuckDriver]:
    driver = StuckDriver()
    yield driver
    driver.release()


def read_stuck(driver: StuckDriver, error: Exception | None = None) -> None:
    with Pipeline(stop_timeout_s=0.05) as pipeline:
        next(pipeline.stage("decode", driver, depth=1))
        assert driver.is_stuck.wait(LONG_S)
        if error:
            raise error


def test_a_stage_that_will_not_stop_is_named(driver: StuckDriver) -> None:
    with pytest.raises(TimeoutError, match=r"stage 'decode' did not stop within 0\.05 s"):
        read_stuck(driver)


def test_a_stage_that_will_not_stop_does_not_hide_the_readers_error(driver: StuckDriver) -> None:
    with pytest.raises(RuntimeError, match="disk full"):
        read_stuck(driver, RuntimeError("disk full"))


@settings(max_examples=40)
@given(
    count=st.integers(0, 40),
    depth=st.integers(1, 5),
    source_fails=st.none() | st.integers(0, 45),
    model_fails=st.none() | st.integers(0, 45),
    stop_after=st.none() | st.integers(1, 45),
)
def test_of_any_mix_of_faults_the_first_is_told_and_all_before_it_is_delivered(
    count: int, depth: int, source_fails: int | None, model_fails: int | None, stop_after: int | None
) -> None:
    faults = [number for number in (source_fails, model_fails) if number is not None and number < count]
    ends = min([count, *faults])
    is_told = ends < min(count, stop_after or count)
    taken: list[int] = []
    with pytest.raises(RuntimeError, match="failed") if is_told else nullcontext():
        run(count, taken=taken, source_fails=source_fails, model_fails=model_fails, stop_after=stop_after, depth=depth)
    assert taken == [2 * number for number in range(min(ends, stop_after or count))]
    assert not {"decode", "infer"} & {thread.name for thread in threading.enumerate()}


def test_several_workers_work_at_once_and_keep_the_order() -> None:
    second_done = threading.Event()

    def function(number: int) -> int:
        if number == 0:
            assert second_done.wait(LONG_S), "the second item waits for the first"
        if number == 1:
            second_done.set()
        return 2 * number

    with Pipeline(stop_timeout_s=LONG_S) as pipeline:
        results = pipeline.parallel("infer", function, numbers(100), workers=2, depth=1)
        assert list(results) == [2 * number for number in range(100)]


@given(count=st.integers(0, 30), workers=st.integers(1, 5), depth=st.integers(1, 4))
@settings(max_examples=50)
def test_parallel_results_are_the_same_for_any_workers_and_depth(count: int, workers: int, depth: int) -> None:
    with Pipeline(stop_timeout_s=LONG_S) as pipeline:
        results = pipeline.parallel("infer", lambda number: number + 1, numbers(count), workers=workers, depth=depth)
        assert list(results) == list(range(1, count + 1))


def failing_at(bad: int) -> Callable[[int], int]:
    def function(number: int) -> int:
        if number == bad:
            raise RuntimeError("model failed")
        return number

    return function


def test_a_worker_s_error_comes_out_in_its_item_s_place() -> None:
    with Pipeline(stop_timeout_s=LONG_S) as pipeline:
        results = pipeline.parallel("infer", failing_at(5), numbers(50), workers=3, depth=2)
        assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
        with pytest.raises(RuntimeError, match="model failed"):
            next(results)


def test_an_error_of_the_items_comes_out_after_the_results_before_it() -> None:
    log: list[str] = []
    with Pipeline(stop_timeout_s=LONG_S) as pipeline:
        results = pipeline.parallel("infer", failing_at(-1), numbers(50, 5, log), workers=3, depth=2)
        assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
        with pytest.raises(RuntimeError, match="decode failed"):
            next(results)
    assert len(log) == 1, "the items are closed once"


def test_workers_wait_while_too_many_results_do() -> None:
    taken: list[int] = []
    begun = threading.Semaphore(0)

    def function(number: int) -> int:
        taken.append(number)
        begun.release()
        return number

    with Pipeline(stop_timeout_s=LONG_S) as pipeline:
        results = pipeline.parallel("infer", function, numbers(10**9), workers=2, depth=3)
        for _ in range(5):
            assert begun.acquire(timeout=LONG_S)
        assert not begun.acquire(timeout=0.05), f"{taken} were taken though nobody reads"
        assert next(results) == 0
        assert begun.acquire(timeout=LONG_S)


def test_the_time_of_each_stage_on_a_core_is_told() -> None:
    def busy(number: int) -> int:
        return sum(range(20_000 * (number + 1)))

    with Pipeline(stop_timeout_s=LONG_S) as pipeline:
        frames = pipeline.stage("decode", numbers(20), depth=2)
        assert len(list(pipeline.parallel("infer", busy, frames, workers=2, depth=2))) == 20
    assert set(pipeline.processor_s) == {"decode", "infer"}
    assert pipeline.processor_s["infer"] > pipeline.processor_s["decode"] >= 0


def test_a_stage_that_is_made_by_another_while_the_pipeline_is_left_is_not_begun() -> None:
    asked, begun = threading.Event(), []

    def outer() -> Iterator[int]:
        yield 0
        assert asked.wait(LONG_S)
        yield from pipeline.stage("inner", (begun.append(number) or number for number in range(3)), depth=1)

    with Pipeline() as pipeline:
        first = next(pipeline.stage("outer", outer(), depth=5))
        threading.Timer(0.1, asked.set).start()  # the pipeline is left before, and waits for the stage to end
    assert (first, begun) == (0, [])


def test_a_program_that_ends_in_the_middle_of_a_stream_ends_well(tmp_path: Path, model: Path) -> None:
    make_clip(tmp_path / "drive.mp4", cfr(60))
    script = f"""
        import atexit, threading
        atexit.register(lambda: print("alive", sum(thread.is_alive() for thread in stages)))  # the last that is called
        import roadmask
        left_open = roadmask.load({str(model)!r}).stream({str(tmp_path / "drive.mp4")!r})
        print(next(left_open).index)
        stages = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
        assert stages
    """
    done = subprocess.run(
        own_process.python(script), capture_output=True, text=True, timeout=own_process.LIMIT_S, check=False
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "0\nalive 0\n")


def test_a_command_that_is_ended_at_once_has_its_exit_code_though_threads_are_inside_libraries() -> None:
    script = """
        import atexit, threading
        import cv2
        import numpy as np
        from roadmask.stream.system.stop import leave
        picture, begun = np.zeros((1500, 1500, 3), np.uint8), threading.Barrier(3)
        def work():
            begun.wait()
            while True:
                cv2.GaussianBlur(picture, (31, 31), 5)
        for _ in range(2):
            threading.Thread(target=work, daemon=True).start()
        begun.wait()
        atexit.register(print, "tidied up")
        leave(130)
    """
    done = subprocess.run(
        own_process.python(script), capture_output=True, text=True, timeout=own_process.LIMIT_S, check=False
    )
    assert (done.returncode, done.stderr, done.stdout) == (130, "", "tidied up\n")
