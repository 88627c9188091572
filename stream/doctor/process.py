"""The process that makes the checks of `roadmask doctor`. `main` runs in it; `doctor.examine` starts it."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from importlib import import_module

from ..system.helper_process import take_orders
from ..system.machine import is_out_of_memory
from .doctor import REPORT, Finding, first_line


def main() -> None:
    """Says of each check that was ordered what it has found, as it comes, and that it is done."""
    orders, _ = take_orders()
    logging.disable()  # what modules would warn of is found here, or told by the check
    with os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1) as words:
        os.dup2(2, 1)  # libraries print as they like
        for check in orders["checks"]:
            # A folder that goes with the other process, however this one ends; "disk" looks at the usual one.
            tempfile.tempdir = None if check == "disk" else orders["folder"]
            for finding in findings(check):
                words.write(json.dumps({"event": "found", "finding": asdict(finding)}) + "\n")
            words.write(json.dumps({"event": "done"}) + "\n")


def findings(check: str) -> Iterator[Finding]:
    """What one check finds; where it fails itself, that is a finding, too."""
    try:
        # Imported here and not above: what is broken may be a library that the check needs.
        yield from import_module(f".{check}", __package__).examine()
    except ImportError as exc:
        advice = "first mend what 'roadmask doctor versions' finds"
        yield Finding("check", "problem", f"cannot be made: {first_line(exc)}", advice)
    except Exception as exc:  # noqa: BLE001 - told as what was found
        if any(is_out_of_memory(one) for one in _chain(exc)):
            advice = "end other programs, or give the container more"
            yield Finding("check", "problem", "memory ran out", advice)
            return
        found = f"the check has failed ({type(exc).__name__}: {first_line(exc)})"
        yield Finding("check", "problem", found, REPORT)


def _chain(exc: BaseException | None) -> Iterator[BaseException]:
    """The exception, and those that it came from."""
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__
