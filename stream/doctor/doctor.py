"""Check an installation: every check in turn, in a process of its own that may crash or hang without taking this one.

Libraries end a process that meets a processor, a driver or a display that they cannot live with; what they end here
is told as what was found, and the checks behind it are made in a new process.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any, Literal

from ..system.helper_process import HelperGone, HelperProcess

# In the order of asking: what a check needs is looked at by one before it. Each is `examine` of a module of that name.
CHECKS = {
    "versions": "libraries, and the extras that are installed",
    "machine": "cores and memory",
    "disk": "free space, and whether folders can be written to",
    "codecs": "what can be encoded and decoded",
    "devices": "what the network runs on, and whether it gives there what it gives on the CPU",
    "cameras": "webcams, and whether they can be opened",
    "display": "whether --show can open a window",
    "selftest": "a drawn video, segmented as any other",
}
# Made only where they are named.
SLOW_CHECKS = {"engines": "devices that build for minutes first: TensorRT, MIGraphX"}
_PATIENCE_S = 60.0  # for one thing to be found out
_SLOW_PATIENCE_S = 3600.0
_HINTS = {"SIGILL": ": an instruction that this processor lacks", "SIGKILL": ", as when memory runs out"}

# A warning: something does not work, or slowly, but videos can be segmented. A problem: they cannot, or wrongly.
State = Literal["ok", "warning", "problem"]
STATES: tuple[State, ...] = ("ok", "warning", "problem")  # the worst last
REPORT = "mend what is told above; if this stays, report it with what 'roadmask doctor --json' says"


def examine(checks: Sequence[str] = tuple(CHECKS), *, patience_s: float | None = None) -> Iterator[tuple[str, Finding]]:
    """Every finding, with the name of its check, as it comes.

    Args:
        checks: names in `CHECKS` and `SLOW_CHECKS`, each once.
        patience_s: a check that finds nothing for so long is ended, and told as a problem; `None` for what suits it.
    """
    waiting = list(checks)
    with ExitStack() as stack:
        orders: dict[str, Any] = {"checks": waiting, "folder": None}
        with suppress(OSError):  # "disk" tells it
            orders["folder"] = stack.enter_context(TemporaryDirectory(prefix="roadmask-"))
        while waiting:
            for word in _words(orders, patience_s):
                if word["event"] == "found":
                    yield waiting[0], Finding(**word["finding"])
                elif word["event"] == "done":
                    del waiting[0]
                else:  # the check has come to no end
                    yield waiting.pop(0), Finding("check", "problem", word["reason"], REPORT)


def _words(orders: dict[str, Any], patience_s: float | None) -> Iterator[dict[str, Any]]:
    """What a process says that makes the checks; last, where it has not made them all, "failed" with the reason."""
    words: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
    left, reason = list(orders["checks"]), "the check has ended its process"
    try:
        with HelperProcess("doctor.process", orders, words.put, on_end=lambda: words.put(None)) as process:
            process.start()
            while left:
                patience = patience_s or (_SLOW_PATIENCE_S if left[0] in SLOW_CHECKS else _PATIENCE_S)
                if (word := words.get(timeout=patience)) is None:
                    break
                if word["event"] == "done":
                    del left[0]
                yield word
        reason += _how(process.exit_code)
    except Empty:
        reason = f"the check found nothing for {patience:.0f} s, and was ended"
    except (HelperGone, OSError, RuntimeError) as exc:  # no memory, no more processes or threads
        reason = f"no process can be started for the check: {first_line(exc)}"
    if left:
        yield {"event": "failed", "reason": reason}


def _how(code: int | None) -> str:
    """How a process has ended, in words."""
    if not code or code > 0:
        return f" (exit code {code})"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f" ({name}{_HINTS.get(name, '')})"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of what was found, and one of what to do."""

    name: str  # of the thing, within its check: "onnxruntime", "cuda", "/dev/video0"
    state: State
    found: str
    advice: str = ""  # empty where there is nothing to do


def first_line(exc: BaseException) -> str:
    """What an exception says, in one line and never empty."""
    said = str(getattr(exc, "strerror", None) or exc)  # FFmpeg's and the system's words, without number and call
    return next((line.strip() for line in said.splitlines() if line.strip()), type(exc).__name__)


def megabytes(count: float) -> str:
    """As in "850 MB" or "12.3 GB", of a million and a thousand million bytes."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
