"""Which libraries are there, whether they can be imported and are new enough; which extras, and what each gives."""

from __future__ import annotations

import platform
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version

from .doctor import Finding, first_line

EXTRAS = {
    "train": "roadmask train, lr-find and data",
    "export": "roadmask export and eval",
    "serve": "--serve, the live view in a browser",
    "parquet": "statistics as .parquet",
    "coco": "convert --to coco",
    "ray": "--ray, a cluster of machines",
    "zarr": "convert -o masks.zarr",
    "remote": "videos and results by s3:// and other URLs",
}
MODULES = ("av", "onnxruntime", "cv2", "numpy", "rich", "typer")  # of the base install
# What else than the package of a module's own name brings it; first what a plain install takes. Beside each other, such
# packages overwrite each other's files.
BRINGS = {
    "onnxruntime": (
        *("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml"),
        *("onnxruntime-migraphx", "onnxruntime-rocm", "onnxruntime-training"),
    ),
    "cv2": ("opencv-python-headless", "opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless"),
}


def versions() -> Iterator[Finding]:
    system = f"Python {platform.python_version()} on {platform.system()} {platform.release()} {platform.machine()}"
    yield Finding("roadmask", "ok", f"{_version('roadmask') or 'not installed, run from its folder'}, {system}")
    least = _least_versions()
    for module in MODULES:
        yield _library(module, least[""])
    for extra, gives in EXTRAS.items():
        yield _extra(extra, gives, least[extra])


def _library(module: str, least: dict[str, str]) -> Finding:
    name, brings = "opencv" if module == "cv2" else module, BRINGS.get(module, (module,))
    there = [package for package in brings if _version(package)]
    package = (there or brings)[0]
    try:
        imported = import_module(module)
    except Exception as exc:  # noqa: BLE001 - a broken library raises what it likes
        advice = f"pip install {'--force-reinstall ' if there else ''}{package}"
        if package != brings[0]:  # it wants more of the system than the usual one: a display's libraries, CUDA's
            advice = f"install what it lacks; or pip uninstall {package}, then pip install {brings[0]}"
        return Finding(name, "problem", f"cannot be imported: {first_line(exc)}", advice)
    found = str(getattr(imported, "__version__", None) or _version(package) or "of unknown version")
    if module == "av":
        found += f", FFmpeg {getattr(imported, 'ffmpeg_version_info', 'of unknown version')}"
    if len(there) > 1:
        advice = f"pip uninstall {' '.join(there)}; then pip install the one that you want"
        return Finding(name, "warning", f"{found}; {' and '.join(there)} overwrite each other's files", advice)
    wanted = least.get(brings[0], "0")
    if _numbers(found) < _numbers(wanted):
        return Finding(name, "problem", f"{found} is too old", f"pip install --upgrade '{package}>={wanted}'")
    return Finding(name, "ok", found if package == name else f"{found}, {package}")


def _extra(extra: str, gives: str, least: dict[str, str]) -> Finding:
    name, command = f"[{extra}]", f"'roadmask[{extra}]'"
    found = {package: _version(package) for package in least}
    if missing := [package for package in least if found[package] is None]:
        return Finding(name, "ok", f"not installed: no {', '.join(missing)}", f"for {gives}: pip install {command}")
    if old := [
        f"{package} {found[package]}" for package in least if _numbers(found[package] or "") < _numbers(least[package])
    ]:
        return Finding(name, "warning", f"too old for {gives}: {', '.join(old)}", f"pip install --upgrade {command}")
    return Finding(name, "ok", gives)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _least_versions() -> dict[str, dict[str, str]]:
    """The oldest version of each package of each extra, "" for the base install, as this installation was told."""
    least: dict[str, dict[str, str]] = defaultdict(dict)
    with suppress(PackageNotFoundError):
        for line in requires("roadmask") or []:
            if match := re.match(r"([\w.-]+)>=([\w.]+)(?:.*extra == .(\w+))?", line):
                least[match[3] or ""][match[1]] = match[2]
    return least


def _numbers(text: str) -> tuple[int, ...]:
    """The release of a version: (2, 6, 0) of "2.6.0+cpu"."""
    release = re.match(r"[\d.]*", text)
    return tuple(map(int, re.findall(r"\d+", release[0]))) if release else ()
