"""What happens to the cameras, as server-sent events for the page and for scripts.

    event: hello      once, first: classes, how they are drawn, and each camera's state, numbers, shares of minutes
    event: camera     a camera's change of state, with its reason and the seconds until the next try
    event: numbers    once a second: each camera's state, numbers and shares now

Where files are run, cameras are the places of those at work, and `hello` and `numbers` have the whole `run`, too.

All data is JSON. A viewer that does not keep up misses old events, and delays nobody.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from itertools import count

from ..camera.status import CameraEvent
from ..system.talk import utc_text
from .feed import Bell, CameraFeed, OnView, Sample

_REMEMBERED = 256  # events, for viewers that are slow
_PATIENCE_S = 10.0


class Journal:
    """The events so far, and the numbers of the last second; any thread may write. The `bell` is rung at each news."""

    def __init__(self, view: OnView, bell: Bell) -> None:
        self._view = view
        self._bell = bell
        self._lock = threading.Lock()
        self._serials = count(1)
        self._news: deque[tuple[int, str, str]] = deque(maxlen=_REMEMBERED)  # number, event, data
        self._retries: dict[str, CameraEvent] = {}  # the last event of each camera

    def tell(self, event: CameraEvent) -> None:
        """A camera has changed its state."""
        with self._lock:
            self._retries[event.camera] = event
        self._add("camera", asdict(event) | {"time": utc_text(event.time)})

    def take_stock(self) -> None:
        """Once a second: the numbers, and what each camera shows."""
        cameras = [self._camera(feed) | {"sample": _sample(feed)} for feed in tuple(self._view.feeds)]
        self._add("numbers", {"time": utc_text(time.time()), "cameras": cameras} | self._run_now())

    async def stream(self, is_open: Callable[[], bool]) -> AsyncIterator[str]:
        """Server-sent events, until `is_open` says no."""
        serial = self._last_serial()
        yield _event("hello", json.dumps(self._hello()), serial)
        while is_open():
            news = self._after(serial)
            if not news:
                await self._bell.wait(_PATIENCE_S)
            for number, kind, text in news:
                yield _event(kind, text, number)
                serial = number

    def _add(self, kind: str, content: dict[str, object]) -> None:
        text = json.dumps(content)
        with self._lock:
            self._news.append((next(self._serials), kind, text))
        self._bell.ring()

    def _after(self, serial: int) -> list[tuple[int, str, str]]:
        with self._lock:
            return [news for news in self._news if news[0] > serial]

    def _last_serial(self) -> int:
        with self._lock:
            return self._news[-1][0] if self._news else 0

    def _hello(self) -> dict[str, object]:
        return {
            "time": utc_text(time.time()),
            "classes": [asdict(item) for item in self._view.classes],
            "style": self._view.style,
            "cameras": [
                self._camera(feed) | {"history": list(map(_in_json, feed.history()))}
                for feed in tuple(self._view.feeds)
            ],
        } | self._run_now()

    def _run_now(self) -> dict[str, object]:
        return {"run": self._view.run()} if self._view.run else {}

    def _camera(self, feed: CameraFeed) -> dict[str, object]:
        numbers = feed.status.numbers()
        with self._lock:
            event = self._retries.get(feed.name)
        retry_s = None
        if event and event.state == numbers.state and event.retry_s is not None:
            retry_s = max(event.time + event.retry_s - time.time(), 0.0)
        return asdict(numbers) | {"retry_s": retry_s}


def _sample(feed: CameraFeed) -> dict[str, object] | None:
    sample = feed.sample()
    return _in_json(sample) if sample else None


def _in_json(sample: Sample) -> dict[str, object]:
    return asdict(sample) | {"time": utc_text(sample.time)}


def _event(kind: str, text: str, serial: int) -> str:
    return f"event: {kind}\nid: {serial}\ndata: {text}\n\n"
