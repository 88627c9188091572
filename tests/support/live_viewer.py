"""Somebody who watches a camera through a `LiveSource`, and notes what comes and when."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

from roadmask.stream.camera.camera import Camera, CameraSettings, parse_camera
from roadmask.stream.camera.live import LiveSource
from roadmask.stream.camera.status import CameraEvent, CameraState, CameraStatus
from roadmask.stream.decode.place import Selection
from roadmask.stream.errors import RoadmaskError, Stopped
from roadmask.stream.frames import VideoInfo
from tests.support.numbered_camera import Film, read_number
from tests.support.waiting import LONG_S, until

RATE = 50
FILM = Film(rate=RATE, gop=10)
TIMEOUT_S = 0.8
SETTINGS = CameraSettings(timeout_s=5)  # so that no busy machine looks like a camera that is lost
WATCHFUL = CameraSettings(timeout_s=TIMEOUT_S)
EVERY_FRAME = replace(SETTINGS, policy="every-frame")
NOTICED_S = STOPPED_S = 15.0  # on a busy machine
PATIENT = CameraSettings(timeout_s=2 * LONG_S)  # who waits for it stops too late


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame, without its pixels."""

    number: int | None  # `None` where damage hides it
    pts: int
    size: tuple[int, int]  # width, height
    info: VideoInfo
    arrived: float
    received: int  # frames that had come from the camera when it was taken, itself among them


class LiveViewer:
    """Watches from entering to leaving, on a thread of its own.

    Args:
        url: of the camera, or the camera itself.
        settings: how it is watched.
        takes_s: what the viewer does with each frame, before the next.
    """

    def __init__(self, url: str | Path | Camera, settings: CameraSettings = SETTINGS, *, takes_s: float = 0.0) -> None:
        self.camera = (
            url if isinstance(url, Camera) else parse_camera(f"gate={url}" if "://" in str(url) else str(url), settings)
        )
        self.seen: list[Seen] = []
        self.events: list[tuple[float, CameraEvent]] = []  # and when they came, on `time.monotonic`'s clock
        self.error: BaseException | None = None
        self.failure: str | None = None
        self.stop = threading.Event()
        self.status = CameraStatus(self.camera.name, lambda event: self.events.append((time.monotonic(), event)))
        self._takes_s = takes_s
        self._thread = threading.Thread(target=self._watch, name="viewer")

    @property
    def states(self) -> list[CameraState]:
        return [event.state for _, event in self.events]

    @property
    def reasons(self) -> list[str]:
        """Of its being lost, each time."""
        return [event.reason for _, event in self.events if event.state is CameraState.RECONNECTING]

    @property
    def numbers(self) -> list[int]:
        """Of the frames that came whole."""
        return [seen.number for seen in self.seen if seen.number is not None]

    @property
    def steps(self) -> set[int]:
        """From each number to the next."""
        return {after - before for before, after in pairwise(self.numbers)}

    @property
    def rises(self) -> bool:
        """Whether each frame's time is after that of the one before."""
        return all(after.pts > before.pts for before, after in pairwise(self.seen))

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def when(self, state: CameraState, *, since: float = 0.0) -> float | None:
        """When it was first so after `since`."""
        return next((at for at, event in self.events if event.state is state and at > since), None)

    def wait(self, frames: int = 1, *, timeout_s: float = LONG_S) -> None:
        """Until so many more have come."""
        wanted = len(self.seen) + frames
        self.until(lambda: len(self.seen) >= wanted, timeout_s)

    def wait_reconnected(self, times: int) -> None:
        """Until frames have come again so many times."""
        self.until(lambda: self.status.numbers().reconnects >= times)

    def wait_lost(self, times: int) -> None:
        """Until the camera was lost, or not had, so many times."""
        self.until(lambda: len(self.reasons) >= times)

    def wait_state(self, state: CameraState, *, since: float) -> None:
        """Until it is so, or was since then."""
        self.until(lambda: self.when(state, since=since))

    def until(self, happens: Callable[[], object], timeout_s: float = LONG_S) -> float:
        """Wait for it; a failure says what has happened instead."""
        try:
            return until(lambda: happens() or self.error, timeout_s)
        except AssertionError as exc:
            raise AssertionError(f"{exc}; {len(self.seen)} frames; {[str(event) for _, event in self.events]}") from exc

    def end(self) -> float:
        """Stop; returns the seconds that took."""
        started = time.monotonic()
        self.stop.set()
        self._thread.join(LONG_S)
        assert self.is_over, [str(event) for _, event in self.events]
        return time.monotonic() - started

    def _watch(self) -> None:
        try:
            with LiveSource(self.camera, status=self.status, stop=self.stop, selection=Selection()) as source:
                for frame in source.frames(lambda _: (32, 32)):
                    size = (frame.picture.width, frame.picture.height)
                    assert frame.arrived is not None
                    number, received = read_number(frame.picture), self.status.numbers().received
                    self.seen.append(Seen(number, frame.pts, size, frame.info, frame.arrived, received))
                    self.status.count_written(frame.arrived)
                    if self._takes_s:
                        self.stop.wait(self._takes_s)
                self.failure = source.failure
        except (RoadmaskError, Stopped) as exc:
            self.error = exc

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()


def play_into(path: Path, clip: Path) -> threading.Thread:
    """Another program that writes a video, at its own pace, and ends; it waits for who reads, and keeps nobody."""
    thread = threading.Thread(target=lambda: path.write_bytes(clip.read_bytes()), daemon=True)
    thread.start()
    return thread
