"""How many cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 16


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
