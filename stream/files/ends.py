"""What becomes of each file of a call: said, written down, and in the end the exit code."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ..errors import OutputError
from ..system.stop import Stop
from .files_talk import FilesTalk
from .outcome import Outcome, is_disk_full
from .outcome_table import counts, outcome_table
from .summary import Summary
from .workload import Workload

log = logging.getLogger(__name__)


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
        self._is_disk_full = False

    def note(self, outcome: Outcome) -> None:
        self._outcomes.append(outcome)
        self._workload.ended(outcome)
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
        is_partial = any(outcome.state == "partial" for outcome in self._outcomes)
        return 3 if self._failed or is_partial else 0  # where a window was closed, or nobody reads any more, too
