"""`roadmask info`: what a file is."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from ..errors import RoadmaskError
from ..system.talk import printable
from .facts import describe
from .options import AsJson

ERRORS: tuple[type[Exception], ...] = (RoadmaskError,)


def info(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A video, a model (.onnx) or a mask archive.")],
    as_json: AsJson = False,
) -> None:
    """Say what a video, a model or a mask archive is.

    \b
    roadmask info drive.mp4
    roadmask info model.onnx
    roadmask info results/drive_masks --json
    """  # noqa: D301 - Typer needs the character itself, to leave the lines after it as they are
    facts = describe(path)
    if as_json:
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
        return
    width = max(len(name) for name in facts)
    console = Console(highlight=False)
    for name, value in facts.items():
        console.print(Text(f"{name:<{width}}  ", style="bold") + _shown(value), soft_wrap=True)


def _shown(value: object) -> Text:
    """A fact for people; classes with their colours."""
    if isinstance(value, list) and value and isinstance(value[0], dict) and "color" in value[0]:
        text = Text()
        for item in value:
            text.append("\n  ").append("██ ", style="rgb({},{},{})".format(*item["color"])).append(item["name"])
        return text
    if isinstance(value, dict):
        return Text("".join(f"\n  {printable(name)}: {printable(item)}" for name, item in value.items()))
    return Text("unknown" if value is None else printable(value))
