"""How many files at work are drawn on a terminal, and told to programs."""

from __future__ import annotations

import json

from rich.console import RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..system.talk import printable
from .workload import Glance

_BAR_WIDTH = 30
_NAME_WIDTH = 36


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
