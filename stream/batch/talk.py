"""What is said while files are segmented: bars on a terminal, lines elsewhere, JSON to programs."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from ..system.talk import printable, progress_bar, write_result, write_talk
from .batch import Outcome, State
from .workload import Glance, Workload

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import Progress

log = logging.getLogger(__name__)

ProgressKind = Literal["auto", "none", "json"]
FileState = Literal["waiting", "running"] | State

_REFRESH_S = 0.2  # of the bars on a terminal
_LINE_S = 1.0  # between two lines of JSON
_WIDTH = 160  # of a table that is written to a file


@dataclass(frozen=True, slots=True)
class FileEvent:
    """What happens to a file: its fields are those of a line of `--log json`."""

    source: str  # as in the summary
    state: FileState
    reason: str
    waiting: int  # files, besides those at work


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
        self._json_lines = kind == "json"
        draws = kind == "auto" and not quiet and not as_json and sys.stderr.isatty()
        self._bars: Progress | None = progress_bar("count", "speed", "left") if draws else None
        self._next = 0.0

    @property
    def shows_time_left(self) -> bool:
        return self._json_lines or self._bars is not None

    def tell(self, path: Path, state: FileState, reason: str = "") -> None:
        """What happens to a file; any thread may."""
        waiting = self._workload.waiting
        more = "; ".join(filter(None, [reason, f"{waiting} wait" if waiting > 1 else ""]))
        self.say(f"{path}: {state}" + (f" ({more})" if more else ""), self.event(path, state, reason))

    def event(self, path: object, state: FileState, reason: str = "") -> FileEvent:
        """What is to be said of it, with how many wait now."""
        source = str(path)
        if "://" not in source:
            source = os.path.abspath(source)  # noqa: PTH100 - a link stays what it is called
        return FileEvent(source, state, reason, self._workload.waiting)

    def say(self, text: str, event: FileEvent | None = None) -> None:
        """Any thread may."""
        if self._as_json:
            log.info("%s", text, extra={"facts": event})
        elif self._bars and not self._quiet:
            self._bars.console.out(printable(text), highlight=False)  # above the bars
        elif not self._quiet:
            write_talk(text)

    def sum_up(self, table: RenderableType, line: str, *, is_loud: bool) -> None:
        """At the end: the table, or its last line where lines are wanted; `is_loud` is also for those who want none."""
        if is_loud and self._quiet:
            log.error("%s", line)
        elif self._as_json:
            log.info("%s", line)
        elif not self._quiet and not self._json_lines:
            from rich.console import Console  # 40 ms that one file should not pay

            Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else _WIDTH).print(table)

    def result(self, outcome: Outcome) -> None:
        """What it has made."""
        if outcome.report is None:
            return
        job = outcome.job
        name = job.address.removesuffix(job.name) + job.title if self._total else job.title  # some have the same name
        self.say(f"{name}: {outcome.report}", self.event(job.address, outcome.state, outcome.report.lost))
        for output in job.outputs:
            if output.exists():
                write_result(output)
        sys.stdout.flush()

    def made(self, path: Path) -> None:
        """Something besides the outputs of a file."""
        write_result(path)
        sys.stdout.flush()

    def look(self, *, last: bool = False) -> None:
        """To be called several times a second."""
        if not last and time.monotonic() < self._next:
            return
        if self._bars:
            self._next = time.monotonic() + _REFRESH_S
            self._draw(self._bars)
        elif self._json_lines:
            self._next = time.monotonic() + _LINE_S
            sys.stderr.write(progress_line(self._workload.glance()) + "\n")

    def _draw(self, drawn: Progress) -> None:
        lines = list(bars(self._workload.glance(), total=self._total))
        for task in drawn.task_ids[len(lines) :]:
            drawn.remove_task(task)
        for task, line in zip_longest(drawn.task_ids, lines):
            if task is None:
                drawn.add_task(**line)
            else:
                drawn.update(task, **line)

    def __enter__(self) -> Self:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars:
            self._bars.stop()
        if self._json_lines:
            self.look(last=True)


def bars(glance: Glance, *, total: bool) -> Iterator[dict[str, Any]]:
    """What is to be drawn of each file at work, as `Progress.update` takes it; first, with `total`, of all."""
    speed = "" if glance.fps is None else f"{glance.fps:.1f} fps"
    left = "" if glance.seconds_left is None else f"{clock(glance.seconds_left)} left"
    if total:
        failed = glance.states["failed"]
        files = f"{glance.files_ended} of {glance.files} files" + (f", {failed} failed" if failed else "")
        told = {"count": f"{glance.frames}", "speed": speed, "left": left}
        yield {"description": files, "total": 1, "completed": glance.share} | told
        speed = left = ""
    for running in glance.running:
        expected = running.expected and max(running.expected, running.frames)  # headers err
        told = {"count": f"{running.frames}/{'?' if expected is None else expected}", "speed": speed, "left": left}
        yield {"description": printable(running.name), "total": expected, "completed": running.frames} | told


def progress_line(glance: Glance) -> str:
    """A JSON object."""
    return json.dumps(glance.in_json())


def clock(seconds: float) -> str:
    """0:01:30."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
