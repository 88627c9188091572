"""What the commands show: talk and a progress bar on stderr, results on stdout."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from .files import Color
from .history import EpochScores

_SPEED_OVER_S = 600  # long enough that the time left has the pauses for validation in it


class Talk:
    """Lines on stderr, and below them a bar that nobody sees unless stderr is a terminal."""

    def __init__(self, label: str) -> None:
        self._label = printable(label)
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
            speed_estimate_period=_SPEED_OVER_S,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, message: str) -> None:
        self._console.print(printable(message), markup=False, highlight=False, soft_wrap=True)

    def step(self, done: int, total: int, note: str = "") -> None:
        if self._task is None:  # a resumed run starts in the middle, which says nothing about its speed
            self._task = self._progress.add_task(self._label, total=total, completed=done - 1)
        description = f"{self._label} {note}" if note else self._label
        self._progress.update(self._task, completed=done, description=description)

    def epoch(self, scores: EpochScores) -> None:
        first, *others = scores.parts
        beside = "".join(f"{part.name} {part.mean_iou:.4f}  " for part in others)
        self.say(
            f"epoch {scores.epoch:3}  train loss {scores.train_loss:.4f}  valid loss {scores.valid_loss:.4f}  "
            f"mIoU {first.mean_iou:.4f}  accuracy {first.accuracy:.4f}  {beside}{scores.seconds:.0f} s"
        )


def print_class_table(
    title: str, heading: str, names: Sequence[str], colors: Sequence[Color], values: Sequence[str]
) -> None:
    """On stdout: a class a line, with its colour where the terminal can show it."""
    console = Console()
    print_line(title)  # a table would wrap it to its own width
    table = Table()
    if console.is_terminal:
        table.add_column("")
    table.add_column("class")
    table.add_column(heading, justify="right")
    for name, (red, green, blue), value in zip(names, colors, values, strict=True):
        swatch = [f"[on rgb({red},{green},{blue})]   [/]"] if console.is_terminal else []
        table.add_row(*swatch, escape(printable(name)), value)
    console.print(table)


def print_line(text: str) -> None:
    """On stdout, printable: no markup, no wrapping."""
    Console().print(printable(text), markup=False, highlight=False, soft_wrap=True)


def printable(text: str) -> str:
    """On one line; what a terminal would obey, and what is not shown, as Python writes it."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
