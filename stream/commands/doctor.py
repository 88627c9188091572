"""`roadmask doctor`: whether this installation works, and what to do where it does not."""

from __future__ import annotations

import json
import sys
import textwrap
from collections import Counter
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from ..doctor.doctor import CHECKS, SLOW_CHECKS, STATES, Finding, State, examine
from ..system.talk import printable

_ALL = [*CHECKS, *SLOW_CHECKS]
_STYLES: dict[State, str] = {"ok": "green", "warning": "bold yellow", "problem": "bold red"}
_INDENT, _MOST_WIDTH = 27, 110  # before what was found: the state, and the name
_out = Console(highlight=False)
_talk = Console(stderr=True, highlight=False)


def doctor(
    checks: Annotated[
        list[str] | None, typer.Argument(metavar="CHECK...", help=f"Only these: {', '.join(_ALL)}.")
    ] = None,
    # Not from `options`, which imports what may be broken.
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Check this installation, and say what to do where something is amiss.

    What is found is ok, a warning (something does not work, or slowly, but videos can be segmented), or a problem: then
    the exit code is 1. Nothing leaves the machine; nothing is written but to a temporary folder and roadmask's own
    cache. Webcams are opened for a moment, and no picture of theirs is kept.

    \b
    roadmask doctor
    roadmask doctor devices cameras
    roadmask doctor engines                 devices that build for minutes first: TensorRT, MIGraphX
    roadmask doctor --json > doctor.json
    """  # noqa: D301 - Typer needs the character itself, to leave the lines after it as they are
    named = checks or list(CHECKS)
    if strangers := [name for name in named if name not in _ALL]:
        raise typer.BadParameter(f"{strangers[0]!r} is no check; there are {', '.join(_ALL)}")
    found: list[tuple[str, Finding]] = []
    with _talk.status("checking") as status:
        for check, finding in examine([name for name in _ALL if name in named]):
            if not as_json:
                status.stop()  # it would stand where the next line is to
                if not found or found[-1][0] != check:
                    _out.print(Text(check, "bold"))
                _write(finding)
                status.start()
            found.append((check, finding))
    states: Counter[State] = Counter(finding.state for _, finding in found)
    worst: State = max(states, key=STATES.index, default="ok")
    if as_json:
        told = {"state": worst, "findings": [{"check": check} | asdict(finding) for check, finding in found]}
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
    else:
        amiss = [f"{states[state]} {state}{'s' * (states[state] > 1)}" for state in STATES[:0:-1] if states[state]]
        _out.print(Text(", ".join(amiss) or "nothing amiss was found", _STYLES[worst]))
    if worst == "problem":
        raise typer.Exit(1)


def _write(finding: Finding) -> None:
    """What was found; what to do is on lines of its own."""
    head = f"  {finding.state:<9}{printable(finding.name):<14}  "
    for first, text in ((head, finding.found), (" " * _INDENT + "> ", finding.advice)):
        if text:
            told = textwrap.fill(
                printable(text),
                min(_out.width, _MOST_WIDTH),
                initial_indent=first,
                subsequent_indent=" " * _INDENT,
                break_long_words=False,
                break_on_hyphens=False,
            )
            lines = Text(told)
            lines.stylize(_STYLES[finding.state], 2, 11)
            _out.print(lines, soft_wrap=True)  # in a pipe, too, it breaks no path
