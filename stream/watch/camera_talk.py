"""What is said while cameras run: a line for each event, and now and then, or on a terminal always, the numbers."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from ..camera.status import CameraEvent, CameraNumbers, CameraState, CameraStatus

log = logging.getLogger(__name__)

_EVERY_S = 60.0  # between two lines of numbers
_REFRESH_S = 0.5  # of the table on a terminal
_LOUD = (CameraState.STALLED, CameraState.RECONNECTING)


class CameraTalk:
    """Tells events and numbers of cameras through the log; on a terminal the numbers stand in a table below it.

    Args:
        table: draw the table.
    """

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

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()
        sys.stderr.flush()


def _line(item: CameraNumbers) -> str:
    latency = "" if item.latency_s is None else f", latency {1000 * item.latency_s:.0f} ms"
    return (
        f"{item.name}: {item.state}, {item.fps:.1f} fps{latency}, {item.written} written, {item.dropped} dropped, "
        f"{item.undecodable} undecodable, {item.reconnects} reconnects"
    )


def _table(numbers: Sequence[CameraNumbers]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("camera", "state", "fps", "latency", "written", "dropped", "undecodable", "reconnects"):
        table.add_column(heading, justify="left" if heading in ("camera", "state") else "right")
    for item in numbers:
        latency = "" if item.latency_s is None else f"{1000 * item.latency_s:.0f} ms"
        counts = (item.written, item.dropped, item.undecodable, item.reconnects)
        table.add_row(item.name, item.state, f"{item.fps:.1f}", latency, *(str(count) for count in counts))
    return table
