"""What becomes of each file of a call: said, written down, in the end a table for people and the exit code."""

from __future__ import annotations

import logging
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..camera.camera import Camera
from ..errors import OutputError
from ..masks.familiar import warning_of
from ..stats.stats import PictureRow
from ..system.stop import Stop
from ..system.talk import number_of, printable
from .batch import STATES, Outcome, State, is_disk_full
from .summary import Summary
from .talk import FilesTalk, clock
from .workload import Workload

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

log = logging.getLogger(__name__)

_ALL_ROWS = 20  # so many files are listed whatever became of them; of more, only those that are not done
_MOST_ROWS = 50
_STYLES: dict[State, str] = {
    "done": "green",
    "partial": "yellow",
    "interrupted": "yellow",
    "failed": "red",
    "done_before": "dim",
}
_WORDS: dict[State, str] = {state: state.replace("_", " ") for state in STATES}


class Ends:
    """Takes note of what became of each job; of the last ones alone in full where they come for ever."""

    def __init__(
        self,
        workload: Workload,
        talk: FilesTalk,
        summary: Summary | None,
        record: Callable[[Outcome], None] | None,
        stop: Stop,
        *,
        many: bool,
        for_ever: bool = False,
    ) -> None:
        self._workload = workload
        self._talk = talk
        self._summary = summary
        self._record = record
        self._stop = stop
        self._many = many
        self._started = time.monotonic()
        self.pictures: dict[Path | Camera, PictureRow] = {}  # what the table tells of those that are done
        self._for_ever = for_ever
        self._outcomes: deque[Outcome] = deque(maxlen=_ALL_ROWS if for_ever else None)
        self._states: Counter[State] = Counter()
        self._frames = 0
        self._unlike = 0  # what the model has learnt
        self._is_partial = False
        self._is_broken = False  # nothing can be written any more
        self._is_disk_full = False

    def note(self, outcome: Outcome) -> None:
        self._outcomes.append(outcome)
        self._states[outcome.state] += 1
        if outcome.report:
            self._frames += outcome.report.frames - outcome.report.resumed
            self._unlike += bool(warning_of(outcome.report.unlike))
            self._is_partial |= outcome.state == "partial" and not outcome.report.before
        self._workload.ended(outcome)
        if outcome.report and outcome.report.picture:
            self.pictures[outcome.job.source] = outcome.report.picture
        if outcome.error is not None and not self._many:
            self._record_failure(outcome)
            raise outcome.error
        if outcome.error is not None:
            self._tell_failure(outcome)
        self._talk.result(outcome)
        if self._summary is not None:
            self._write(self._summary, outcome)
        if self._record is not None:
            self._record(outcome)

    def _record_failure(self, outcome: Outcome) -> None:
        if self._record is not None:
            with suppress(OutputError):  # the failure itself is what is told
                self._record(outcome)

    def _tell_failure(self, outcome: Outcome) -> None:
        if outcome.is_disk_full and self._is_disk_full:
            return  # all that were at work say the same
        self._is_disk_full |= outcome.is_disk_full
        address = outcome.job.address
        reason = f"{address}: {outcome.reason}" if outcome.is_fault else outcome.reason
        log.error("%s", reason, extra={"facts": self._talk.event(address, "failed", outcome.why)})
        if outcome.is_fault:
            log.debug("%s", outcome.traceback)

    def _write(self, summary: Summary, outcome: Outcome) -> None:
        try:
            summary.end(outcome)
        except OutputError as exc:
            self._stop.set()  # what is done unnoted would be in the way of the next call
            self._is_broken = True
            if not (is_disk_full(exc) and self._is_disk_full):
                log.error("%s", exc)  # noqa: TRY400 - a line is what the user needs
            self._is_disk_full |= is_disk_full(exc)

    def tell(self, files: int | None, summary: Path | None) -> None:
        """At the end, what became of all; `summary` is where it was written down."""
        seconds = time.monotonic() - self._started
        line = counts(
            self._states,
            files=files,
            frames=self._frames,
            unlike=self._unlike,
            seconds=None if self._for_ever else seconds,
        )
        table = outcome_table(self._outcomes, line, summary=summary)
        if self._is_disk_full:
            again = " with --resume" if summary and not self._for_ever else ""
            log.error("the disk is full, so nothing more was begun; free some space, and run the same again%s", again)
        self._talk.sum_up(table, line, is_loud=bool(self._states["failed"]))

    def exit_code(self, stop: Stop) -> int:
        """0 all complete, 1 all failed, 3 some failed, are partial or were not begun, as nothing can be written down;
        130 interrupted. As of cameras, for what is for ever: 0 where it was asked to end, 130 by Ctrl-C, 1 where it
        cannot go on.
        """
        if self._for_ever:
            return 130 if stop.by == signal.SIGINT else int(self._is_broken or self._is_disk_full)
        if stop.by:
            return 130
        failed = self._states["failed"]
        if failed == self._states.total():
            return 1
        if failed or self._is_partial or self._is_broken:
            return 3
        return 0  # where a window was closed, or nobody reads any more, too


def outcome_table(outcomes: Collection[Outcome], line: str, *, summary: Path | None = None) -> RenderableType:
    """With a line about all of them below it; `summary` is where everything is told."""
    from rich.console import Group
    from rich.text import Text

    rows = [item for item in outcomes if len(outcomes) <= _ALL_ROWS or item.state not in ("done", "done_before")]
    parts: list[RenderableType] = []
    if rows:
        parts.append(_table(rows[:_MOST_ROWS]))
    if len(rows) > _MOST_ROWS:
        where = f"; all are in {summary}" if summary else ""
        parts.append(Text(f"... and {len(rows) - _MOST_ROWS} more{where}"))
    parts.append(Text(line, style="bold"))
    return Group(*parts)


def counts(states: Counter[State], *, files: int | None, frames: int, unlike: int, seconds: float | None) -> str:
    """All of it in a line; of so many files and seconds, where that means something."""
    files = states.total() if files is None else files
    words = [f"{states[state]} {word}" for state, word in _WORDS.items() if states[state]]
    if files > states.total():
        words.append(f"{files - states.total()} not begun")
    warning = f"; {unlike} of them unlike what the model has learnt: look at those masks" if unlike else ""
    speed = f", {frames / seconds:.1f} fps" if frames and seconds else ""
    taken = f" in {clock(seconds)}{speed}" if seconds is not None else ""
    told = ", ".join(words) or "none had its turn"
    return f"{number_of(files, 'file')}: {told}; {number_of(frames, 'frame')}{taken}{warning}"


def _table(outcomes: Sequence[Outcome]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("file", overflow="fold")
    table.add_column("state", no_wrap=True)
    table.add_column("frames", justify="right", no_wrap=True)
    table.add_column("fps", justify="right", no_wrap=True)
    table.add_column("why", overflow="fold", ratio=1)
    for item in outcomes:
        numbers = (str(item.report.frames), f"{item.report.fps:.1f}") if item.report else ("", "")
        path = item.job.address
        shown = f"{path} ({item.job.label})" if item.job.label else path
        # Plain text: a file's name may hold what would be markup.
        table.add_row(
            Text(printable(shown)),
            Text(_WORDS[item.state], style=_STYLES[item.state]),
            *numbers,
            Text(printable(item.why)),
        )
    return table
