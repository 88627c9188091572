"""Libraries and extras, cores and memory, folders that are written to: what can be looked at without any library."""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from pathlib import Path

from .. import __version__
from ..errors import first_line
from ..system.machine import cache_folder, usable_cores
from ..system.talk import install_command
from .doctor import Finding, State

EXTRAS = {
    "train": "roadmask train, lr-find and data",
    "export": "roadmask export, adopt and eval",
    "openvino": "--device openvino, the quickest on CPUs with VNNI or BF16",
    "serve": "--serve, the live view in a browser",
    "heic": "pictures as .heic",
    "parquet": "statistics as .parquet",
    "coco": "convert --to coco",
    "ray": "--ray, a cluster of machines",
    "zarr": "convert -o masks.zarr",
    "remote": "videos and results by s3:// and other URLs",
}
# Of the base install, and the package that each is imported from after a plain install; numpy first, as others need it.
MODULES = {name: name for name in ("numpy", "av", "onnxruntime", "cv2", "rich", "typer")} | {
    "cv2": "opencv-python-headless"
}
_CGROUP, _MEMINFO = Path("/sys/fs/cgroup"), Path("/proc/meminfo")
# A run of 960x540 takes 0.3 GB with all outputs, one of the largest pictures that are taken unasked nearly 1 GB.
_MEMORY = 1_000_000_000, 400_000_000  # enough, and too little
# An hour of 1080p gives an overlay of about 2 GB and masks of about 0.5 GB; a TensorRT engine takes tens of megabytes.
_ROOM, _LITTLE_ROOM = (5_000_000_000, 50_000_000), (500_000_000, 50_000_000)


def versions() -> Iterator[Finding]:
    system = f"Python {platform.python_version()} on {platform.system()} {platform.release()} {platform.machine()}"
    yield Finding("roadmask", "ok", f"{__version__}, {system}")
    wanted, bringing = _wanted_versions(), packages_distributions()
    for module, usual in MODULES.items():
        there = sorted(set(filter(None, bringing.get(module, ()))))
        yield _library(module, usual, there, wanted[""].get(usual, ""))
    for extra, gives in EXTRAS.items():
        yield _extra(extra, gives, wanted[extra])


def _library(module: str, usual: str, there: Sequence[str], wanted: str) -> Finding:
    """`there` are the packages that bring it here; several overwrite each other's files."""
    name, package = usual.partition("-")[0], (*there, usual)[0]
    imported, failure, found = None, "", _version(package) or ""
    try:
        imported = import_module(module)
        found = str(getattr(imported, "__version__", None) or found or "of unknown version")
    except Exception as exc:  # noqa: BLE001 - a broken library raises what it likes
        failure = _root_of(exc)
    if found and (misfit := _misfit(found, wanted)):
        return Finding(name, "problem", f"{found} is {misfit}: {wanted} is needed", f"pip install '{package}{wanted}'")
    if failure:
        advice = f"pip install {'--force-reinstall ' if there else ''}'{package}{wanted}'"
        if package != usual:  # it wants more of the system than the usual one: a display's libraries, CUDA's
            advice = f"install what it lacks; or pip uninstall {package}, then pip install '{usual}{wanted}'"
        return Finding(name, "problem", f"{found} cannot be imported: {failure}".strip(), advice)
    if module == "av":
        found += f", FFmpeg {getattr(imported, 'ffmpeg_version_info', 'of unknown version')}"
    if len(there) > 1:
        advice = f"pip uninstall {' '.join(there)}; then pip install the one that you want"
        return Finding(name, "warning", f"{found}; {' and '.join(there)} overwrite each other's files", advice)
    return Finding(name, "ok", found if package == name else f"{found}, {package}")


def _root_of(exc: BaseException) -> str:
    """In one line, what is behind it: NumPy wraps what is wrong with it into a page of advice."""
    while exc.__cause__ is not None:
        exc = exc.__cause__
    return first_line(exc)


def _extra(extra: str, gives: str, wanted: dict[str, str]) -> Finding:
    name, command = f"[{extra}]", install_command(extra)
    found = {package: _version(package) for package in wanted}
    if missing := [package for package in wanted if found[package] is None]:
        return Finding(name, "ok", f"not installed: no {', '.join(missing)}", f"for {gives}: {command}")
    misfits = {package: _misfit(found[package], wanted[package]) for package in wanted}
    if told := [f"{package} {found[package]} is {misfit}" for package, misfit in misfits.items() if misfit]:
        return Finding(name, "warning", f"not for {gives}: {', '.join(told)}", f"{command} --upgrade")
    return Finding(name, "ok", gives)


