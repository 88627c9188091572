"""One network for several sources: what waits is run in one call where the device gains by that, each in its turn."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from .networks import Network
from .provider_options import Shape


class _Request(NamedTuple):
    pictures: NDArray[np.uint8]  # (n, h, w, 3)
    scores: Future[NDArray[np.float32]]


class SharedNetwork:
    """A `Network` that any number of threads call at once, first come, first served.

    A camera that waits for one call at a time gets no more calls than another that does.

    Args:
        network: does the work.
        workers: calls of it at a time.
        batch: pictures a call, at most; those of one size go together, but none waits for more to come. `None` leaves
            calls as they are asked for.
    """

    def __init__(self, network: Network, *, workers: int, batch: int | None) -> None:
        self._network = network
        self._batch = batch
        self._waiting: deque[_Request] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"network {number + 1}", daemon=True) for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def prepare(self, shape: Shape) -> None:
        count, height, width = shape
        self._network.prepare((self._batch or count, height, width))

    def compiled_folder(self, shape: Shape) -> Path | None:
        return self._network.compiled_folder(shape)

    def run(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Wait for the scores; raises what the network raises."""
        request = _Request(pictures, Future())
        with self._changed:
            if self._closed:  # the threads that call outlive it where a run is ended at once
                raise RuntimeError("the network is closed")
            self._waiting.append(request)
            self._changed.notify()
        return request.scores.result()

    def _work(self) -> None:
        while requests := self._take():
            try:
                pictures = [request.pictures for request in requests]
                scores = self._network.run(pictures[0] if len(pictures) == 1 else np.concatenate(pictures))
            except BaseException as exc:  # noqa: BLE001 - carried to the threads that wait for it
                for request in requests:
                    request.scores.set_exception(exc)
                continue
            ends = np.cumsum([len(request.pictures) for request in requests])
            for request, part in zip(requests, np.split(scores, ends[:-1]), strict=True):
                request.scores.set_result(part)

    def _take(self) -> list[_Request]:
        """The oldest request, and with it others of its size that wait; none when all is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return []
            first = self._waiting.popleft()
            if self._batch is None:
                return [first]
            taken, count = [first], len(first.pictures)
            for request in list(self._waiting):
                if (
                    request.pictures.shape[1:] == first.pictures.shape[1:]
                    and count + len(request.pictures) <= self._batch
                ):
                    taken.append(request)
                    count += len(request.pictures)
            left = [request for request in self._waiting if not any(request is other for other in taken)]
            self._waiting = deque(left)
            return taken

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
