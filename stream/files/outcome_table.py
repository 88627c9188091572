"""What became of many files, as a table for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..system.talk import printable
from .outcome import STATES, Outcome, State
from .progress_bars import clock

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
    frames = sum(item.report.frames - item.report.resumed for item in outcomes if item.report)
    speed = f", {frames / seconds:.1f} fps" if frames and seconds else ""
    return (
        f"{files} {'file' if files == 1 else 'files'}: {', '.join(words)}; {frames} frames in {clock(seconds)}{speed}"
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
        # Plain text: a file's name may hold what would be markup.
        table.add_row(
            Text(printable(path)),
            Text(_WORDS[item.state], style=_STYLES[item.state]),
            *numbers,
            Text(printable(item.reason.removeprefix(f"{path}: "))),
        )
    return table
