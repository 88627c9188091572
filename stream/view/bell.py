"""Wakes what waits for news on the server's event loop, from any thread."""

from __future__ import annotations

import asyncio
import threading
import time


class Bell:
    """Rung by the threads that make news; heard by all who wait at that moment, on the loop.

    Who looks for news and then waits, without an `await` between, misses nothing. Where no loop runs yet, or any more,
    ringing does nothing.
    """

    def __init__(self) -> None:
        self.spent_s = 0.0  # of a processor, by the loop's thread up to the last ring
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rung = asyncio.Event()

    def hang(self) -> None:
        """On the loop that will wait."""
        with self._lock:
            self._loop = asyncio.get_running_loop()

    def unhang(self) -> None:
        with self._lock:
            self._loop = None

    def ring(self) -> None:
        with self._lock:  # so that the loop is not closed meanwhile
            if self._loop:
                self._loop.call_soon_threadsafe(self._wake)

    async def wait(self, seconds: float) -> bool:
        """Until the next ring; whether it came within `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        except TimeoutError:
            return False
        return True

    def _wake(self) -> None:
        self.spent_s = time.thread_time()
        self._rung.set()
        self._rung = asyncio.Event()
