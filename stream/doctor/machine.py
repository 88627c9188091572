"""Cores and memory that may be used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ..system.machine import usable_cores
from .doctor import Finding, megabytes

_CGROUP, _MEMINFO = Path("/sys/fs/cgroup"), Path("/proc/meminfo")
# A run of 960x540 takes 0.3 GB with all outputs, one of the largest pictures that are taken unasked nearly 1 GB.
_ENOUGH, _TOO_LITTLE = 1_000_000_000, 400_000_000


def examine() -> Iterator[Finding]:
    yield cores()
    yield memory()


def cores() -> Finding:
    usable, all_cores = usable_cores(), os.cpu_count() or 1
    if usable >= all_cores:
        return Finding("cores", "ok", f"{usable}, all that there are")
    return Finding("cores", "ok", f"{usable} of {all_cores}: a scheduler mask or a container allows no more")


def memory(meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> Finding:
    found = _container_memory(cgroup) + _machine_memory(meminfo)
    if not found:
        return Finding("memory", "ok", "not known on this system")
    free, total, what = min(found)
    text = f"{megabytes(max(free, 0))} of {what}'s {megabytes(total)} are free"
    if free >= _ENOUGH:
        return Finding("memory", "ok", text)
    advice = (
        "end other programs, or give the container more; until then --jobs 1 --workers 1, and videos of 1080p at most"
    )
    return Finding("memory", "problem" if free < _TOO_LITTLE else "warning", text, advice)


def _machine_memory(meminfo: Path) -> list[tuple[int, int, str]]:
    """(bytes free, bytes in all, whose), where the system tells."""
    with suppress(OSError, ValueError, KeyError):
        lines = (line.partition(":") for line in meminfo.read_text(encoding="ascii").splitlines())
        kilobytes = {name: int(rest.split()[0]) for name, _, rest in lines if rest.strip()}
        return [(1024 * kilobytes["MemAvailable"], 1024 * kilobytes["MemTotal"], "the machine")]
    return []


def _container_memory(cgroup: Path) -> list[tuple[int, int, str]]:
    """As `_machine_memory`, of the control group, version 2; a cache of files counts as free."""
    cached = "inactive_file "
    with suppress(OSError, ValueError):  # no such system, or "max"
        limit, used = (int((cgroup / name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current"))
        stat = (cgroup / "memory.stat").read_text(encoding="ascii").splitlines()
        reclaimable = sum(int(line.removeprefix(cached)) for line in stat if line.startswith(cached))
        return [(limit - used + reclaimable, limit, "the container")]
    return []
