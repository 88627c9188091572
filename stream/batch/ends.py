"""What becomes of each file of a call: said, written down, in the end a table for people and the exit code."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..camera.camera import Camera
from ..errors import OutputError
from ..masks.familiar import warning_of
from ..stats.stats import PictureRow
from ..system.stop import Stop
from ..system.talk import printable
from .batch import STATES, Outcome, State, is_disk_full
from .summary import Summary
from .talk import FilesTalk, clock
from .workload import Workload

log = logging.getLogger(__name__)

_ALL_ROWS = 20  # so many files are listed whatever became of them; of more, only those that are not done
_MOST_ROWS = 50
_STYLES: dict[State, str] = {
    "done": "green",
    "partial": "yellow",
    "interrupted": "yellow",
    "failed": "red",
    "skipped": "dim",
}
_WORDS: dict[State, str] = {state: "done before" if state == "skipped" else state for state in STATES}


class Ends:
    """Takes note of what became of each job."""

    def __init__(
        self,
        workload: Workload,
        talk: FilesTalk,
        summary: Summary | None,
        record: Callable[[Outcome], None] | None,
        stop: Stop,
        *,
        many: bool,
    ) -> None:
        self._workload = workload
        self._talk = talk
        self._summary = summary
        self._record = record
        self._stop = stop
        self._many = many
        self._started = time.monotonic()
        self._outcomes: list[Outcome] = []
        self.pictures: dict[Path | Camera, PictureRow] = {}  # what the table tells of those that are done
        self._is_disk_full = False

    def note(self, outcome: Outcome) -> None:
        self._outcomes.append(outcome)
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
        log.error("%s", f"{outcome.job.file}: {outcome.reason}" if outcome.is_fault else outcome.reason)
        if outcome.is_fault:
            log.debug("%s", outcome.traceback)

    def _write(self, summary: Summary, outcome: Outcome) -> None:
        try:
            summary.end(outcome)
        except OutputError as exc:
            self._stop.set()  # what is done unnoted would be in the way of the next call
            if not (is_disk_full(exc) and self._is_disk_full):
                log.error("%s", exc)  # noqa: TRY400 - a line is what the user needs
            self._is_disk_full |= is_disk_full(exc)

    def tell(self, files: int, summary: Path | None) -> None:
        """At the end, what became of all; `summary` is where it was written down."""
        seconds = time.monotonic() - self._started
        table = outcome_table(self._outcomes, files=files, seconds=seconds, summary=summary)
        if self._is_disk_full:
            again = " with --resume" if summary else ""
            log.error("the disk is full, so nothing more was begun; free some space, and run the same again%s", again)
        line = counts(self._outcomes, files=files, seconds=seconds)
        self._talk.sum_up(table, line, is_loud=bool(self._failed))

    @property
    def _failed(self) -> int:
        return sum(outcome.state == "failed" for outcome in self._outcomes)

    def exit_code(self, stop: Stop) -> int:
        """0 all complete, 1 all failed, 3 some failed or are partial, 130 interrupted."""
        if stop.by:
            return 130
        if self._failed == len(self._outcomes):
            return 1
        made = [item for item in self._outcomes if not (item.report and item.report.before)]
        is_partial = any(item.state == "partial" for item in made)
        return 3 if self._failed or is_partial else 0  # where a window was closed, or nobody reads any more, too


def outcome_table(
    outcomes: Sequence[Outcome], *, files: int, seconds: float, summary: Path | None = None
) -> RenderableType:
    """Of so many files in all; `summary` is where everything is told."""
    rows = [item for item in outcomes if len(outcomes) <= _ALL_ROWS or item.state not in ("done", "skipped")]
    parts: list[RenderableType] = []
    if rows:
        parts.append(_table(rows[:_MOST_ROWS]))
    if len(rows) > _MOST_ROWS:
        where = f"; all are in {summary}" if summary else ""
        parts.append(Text(f"... and {len(rows) - _MOST_ROWS} more{where}"))
    parts.append(Text(counts(outcomes, files=files, seconds=seconds), style="bold"))
    return Group(*parts)


def counts(outcomes: Sequence[Outcome], *, files: int, seconds: float) -> str:
    """All of it in a line."""
    states = Counter(outcome.state for outcome in outcomes)
    words = [f"{states[state]} {word}" for state, word in _WORDS.items() if states[state]]
    if files > len(outcomes):
        words.append(f"{files - len(outcomes)} not begun")
    unlike = sum(bool(item.report and warning_of(item.report.unlike)) for item in outcomes)
    warning = f"; {unlike} of them unlike what the model has learnt: look at those masks" if unlike else ""
    frames = sum(item.report.frames - item.report.resumed for item in outcomes if item.report)
    speed = f", {frames / seconds:.1f} fps" if frames and seconds else ""
    return (
        f"{files} {'file' if files == 1 else 'files'}: {', '.join(words)}; {frames} frames in {clock(seconds)}{speed}"
        f"{warning}"
    )


def _table(outcomes: Sequence[Outcome]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("file", overflow="fold")
    table.add_column("state", no_wrap=True)
    table.add_column("frames", justify="right", no_wrap=True)
    table.add_column("fps", justify="right", no_wrap=True)
    table.add_column("why", overflow="fold", ratio=1)
    for item in outcomes:
        numbers = (str(item.report.frames), f"{item.report.fps:.1f}") if item.report else ("", "")
        path = str(item.job.file or item.job.name)
        shown = f"{path} ({item.job.label})" if item.job.label else path
        # Plain text: a file's name may hold what would be markup.
        table.add_row(
            Text(printable(shown)),
            Text(_WORDS[item.state], style=_STYLES[item.state]),
            *numbers,
            Text(printable(item.reason.removeprefix(f"{path}: "))),
        )
    return table
