"""What is said while files are segmented: bars on a terminal, lines elsewhere, JSON to programs."""

from __future__ import annotations

import json
import logging
import sys
import time
from types import TracebackType
from typing import Literal, Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..system.talk import printable, write_result
from .batch import Outcome
from .workload import Glance, Workload

log = logging.getLogger(__name__)

ProgressKind = Literal["auto", "none", "json"]

_REFRESH_S = 0.2  # of the bars on a terminal
_LINE_S = 1.0  # between two lines of JSON
_WIDTH = 160  # of a table that is written to a file
_BAR_WIDTH = 30
_NAME_WIDTH = 36


class FilesTalk:
    """Talks on standard error; what is asked for goes to standard output. A context manager, for the bars.

    Args:
        workload: how far all are.
        total: show how far all are together, not only each.
        kind: of progress.
        quiet: say nothing but errors.
        as_json: talk through the log, which writes JSON.
    """

    def __init__(self, workload: Workload, *, total: bool, kind: ProgressKind, quiet: bool, as_json: bool) -> None:
        self._workload = workload
        self._total = total
        self._quiet = quiet
        self._as_json = as_json
        self._console = Console(stderr=True, highlight=False)
        if not self._console.is_terminal:
            self._console = Console(stderr=True, highlight=False, width=_WIDTH)
        self._json_lines = kind == "json"
        has_bars = kind == "auto" and not quiet and not as_json and self._console.is_terminal
        # Where results go to the terminal, too, they are written above the bars.
        self._live = (
            Live(console=self._console, auto_refresh=False, transient=True, redirect_stdout=sys.stdout.isatty())
            if has_bars
            else None
        )
        self._next = 0.0

    @property
    def shows_time_left(self) -> bool:
        return self._json_lines or self._live is not None

    def say(self, text: str) -> None:
        """Any thread may."""
        if self._as_json:
            log.info("%s", text)
        elif not self._quiet:
            self._console.print(Text(printable(text)), soft_wrap=True)

    def sum_up(self, table: RenderableType, line: str, *, is_loud: bool) -> None:
        """At the end: the table, or its last line where lines are wanted; `is_loud` is also for those who want none."""
        if is_loud and self._quiet:
            log.error("%s", line)
        elif self._as_json:
            log.info("%s", line)
        elif not self._quiet and not self._json_lines:
            self._console.print(table)

    def result(self, outcome: Outcome) -> None:
        """What it has made."""
        if outcome.report is None:
            return
        name = outcome.job.file if self._total else outcome.job.name  # among many, some have the same name
        self.say(f"{name}: {outcome.report}")
        for output in outcome.job.outputs:
            if output.exists():
                write_result(output)
        sys.stdout.flush()

    def look(self, *, last: bool = False) -> None:
        """To be called several times a second."""
        if not last and time.monotonic() < self._next:
            return
        if self._live:
            self._next = time.monotonic() + _REFRESH_S
            self._live.update(bars(self._workload.glance(), total=self._total), refresh=True)
        elif self._json_lines:
            self._next = time.monotonic() + _LINE_S
            sys.stderr.write(progress_line(self._workload.glance()) + "\n")

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()
        elif self._json_lines:
            self.look(last=True)


def bars(glance: Glance, *, total: bool) -> RenderableType:
    """A line for each file at work; above them, with `total`, one for all."""
    table = Table.grid(padding=(0, 2))
    table.add_column(max_width=_NAME_WIDTH, no_wrap=True, overflow="ellipsis")
    table.add_column(width=_BAR_WIDTH)
    for _ in range(3):
        table.add_column(justify="right", no_wrap=True)
    speed = "" if glance.fps is None else f"{glance.fps:.1f} fps"
    left = "" if glance.seconds_left is None else f"{clock(glance.seconds_left)} left"
    if total:
        failed = glance.states["failed"]
        files = f"{glance.files_ended} of {glance.files} files" + (f", {failed} failed" if failed else "")
        bar = ProgressBar(total=1, completed=glance.share, width=_BAR_WIDTH)
        table.add_row(Text(files, style="bold"), bar, Text(f"{glance.frames}"), Text(speed), Text(left))
        speed = left = ""
    for running in glance.running:
        expected = running.expected and max(running.expected, running.frames)  # headers err
        bar = ProgressBar(total=expected, completed=running.frames, width=_BAR_WIDTH, pulse=expected is None)
        count = f"{running.frames}/{'?' if expected is None else expected}"
        table.add_row(Text(printable(running.source)), bar, Text(count), Text(speed), Text(left))
    return table


def progress_line(glance: Glance) -> str:
    """A JSON object."""
    left = glance.seconds_left
    return json.dumps(
        {
            "files": glance.files,
            **glance.states,
            "frames": glance.frames,
            "fps": None if glance.fps is None else round(glance.fps, 2),
            "share": round(glance.share, 4),
            "seconds": round(glance.seconds, 1),
            "seconds_left": None if left is None else round(left, 1),
            "running": [
                {"source": running.source, "frames": running.frames, "expected": running.expected}
                for running in glance.running
            ],
        }
    )


def clock(seconds: float) -> str:
    """0:01:30."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
