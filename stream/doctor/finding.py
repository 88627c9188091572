"""What a check of `roadmask doctor` has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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


def first_line(exc: BaseException) -> str:
    """What an exception says, in one line and never empty."""
    said = str(getattr(exc, "strerror", None) or exc)  # FFmpeg's and the system's words, without number and call
    return next((line.strip() for line in said.splitlines() if line.strip()), type(exc).__name__)


def megabytes(count: float) -> str:
    """As in "850 MB" or "12.3 GB", of a million and a thousand million bytes."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
