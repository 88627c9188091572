"""One network for several cameras."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from roadmask.stream.network.networks import SharedNetwork
from roadmask.stream.network.providers import Shape
from tests.support.waiting import LONG_S, until


class Doubling:
    """A network whose scores are twice the first value of each picture; waits until `go`, and notes its calls."""

    def __init__(self) -> None:
        self.calls: list[NDArray[np.uint8]] = []
        self.go = threading.Event()
        self.called = threading.Event()

    def prepare(self, shape: Shape) -> None:
        self.prepared = shape

    def compiled_folder(self, shape: Shape) -> Path | None:  # noqa: ARG002 - as the protocol says
        return None

    def run(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.calls.append(pictures)
        self.called.set()
        assert self.go.wait(LONG_S)
        if pictures.max() == 255:
            raise MemoryError("too many")
        return 2 * pictures[:, :1, :1, 0].astype(np.float32)


def picture(value: int, side: int = 4) -> NDArray[np.uint8]:
    return np.full((1, side, side, 3), value, np.uint8)


def waiting(network: SharedNetwork, count: int) -> None:
    until(lambda: len(network._waiting) >= count, what="they wait")


def test_what_waits_is_run_together_up_to_the_batch_and_each_gets_its_own() -> None:
    inner = Doubling()
    with SharedNetwork(inner, workers=1, batch=3) as network, ThreadPoolExecutor(8) as pool:
        first = pool.submit(network.run, picture(1))
        assert inner.called.wait(LONG_S)
        others = []
        for number in range(2, 7):
            others.append(pool.submit(network.run, picture(number)))
            waiting(network, number - 1)
        inner.go.set()
        assert [float(future.result(LONG_S).item()) for future in (first, *others)] == [2, 4, 6, 8, 10, 12]
    assert [len(call) for call in inner.calls] == [1, 3, 2]


def test_pictures_of_another_size_wait_for_a_call_of_their_own() -> None:
    inner = Doubling()
    with SharedNetwork(inner, workers=1, batch=8) as network, ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(network.run, picture(1))]
        assert inner.called.wait(LONG_S)
        for number, side in enumerate((4, 8, 4, 8)):
            futures.append(pool.submit(network.run, picture(10 + number, side)))
            waiting(network, number + 1)
        inner.go.set()
        assert [float(future.result(LONG_S).item()) for future in futures] == [2, 20, 22, 24, 26]
    assert [call.shape[:2] for call in inner.calls] == [(1, 4), (2, 4), (2, 8)]


def test_a_failed_call_fails_those_in_it_and_no_others() -> None:
    inner = Doubling()
    inner.go.set()
    with SharedNetwork(inner, workers=1, batch=1) as network:
        with pytest.raises(MemoryError, match="too many"):
            network.run(picture(255))
        assert network.run(picture(3)).item() == 6


def test_its_threads_end_with_it() -> None:
    before = set(threading.enumerate())
    with SharedNetwork(Doubling(), workers=3, batch=1):
        assert len(set(threading.enumerate()) - before) == 3
    assert set(threading.enumerate()) <= before


def test_who_comes_when_it_has_ended_is_not_left_waiting() -> None:
    with SharedNetwork(Doubling(), workers=1, batch=1) as network:
        pass
    with pytest.raises(RuntimeError, match="the network is closed"):
        network.run(picture(1))
