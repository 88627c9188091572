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
from typing import Literal, Self

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
_WIDE = 100  # columns, in which all of it has room beside a name
_LOUD = (CameraState.STALLED, CameraState.RECONNECTING)
_AGAIN_S = 60.0  # after which the reason that a camera is not there for is told once more
_WATCHED_S = 10.0  # of a camera that runs, after which it is judged whether the model keeps up
_MANY = 0.1  # of its frames: if more are dropped, the user is told what to do


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
    """Tells events and numbers of cameras through the log; on a terminal the numbers stand in a `table` below it.

    Args:
        table: show it.
        every_event: tell each; else those of a camera that stays away once a minute, and where the reason changes.
        remedy: what to do where the model is too slow for a camera.
    """

    def __init__(self, *, table: bool, every_event: bool = True, remedy: str = "") -> None:
        self._every_event = every_event
        self._remedy = remedy
        self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True) if table else None
        self._next = time.monotonic() + (_REFRESH_S if table else _EVERY_S)
        self._told: dict[str, CameraEvent] = {}  # of each camera, the last
        self._watched: dict[str, tuple[float, CameraNumbers]] = {}  # of each that runs, when it was looked at last
        self._too_slow: set[str] = set()  # the model is, for these, and it has been told

    def event(self, event: CameraEvent) -> None:
        """To be told of each; any thread may."""
        if self._every_event or not _is_said(event, self._told.get(event.camera)):
            self._told[event.camera] = event
            log.log(logging.WARNING if event.state in _LOUD else logging.INFO, "%s", event, extra={"facts": event})

    def look(self, statuses: Sequence[CameraStatus]) -> None:
        """To be called several times a second."""
        now = time.monotonic()
        self._judge(statuses, now)
        if now < self._next:
            return
        numbers = [status.numbers() for status in statuses]
        if self._live:
            self._next = now + _REFRESH_S
            self._live.update(_table(numbers, self._live.console.width), refresh=True)
            return
        self._next = now + _EVERY_S
        for item in numbers:
            log.info("%s", _line(item), extra={"facts": item})

    def _judge(self, statuses: Sequence[CameraStatus], now: float) -> None:
        """Say once of each camera that the model is too slow for it, if it is."""
        for status in statuses:
            if status.state is not CameraState.RUNNING:
                self._watched.pop(status.name, None)
            elif status.name not in self._watched or now - self._watched[status.name][0] > _WATCHED_S:
                numbers = status.numbers()
                began, before = self._watched.get(status.name, (now, numbers))
                self._watched[status.name] = (now, numbers)
                # What is dropped while the first frame is worked out says nothing of those to come.
                dropped, received = numbers.dropped - before.dropped, numbers.received - before.received
                if before.written and dropped > _MANY * received and status.name not in self._too_slow:
                    self._too_slow.add(status.name)
                    done = rate_text((numbers.written - before.written) / (now - began))
                    come = rate_text(received / (now - began))
                    log.warning("%s: %s of %s frames a second are done; %s", status.name, done, come, self._remedy)

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()
        sys.stderr.flush()


def _is_said(event: CameraEvent, last: CameraEvent | None) -> bool:
    """Whether `last`, of the same camera, says as much: that it is tried anew, or is still away for that reason."""
    if last is None or last.state is not CameraState.RECONNECTING:
        return False
    if event.state is CameraState.CONNECTING and not event.reason:
        return True
    return (event.state, event.reason) == (last.state, last.reason) and event.time - last.time < _AGAIN_S


def _rates(item: CameraNumbers) -> str:
    """Frames a second that are written; where some are dropped, also those that come."""
    of = f" of {rate_text(item.received_fps)}" if item.dropped and item.received_fps else ""
    return rate_text(item.fps) + of


def _line(item: CameraNumbers) -> str:
    latency = "" if item.latency_s is None else f", latency {1000 * item.latency_s:.0f} ms"
    return (
        f"{item.camera}: {item.state}, {_rates(item)} fps{latency}, {item.written} written, "
        f"{item.dropped} dropped, {item.undecodable} undecodable, {item.reconnects} reconnects"
    )


def _table(numbers: Sequence[CameraNumbers], width: int) -> Table:
    """On a terminal of few columns without what has not happened yet; names are folded, and nothing else."""
    rows = [
        {
            "camera": item.camera,
            "state": str(item.state),
            "fps": _rates(item),
            "latency": "" if item.latency_s is None else f"{1000 * item.latency_s:.0f} ms",
            **{name: str(getattr(item, name)) for name in ("written", "dropped", "undecodable", "reconnects")},
        }
        for item in numbers
    ]
    table = Table(box=None, pad_edge=False)
    shown = [
        heading
        for heading in rows[0]
        if width >= _WIDE or heading not in ("undecodable", "reconnects") or any(row[heading] != "0" for row in rows)
    ]
    for heading in shown:
        justify: Literal["left", "right"] = "left" if heading in ("camera", "state") else "right"
        table.add_column(heading, justify=justify, no_wrap=heading != "camera", overflow="fold", min_width=8)
    for row in rows:
        table.add_row(*(row[heading] for heading in shown))
    return table
