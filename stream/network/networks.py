"""A model on a device: one session for pictures of any size, or one for each size where a device compiles for it.

For several sources it is shared: what waits is run in one call where the device gains by that, each in its turn.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ..spec import ModelSpec
from .providers import Placement, Shape, Work, compiled_folder
from .sessions import Session, run_session

_log = logging.getLogger(__name__)

_ANY: Shape = (1, 0, 0)  # what a session is called that takes single pictures of any size
_SESSIONS_KEPT = 4  # sizes of pictures and batches in use at once: two, as a rule, and a folder of mixed videos


class Network(Protocol):
    """A model on a device."""

    def prepare(self, shape: Shape) -> None:
        """Do now what the first call for (pictures, height, width) would have to."""

    def compiled_folder(self, shape: Shape) -> Path | None:
        """Where what is compiled for it is kept; `None` where nothing is."""

    def run(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Scores (n, classes, h', w') of pictures (n, h, w, 3). Any thread may call."""


class FreeSize:
    """A network whose one session takes pictures of any number and size."""

    def __init__(self, session: Session, placement: Placement, spec: ModelSpec) -> None:
        self._session = session
        self._placement = placement
        self._spec = spec
        self._known: set[Shape] = set()  # that have been run

    def prepare(self, shape: Shape) -> None:
        pass

    def compiled_folder(self, shape: Shape) -> None:  # noqa: ARG002 - one folder for all would be as for none
        return None

    def run(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        count, height, width, _ = pictures.shape
        shape = (count, height, width)
        scores = run_session(self._session, self._spec, pictures, self._placement, first=shape not in self._known)
        self._known.add(shape)
        return scores


class FixedSize:
    """A network with a session for each number and size of pictures in use, opened when it is needed.

    Fewer pictures than a session is for are filled up with black ones: the last batch of a video opens none of its own.
    On a CPU only what was prepared has a session of its own, a video's; pictures, which may be each of another size,
    share one.
    """

    def __init__(self, placement: Placement, spec: ModelSpec, opened: Callable[[Work], Session], work: Work) -> None:
        """`opened` makes a session for work such as `work`, which is of no shape yet."""
        self._placement = placement
        self._spec = spec
        self._opened = opened
        self._work = work
        self._sessions: OrderedDict[Shape, Session] = OrderedDict()
        self._known: set[Shape] = set()  # that have been run
        self._opening = threading.Lock()
        self._calling: AbstractContextManager[object] = (
            threading.Lock() if placement.device.one_call_at_a_time else nullcontext()
        )

    def prepare(self, shape: Shape) -> None:
        self._session(shape)

    def compiled_folder(self, shape: Shape) -> Path | None:
        keeps = self._placement.device.keeps_compiled
        return compiled_folder(self._placement, replace(self._work, shape=shape)) if keeps else None

    def run(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        count, height, width, _ = pictures.shape
        # Accelerators want to know the size.
        shape, session = self._session((count, height, width), or_any=self._placement.is_cpu)
        if shape == _ANY:
            shape = (count, height, width)
        batch, _, _ = shape
        if batch > count:
            pictures = np.concatenate([pictures, np.zeros((batch - count, *pictures.shape[1:]), np.uint8)])
        with self._calling:
            scores = run_session(session, self._spec, pictures, self._placement, first=shape not in self._known)
        self._known.add(shape)
        return scores[:count]

    def _session(self, shape: Shape, *, or_any: bool = False) -> tuple[Shape, Session]:
        """The session for the fewest pictures that are enough, and its shape; where there is none, a new one."""
        with self._opening:
            enough = [other for other in self._sessions if other[1:] == shape[1:] and other[0] >= shape[0]]
            chosen = min(enough, default=_ANY if or_any else shape)
            if chosen not in self._sessions:
                self._sessions[chosen] = self._new(chosen)
            self._sessions.move_to_end(chosen)
            if len(self._sessions) > _SESSIONS_KEPT:
                self._sessions.popitem(last=False)
            return chosen, self._sessions[chosen]

    def _new(self, shape: Shape) -> Session:
        folder = self.compiled_folder(shape)
        building = self._placement.device.building
        if building and folder and not any(folder.glob("*")):
            _log.warning(
                "%s for %dx%d, batch %d: minutes, once; 'roadmask warmup --device %s' does it beforehand",
                *(building, shape[2], shape[1], shape[0], self._placement),
            )
        return self._opened(replace(self._work, shape=None if shape == _ANY else shape))


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

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
