"""What of the machine this process may use, and uses: cores, memory, and the user's folders."""

from __future__ import annotations

import math
import os
import re
import sys
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Literal

from ..errors import DeviceError

_CGROUP = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 16
_PROCESS = Path("/proc/self")
_INSTRUCTIONS = {  # as Linux calls them
    "bf16": {"avx512_bf16", "amx_bf16"},
    "int8": {"avx512_vnni", "avx_vnni", "amx_int8"},
}
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


def usable_cores(cgroup: Path = _CGROUP) -> int:
    """Cores that the process may run on, and may use up, at least 1.

    What a scheduler mask (taskset, a container's cpuset) leaves of the machine's, and of that as many as a container's
    quota pays for: a process that starts more threads than its quota is stopped for a part of every tenth of a second.

    Args:
        cgroup: where Linux shows the limits of the process's control group; version 2 or 1.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS, not on Windows
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(min(cores, _quota(cgroup)), 1)


def _quota(cgroup: Path) -> int:
    """Cores' worth of time that the control group pays for, rounded up."""
    try:
        if (cgroup / "cpu.max").exists():
            quota, period = (cgroup / "cpu.max").read_text(encoding="ascii").split()
        else:
            quota = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text(encoding="ascii")
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text(encoding="ascii")
        return math.ceil(int(quota) / int(period)) if int(quota) > 0 else _UNLIMITED
    except (OSError, ValueError):  # no such system, or "max"
        return _UNLIMITED


@cache
def computes_in(kind: Literal["bf16", "int8"], cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU has instructions that multiply and add in it: BF16, and VNNI for int8.

    As Linux tells it, or NumPy elsewhere, which knows fewer; and of x86-64 alone: others were not measured.
    """
    with suppress(OSError):
        flags = set(re.findall(r"^flags\s*:(.*)$", cpuinfo.read_text(encoding="ascii"), re.MULTILINE)[:1])
        return not _INSTRUCTIONS[kind].isdisjoint(word for line in flags for word in line.split())
    with suppress(ImportError, AttributeError):
        known = import_module("numpy._core._multiarray_umath").__cpu_features__
        return any(known.get(name.replace("_", "").upper()) for name in _INSTRUCTIONS[kind])
    return False


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


def cache_folder() -> Path:
    """Our folder among the user's caches, by the system's own rules."""
    return _own_folder(("LOCALAPPDATA", "AppData/Local"), "Library/Caches", ("XDG_CACHE_HOME", ".cache"))


def settings_folder() -> Path:
    """Our folder among the user's settings, likewise."""
    return _own_folder(("APPDATA", "AppData/Roaming"), "Library/Application Support", ("XDG_CONFIG_HOME", ".config"))


def _own_folder(windows: tuple[str, str], darwin: str, others: tuple[str, str]) -> Path:
    """Each is a variable that says where it is, if there is one, and where below the user's home it is else."""
    variable, place = windows if sys.platform == "win32" else ("", darwin) if sys.platform == "darwin" else others
    base = os.environ.get(variable) if variable else None
    return Path(base or Path.home() / place) / "roadmask"


def make_folder(folder: Path) -> Path:
    """`folder`, which is there then. Raises `DeviceError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise DeviceError(
            f"{folder}: cannot keep compiled models there ({exc.strerror or exc}); free the name, or set XDG_CACHE_HOME"
        ) from exc
    return folder
