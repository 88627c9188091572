"""Several cameras at once, on one model, and what is said of them.

Each runs as if it were alone, and what happens to one harms no other.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from ..camera.status import CameraEvent, CameraNumbers, CameraState, CameraStatus, rate_text
from ..errors import RoadmaskError
from ..frames import Sink, VideoInfo
from ..network.model import Model
from ..run.segment import process_video
from ..run.settings import Report, SegmentSettings

log = logging.getLogger(__name__)

_LOOK_S = 0.2  # how often the main thread wakes up, to take signals
_EVERY_S = 60.0  # between two lines of numbers
_REFRESH_S = 0.5  # of the table on a terminal
_LOUD = (CameraState.STALLED, CameraState.RECONNECTING)


@dataclass(slots=True)
class CameraRun:
    """A camera, and what became of it: of the last two one is set when its thread has ended."""

    settings: SegmentSettings
    status: CameraStatus
    also: Sequence[Sink] = ()  # besides the settings' outputs
    report: Report | None = None
    error: BaseException | None = None


def watch(
    runs: Sequence[CameraRun],
    model: Model,
    *,
    stop: Event,
    on_open: Callable[[CameraRun, VideoInfo], None] | None = None,
    on_look: Callable[[], None] | None = None,
) -> None:
    """Segment all the cameras until each has ended; what became of them is in `runs` then.

    Args:
        runs: the cameras.
        model: which they share.
        stop: set it to end them all; their outputs are whole then.
        on_open: told what a camera gives, before its first frame, on its own thread.
        on_look: called several times a second, on this thread.

    Raises:
        BaseException: what went wrong with a camera and is no `RoadmaskError`; `stop` is set then.
    """
    with model.shared(len(runs)) as shared:
        threads = [
            threading.Thread(target=_run, args=(run, shared, stop, on_open), name=run.status.name, daemon=True)
            for run in runs
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(_LOOK_S)
                if on_look:
                    on_look()
    for run in runs:
        if run.error is not None and not isinstance(run.error, RoadmaskError):
            raise run.error


def _run(run: CameraRun, model: Model, stop: Event, on_open: Callable[[CameraRun, VideoInfo], None] | None) -> None:
    def opened(info: VideoInfo) -> None:
        if on_open:
            on_open(run, info)

    try:
        run.report = process_video(run.settings, model, stop=stop, status=run.status, also=run.also, on_open=opened)
    except BaseException as exc:  # noqa: BLE001 - carried to the main thread
        run.error = exc
        if not isinstance(exc, RoadmaskError):
            stop.set()  # a fault of ours is no camera's: end in order, and tell


class CameraTalk:
    """Tells events and numbers of cameras through the log; on a terminal the numbers stand in a `table` below it."""

    def __init__(self, *, table: bool) -> None:
        self._statuses: Sequence[CameraStatus] = ()
        self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True) if table else None
        self._next = time.monotonic() + (_REFRESH_S if table else _EVERY_S)

    def event(self, event: CameraEvent) -> None:
        """To be told of each; any thread may."""
        log.log(logging.WARNING if event.state in _LOUD else logging.INFO, "%s", event, extra={"facts": event})

    def look(self, statuses: Sequence[CameraStatus]) -> None:
        """To be called several times a second."""
        if time.monotonic() < self._next:
            return
        numbers = [status.numbers() for status in statuses]
        if self._live:
            self._next = time.monotonic() + _REFRESH_S
            self._live.update(_table(numbers), refresh=True)
            return
        self._next = time.monotonic() + _EVERY_S
        for item in numbers:
            log.info("%s", _line(item), extra={"facts": item})

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()
        sys.stderr.flush()


def _line(item: CameraNumbers) -> str:
    latency = "" if item.latency_s is None else f", latency {1000 * item.latency_s:.0f} ms"
    return (
        f"{item.name}: {item.state}, {rate_text(item.fps)} fps{latency}, {item.written} written, "
        f"{item.dropped} dropped, {item.undecodable} undecodable, {item.reconnects} reconnects"
    )


def _table(numbers: Sequence[CameraNumbers]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("camera", "state", "fps", "latency", "written", "dropped", "undecodable", "reconnects"):
        table.add_column(heading, justify="left" if heading in ("camera", "state") else "right")
    for item in numbers:
        latency = "" if item.latency_s is None else f"{1000 * item.latency_s:.0f} ms"
        counts = (item.written, item.dropped, item.undecodable, item.reconnects)
        table.add_row(item.name, item.state, rate_text(item.fps), latency, *(str(count) for count in counts))
    return table
