"""`roadmask run` in this process, on the model of `color_model.py`."""

from __future__ import annotations

from pathlib import Path

from roadmask.stream.cli import main


def run(*arguments: object, model: Path) -> int:
    """Its exit code."""
    return main(["run", *map(str, arguments), "--model", str(model)])
