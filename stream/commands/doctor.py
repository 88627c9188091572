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
from ..errors import RoadmaskError
from ..system.talk import printable
from . import options as of

ERRORS: tuple[type[Exception], ...] = (RoadmaskError,)
_ALL = CHECKS | SLOW_CHECKS
_STYLES: dict[State, str] = {"ok": "green", "warning": "bold yellow", "problem": "bold red"}
_NAME_WIDTH = 15
_INDENT = 11 + _NAME_WIDTH + 2  # before what was found: two spaces, the state, and the name
_LEAST_WIDTH, _MOST_WIDTH = 60, 110
_out = Console(highlight=False)
_talk = Console(stderr=True, highlight=False)


def doctor(
    checks: Annotated[
        list[str] | None,
        typer.Argument(metavar="CHECK", help=f"Only these: {', '.join(_ALL)}.", show_default=False),
    ] = None,
    as_json: of.AsJson = False,
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
                _write(finding, heading="" if found and found[-1][0] == check else check)
                status.start()
            found.append((check, finding))
    states: Counter[State] = Counter(finding.state for _, finding in found)
    if as_json:
        _write_json(found)
    else:
        _write_sum(states)
    if states["problem"]:
        raise typer.Exit(1)


def _write(finding: Finding, *, heading: str) -> None:
    """What was found, under its check's name where that is new; what to do is on lines of its own."""
    if heading:
        _out.print(Text(heading, "bold"))
    width = min(max(_out.width, _LEAST_WIDTH), _MOST_WIDTH) - _INDENT
    first, *more = _lines(finding.found, width) or [""]
    name = f"{printable(finding.name):<{_NAME_WIDTH}}"
    if len(name) > _NAME_WIDTH:
        first, more = "", [first, *more]
    line = Text.assemble("  ", (f"{finding.state:<9}", _STYLES[finding.state]), name, "  ", first)
    line.rstrip()
    advice = [("> " if number == 0 else "  ") + text for number, text in enumerate(_lines(finding.advice, width - 2))]
    for text in (line, *(Text(" " * _INDENT + rest) for rest in (*more, *advice))):
        _out.print(text, soft_wrap=True)  # in a pipe, too, it breaks no path


def _lines(text: str, width: int) -> list[str]:
    return textwrap.wrap(printable(text), width, break_long_words=False, break_on_hyphens=False)


def _write_sum(states: Counter[State]) -> None:
    amiss = [(states[state], state) for state in ("problem", "warning") if states[state]]
    counts = ", ".join(f"{count} {state}{'s' * (count > 1)}" for count, state in amiss)
    _out.print(Text(counts or "all is well", _STYLES[_worst(states)]))


def _write_json(found: list[tuple[str, Finding]]) -> None:
    states = Counter(finding.state for _, finding in found)
    told = {"state": _worst(states), "findings": [{"check": check} | asdict(finding) for check, finding in found]}
    sys.stdout.write(json.dumps(told, indent=2) + "\n")


def _worst(states: Counter[State]) -> State:
    return max((state for state in states if states[state]), key=STATES.index, default="ok")
