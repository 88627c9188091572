"""How a camera is doing, at any moment: its state, with the reason, and its counts; for logs, the page and programs."""

from __future__ import annotations

import logging
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ..system.talk import utc_text

log = logging.getLogger(__name__)

_RATE_S = 5.0  # that the rate and the latency are taken over


class CameraState(StrEnum):
    """Where a camera stands. Any may follow any but `ENDED`, which is the last."""

    CONNECTING = "connecting"  # a connection is being made, or gives no picture yet, for the reason told
    RUNNING = "running"  # frames arrive
    STALLED = "stalled"  # connected, and no frame for longer than the time-out; the connection is given up
    RECONNECTING = "reconnecting"  # lost; waiting until the next try
    ENDED = "ended"  # asked to stop, at the end of a stream that has one, or given up


@dataclass(frozen=True, slots=True)
class CameraEvent:
    """A camera's change of state. No field holds a user name or a password."""

    time: float  # seconds since the epoch
    camera: str  # its name
    state: CameraState
    reason: str  # in words: "refused", "no frame for 10 s"; empty where there is nothing to say
    retry_s: float | None = None  # seconds until the next try, where there is one

    def __str__(self) -> str:
        retry = "" if self.retry_s is None else f"; next try in {self.retry_s:.1f} s"
        return f"{self.camera}: {self.state}" + (f" ({self.reason})" if self.reason else "") + retry


@dataclass(frozen=True, slots=True)
class CameraNumbers:
    """A camera at one moment. Counts are since the start; `received` = `written` + `dropped` + those under way."""

    camera: str  # its name
    state: CameraState
    reason: str  # of the state
    since: str  # when the state began, UTC
    received: int  # frames decoded
    written: int  # frames segmented and given to every output
    dropped: int  # frames discarded to keep up
    undecodable: int  # damaged pictures that gave no frame
    damaged: int  # frames, of those received, that the decoder calls damaged
    reconnects: int  # times that frames came again after the camera was lost
    fps: float  # written, over the last seconds, or from the last frame to the one before
    received_fps: float  # likewise, of those received: the camera's own rate, where late ones are dropped
    latency_s: float | None  # from a frame's arrival until it was written, median of the last seconds
    unwritten_s: float  # since a frame came that should be written, and none was


class CameraStatus:
    """One camera's state and counts; any thread may write and read.

    Args:
        name: of the camera, without user name and password.
        on_event: told each change of state, on the thread that makes it.
    """

    def __init__(self, name: str, on_event: Callable[[CameraEvent], None] | None = None) -> None:
        self.name = name
        self._told: set[str] = set()
        self._on_event = on_event
        self._lock = threading.Lock()
        self._event = CameraEvent(time.time(), name, CameraState.CONNECTING, "")
        self._received = self._written = self._dropped = self._undecodable = self._damaged = self._reconnects = 0
        self._recent: deque[tuple[float, float | None]] = deque()  # when a frame was written, and its latency
        self._arrivals: deque[float] = deque()  # when a frame was received
        self._under_way = 0  # frames that have come from this connection, and are neither written nor dropped
        self._unwritten_since: float | None = None

    def change(self, state: CameraState, reason: str = "", *, retry_s: float | None = None) -> None:
        """The camera is in another state from now on."""
        event = CameraEvent(time.time(), self.name, state, reason, retry_s)
        with self._lock:
            self._event = event
            if state is not CameraState.RUNNING:
                self._under_way, self._unwritten_since = 0, None
        if self._on_event:
            self._on_event(event)

    def warn_once(self, words: str) -> None:
        """What each connection finds anew is told with the first."""
        if words not in self._told:
            self._told.add(words)
            log.warning("%s: %s", self.name, words)

    @property
    def state(self) -> CameraState:
        return self._event.state

    @property
    def reason(self) -> str:
        return self._event.reason

    def count(
        self, *, received: int = 0, dropped: int = 0, undecodable: int = 0, damaged: int = 0, reconnects: int = 0
    ) -> None:
        """Add to the counts."""
        with self._lock:
            self._under_way = max(self._under_way + received - dropped, 0)
            if received:
                now = time.monotonic()
                self._arrivals.append(now)
                self._unwritten_since = self._unwritten_since or now
                self._forget(now)
            self._received += received
            self._dropped += dropped
            self._undecodable += undecodable
            self._damaged += damaged
            self._reconnects += reconnects

    def count_written(self, arrived: float | None) -> None:
        """A frame has been given to every output; `arrived` is when it came, on `time.monotonic`'s clock."""
        now = time.monotonic()
        with self._lock:
            self._written += 1
            self._under_way = max(self._under_way - 1, 0)
            self._unwritten_since = now if self._under_way else None
            self._recent.append((now, None if arrived is None else now - arrived))
            self._forget(now)

    def numbers(self) -> CameraNumbers:
        """All of it, as of now."""
        now = time.monotonic()
        with self._lock:
            self._forget(now)
            latencies = [latency for _, latency in self._recent if latency is not None]
            return CameraNumbers(
                camera=self.name,
                state=self._event.state,
                reason=self._event.reason,
                since=utc_text(self._event.time),
                received=self._received,
                written=self._written,
                dropped=self._dropped,
                undecodable=self._undecodable,
                damaged=self._damaged,
                reconnects=self._reconnects,
                fps=_rate([written for written, _ in self._recent], now),
                received_fps=_rate(self._arrivals, now),
                latency_s=statistics.median(latencies) if latencies else None,
                unwritten_s=0.0 if self._unwritten_since is None else now - self._unwritten_since,
            )

    def _forget(self, now: float) -> None:
        """Two are kept of a camera that runs, however slowly."""
        kept = 2 if self._event.state is CameraState.RUNNING else 0
        while len(self._recent) > kept and self._recent[0][0] < now - _RATE_S:
            self._recent.popleft()
        while len(self._arrivals) > kept and self._arrivals[0] < now - _RATE_S:
            self._arrivals.popleft()


def _rate(times: Sequence[float], now: float) -> float:
    """Frames a second over the stretch that is remembered: it falls when the next one is late."""
    if len(times) < 2 or times[-1] <= times[0]:
        return 0.0
    return min((len(times) - 1) / (times[-1] - times[0]), len(times) / (now - times[0]))


def rate_text(fps: float) -> str:
    """Frames a second for people, also where there are few."""
    return f"{fps:.1f}" if fps >= 1 or not fps else f"{fps:.2g}"
