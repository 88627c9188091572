"""Cores and memory that may be used, and variables of the environment that make libraries slow or leave traces."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from ..system.machine import usable_cores
from .doctor import Finding, megabytes

_CGROUP, _MEMINFO = Path("/sys/fs/cgroup"), Path("/proc/meminfo")
# A run of 960x540 takes 0.3 GB with all outputs, one of the largest pictures that are taken unasked nearly 1 GB.
_ENOUGH, _TOO_LITTLE = 1_000_000_000, 400_000_000

# What a variable does to roadmask, wherever it is set at all: OpenCV's and NumPy's own lists of variables.
_HARMFUL = {
    "OPENCV_TRACE": "makes OpenCV slow, and leaves OpenCVTrace files in the working folder",
    "OPENCV_CPU_DISABLE": "keeps OpenCV from parts of the processor that make it quick",
    "OPENCV_IO_MAX_IMAGE_PIXELS": "may keep masks and pictures from being read",
    "OPENCV_IO_MAX_IMAGE_WIDTH": "may keep masks and pictures from being read",
    "OPENCV_IO_MAX_IMAGE_HEIGHT": "may keep masks and pictures from being read",
    "NPY_DISABLE_CPU_FEATURES": "keeps NumPy from parts of the processor that make it quick",
}
# Only torch, which trains, obeys these.
_HARMFUL_TO_TRAINING = {
    "OMP_WAIT_POLICY": ("active", "makes waiting threads take the cores that others could use"),
    "KMP_BLOCKTIME": ("infinite", "makes waiting threads take the cores that others could use"),
}


def examine() -> Iterator[Finding]:
    yield cores()
    yield memory()
    harm = list(harmful(os.environ))
    yield from harm or [Finding("environment", "ok", "no variable that hurts is set")]


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
    """As `_machine_memory`, of the control group, version 2 or 1; a cache of files counts as free."""
    names = ("memory.max", "memory.current", "memory.stat")
    folder, cached = cgroup, "inactive_file "
    if (cgroup / "memory").is_dir():
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat")
        folder, cached = cgroup / "memory", "total_inactive_file "
    with suppress(OSError, ValueError):  # no such system, or "max"
        limit, used = (int((folder / name).read_text(encoding="ascii")) for name in names[:2])
        stat = (folder / names[2]).read_text(encoding="ascii").splitlines()
        reclaimable = sum(int(line.removeprefix(cached)) for line in stat if line.startswith(cached))
        return [(limit - used + reclaimable, limit, "the container")]
    return []


def harmful(environment: Mapping[str, str]) -> Iterator[Finding]:
    """A warning for each variable that hurts."""
    for name, harm in _HARMFUL.items():
        if environment.get(name, "").lower() not in ("", "0", "false"):
            yield _warning(name, environment[name], harm)
    # Set by `stream` itself where nobody else has.
    if environment.get("ORT_DISABLE_TELEMETRY", "1") != "1":
        yield _warning(
            "ORT_DISABLE_TELEMETRY", environment["ORT_DISABLE_TELEMETRY"], "lets ONNX Runtime send telemetry"
        )
    if find_spec("torch"):
        yield from _harmful_to_training(environment)


def _harmful_to_training(environment: Mapping[str, str]) -> Iterator[Finding]:
    for name, (value, harm) in _HARMFUL_TO_TRAINING.items():
        if environment.get(name, "").lower() == value:
            yield _warning(name, value, f"in training {harm}")
    threads, usable = environment.get("OMP_NUM_THREADS", ""), usable_cores()
    if threads.isdigit() and int(threads) != usable:
        slow = "leaves cores idle" if int(threads) < usable else "makes threads wait for each other"
        yield _warning("OMP_NUM_THREADS", threads, f"in training {slow}: {usable} cores are usable")


def _warning(name: str, value: str, harm: str) -> Finding:
    return Finding(name, "warning", f"{value!r} {harm}", f"unset {name}")
