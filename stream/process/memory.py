"""The most memory that this process had in use at a time, and whether there was too little of it."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

_PROCESS = Path("/proc/self")
_TOO_LITTLE = (
    "allocate memory",
    "insufficient memory",
    "out of memory",
    "outofmemory",
    "bad_alloc",
    "bad allocation",
    "alloc_failed",
    "can't start new thread",
)


def is_out_of_memory(exc: BaseException) -> bool:
    """Libraries and devices have words of their own for it, in exceptions of no special class."""
    return isinstance(exc, MemoryError) or any(words in str(exc).lower() for words in _TOO_LITTLE)


def forget_peak() -> None:
    """Begin a new peak. Only Linux can; elsewhere the peak is that of the process's life."""
    with suppress(OSError):
        (_PROCESS / "clear_refs").write_text("5", encoding="ascii")  # proc(5): resets VmHWM


def peak_memory_mb() -> float | None:
    """The peak of resident memory, in MB of a million bytes; `None` on Windows."""
    with suppress(OSError):
        for line in (_PROCESS / "status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    with suppress(ImportError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
    return None