def _version(package: str) -> str | None:
    with suppress(PackageNotFoundError):
        return version(package)
    return None


def _wanted_versions() -> dict[str, dict[str, str]]:
    """Of each package of each extra, "" for the base install, as this installation was told: ">=18.1,<19"."""
    wanted: dict[str, dict[str, str]] = defaultdict(dict)
    with suppress(PackageNotFoundError):
        for line in requires("roadmask") or []:
            if match := re.match(r"([\w.-]+)([<>][^; ]*)(?:.*extra == .(\w+))?", line):
                wanted[match[3] or ""][match[1]] = ",".join(sorted(match[2].split(","), reverse=True))
    return wanted


def _misfit(found: str | None, wanted: str) -> str:
    numbers = _numbers(found)
    for limit in filter(None, wanted.split(",")):
        if limit.startswith(">=") and numbers < _numbers(limit[2:]):
            return "too old"
        if limit.startswith("<") and numbers >= _numbers(limit[1:]):
            return "too new"
    return ""


def _numbers(text: str | None) -> tuple[int, ...]:
    """The release of a version: (2, 6, 0) of "2.6.0+cpu"."""
    return tuple(map(int, re.findall(r"\d+", re.split(r"[^\d.]", text or "")[0])))


def machine() -> Iterator[Finding]:
    usable, there = usable_cores(), os.cpu_count() or 1
    why = "a scheduler mask or a container allows no more" if usable < there else "all that there are"
    yield Finding("cores", "ok", f"{usable} of {there}: {why}")
    yield memory()


def memory(meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> Finding:
    """Of the machine or of the container (control groups, version 2), whichever has less; caches of files are free."""
    from rich.filesize import decimal  # which may be what is broken

    found = []
    with suppress(OSError, ValueError, KeyError):
        told = dict(re.findall(r"(\w+): +(\d+)", meminfo.read_text(encoding="ascii")))
        found.append((1024 * int(told["MemAvailable"]), 1024 * int(told["MemTotal"]), "the machine"))
    with suppress(OSError, ValueError):  # no such system, or "max"
        limit, used = (int((cgroup / name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current"))
        cached = re.findall(r"^inactive_file (\d+)", (cgroup / "memory.stat").read_text(encoding="ascii"), re.MULTILINE)
        found.append((max(limit - used + sum(map(int, cached)), 0), limit, "the container"))
    if not found:
        return Finding("memory", "ok", "not known on this system")
    free, total, what = min(found)
    advice = "end other programs, or give the container more; until then --jobs 1 --workers 1, and small videos"
    return _judged("memory", free, _MEMORY, f"{decimal(free)} of {what}'s {decimal(total)} are free", advice)


def disk() -> Iterator[Finding]:
    setting = "LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME"
    # Where outputs go that have no folder of their own; nothing is written to it.
    yield folder("here", Path.cwd, "warning", _ROOM, "name outputs in another folder: -o FOLDER/", touched=False)
    yield folder("temporary", lambda: Path(tempfile.gettempdir()), "problem", _LITTLE_ROOM, "set TMPDIR to another one")
    # Where devices and OpenVINO keep what they compile; ONNX Runtime's CPU keeps nothing.
    yield folder("cache", cache_folder, "warning", _LITTLE_ROOM, f"set {setting} to another folder")


def folder(
    name: str, find: Callable[[], Path], state: State, room: tuple[int, int], advice: str, *, touched: bool = True
) -> Finding:
    """What permissions promise, a file system may not keep (quotas, network shares, sandboxes), so it is touched."""
    from rich.filesize import decimal  # as above

    path = Path(name)
    try:
        path = find()
        if touched:
            path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path, prefix="roadmask-", buffering=0) as file:
                file.write(bytes(1 << 16))
        elif not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError("no permission")
        free = shutil.disk_usage(path).free
    except OSError as exc:
        return Finding(name, state, f"{path}: cannot be written to ({first_line(exc)})", advice)
    return _judged(name, free, room, f"{path}: writable, {decimal(free)} free", f"make room, or {advice}")


def _judged(name: str, free: int, limits: tuple[int, int], found: str, advice: str) -> Finding:
    state: State = "ok" if free >= limits[0] else "warning" if free >= limits[1] else "problem"
    return Finding(name, state, found, "" if state == "ok" else advice)
