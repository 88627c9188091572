"""Check an installation: every check in turn, in a process of its own that may crash or hang without taking this one.

Libraries end a process that meets a processor, a driver or a display that they cannot live with; what they end here
is told as what was found, and the checks behind it are made in a new process.
"""

from __future__ import annotations

import logging
import signal
import tempfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from queue import Empty, SimpleQueue
from typing import Any, Literal

from ..errors import first_line
from ..system.helper_process import HelperGone, HelperProcess, say, take_orders
from ..system.machine import is_out_of_memory

# Each is a function of that name, in a module that imports only what it needs. In the order of asking: what a check
# needs is looked at by one before it.
CHECKS = {
    **dict.fromkeys(("versions", "machine", "disk"), "machine"),
    "codecs": "video",
    "devices": "devices",
    "cameras": "video",
    "selftest": "devices",
}
SLOW_CHECKS = {"engines": "devices"}  # made only where they are named
_PATIENCE_S, _SLOW_PATIENCE_S = 60.0, 3600.0  # for one thing to be found out
_HINTS = {"SIGILL": ": an instruction that this processor lacks", "SIGKILL": ", as when memory runs out"}

# A warning: something does not work, or slowly, but videos can be segmented. A problem: they cannot, or wrongly.
State = Literal["ok", "warning", "problem"]
STATES: tuple[State, ...] = ("ok", "warning", "problem")  # the worst last
REPORT = "mend what is told above; if this stays, report it with what 'roadmask doctor --json' says"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of what was found, and one of what to do."""

    name: str  # of the thing, within its check: "onnxruntime", "cuda", "/dev/video0"
    state: State
    found: str
    advice: str = ""  # empty where there is nothing to do


def examine(checks: Iterable[str]) -> Iterator[tuple[str, Finding]]:
    """Every finding of `checks`, with the name of its check, as it comes.

    A check that finds nothing for long is ended, and told as a problem.
    """
    waiting = list(checks)
    with ExitStack() as stack:
        orders: dict[str, Any] = {"checks": waiting, "folder": None}
        with suppress(OSError):  # "disk" tells it
            orders["folder"] = stack.enter_context(tempfile.TemporaryDirectory(prefix="roadmask-"))
        while waiting:
            reason = yield from _made(orders)
            if waiting:  # that check has come to no end
                yield waiting.pop(0), Finding("check", "problem", reason, REPORT)


def broken_library() -> str:
    """The first library of the base install that cannot be used, and what to do, in one line; empty where all can."""
    for _, finding in examine(["versions"]):  # in another process: what has failed to be imported may fail otherwise
        if finding.state == "problem" and finding.name != "check":
            return f"{finding.name} {finding.found}; {finding.advice}"
    return ""


def _made(orders: dict[str, Any]) -> Generator[tuple[str, Finding], None, str]:
    """What a process finds, whose checks are taken off those that wait; returns why it made no more of them."""
    words: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
    waiting, patience = orders["checks"], 0.0
    try:
        with HelperProcess("doctor.doctor", orders, words.put, on_end=lambda: words.put(None)) as process:
            process.start()
            while waiting:
                patience = _SLOW_PATIENCE_S if waiting[0] in SLOW_CHECKS else _PATIENCE_S
                if (word := words.get(timeout=patience)) is None:
                    break
                if word.pop("event") == "found":
                    yield waiting[0], Finding(**word)
                else:
                    del waiting[0]
    except Empty:
        return f"the check found nothing for {patience:.0f} s, and was ended"
    except (HelperGone, OSError, RuntimeError) as exc:  # no memory, no more processes or threads
        return f"no process can be started for the check: {first_line(exc)}"
    ended = f"exit code {process.exit_code}"
    with suppress(ValueError):  # no signal's
        name = signal.Signals(-(process.exit_code or 0)).name
        ended = name + _HINTS.get(name, "")
    return f"the check has ended its process ({ended})"


def main() -> None:
    """In that process: says of each check that was ordered what it has found, as it comes, and when it is made."""
    orders, _ = take_orders()
    logging.disable()  # what modules would warn of is found here, or told by the check
    for check in orders["checks"]:
        # A folder that goes with the other process, however this one ends; "disk" looks at the usual one.
        tempfile.tempdir = None if check == "disk" else orders["folder"]
        for finding in findings(check):
            say(event="found", **asdict(finding))
        say(event="made")


def findings(check: str) -> Iterator[Finding]:
    """What one check finds; where it fails itself, that is a finding, too."""
    try:
        # Imported here and not above: what is broken may be a library that the check needs.
        module = import_module(f".{(CHECKS | SLOW_CHECKS).get(check, check)}", __package__)
        yield from getattr(module, check)()
    except ImportError as exc:
        advice = "first mend what 'roadmask doctor versions' finds"
        yield Finding("check", "problem", f"cannot be made: {first_line(exc)}", advice)
    except Exception as exc:  # noqa: BLE001 - told as what was found
        found, advice = f"the check has failed ({type(exc).__name__}: {first_line(exc)})", REPORT
        cause: BaseException | None = exc
        while cause is not None:
            if is_out_of_memory(cause):
                found, advice = "memory ran out", "end other programs, or give the container more"
            cause = cause.__cause__ or cause.__context__
        yield Finding("check", "problem", found, advice)
