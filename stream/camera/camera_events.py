"""What happens to a camera: the states it passes through, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class CameraState(StrEnum):
    """Where a camera stands. Any may follow any but `ENDED`, which is the last."""

    CONNECTING = "connecting"  # a connection is being made
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
