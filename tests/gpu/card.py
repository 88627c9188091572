"""The machine that is checked: what it is, and what `nvidia-smi` sees of the GPU while something runs."""

from __future__ import annotations

import platform
import shutil
import statistics
import subprocess
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import onnxruntime


@dataclass(slots=True)
class Watch:
    """What `nvidia-smi` has seen of the GPU meanwhile; `None` where there is none."""

    busy: float | None = None  # percent of the time, on average
    memory_mb: float | None = None  # at most, of all that use it


@contextmanager
def watched() -> Iterator[Watch]:
    watch, seen = Watch(), list[tuple[float, float]]()
    if not shutil.which("nvidia-smi"):
        yield watch
        return
    command = ["nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits", "-lms", "200"]
    smi = subprocess.Popen([*command, "-i", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert smi.stdout is not None

    def read(lines: Iterable[str]) -> None:
        for line in lines:
            with suppress(ValueError):  # "[N/A]", on some machines
                busy, memory = (float(part) for part in line.split(","))
                seen.append((busy, memory))

    reader = threading.Thread(target=read, args=(smi.stdout,), daemon=True)
    reader.start()
    try:
        yield watch
    finally:
        smi.terminate()
        smi.wait()
        reader.join()
        if seen:
            watch.busy, watch.memory_mb = statistics.fmean(busy for busy, _ in seen), max(used for _, used in seen)


def smi(query: str) -> str:
    """What `nvidia-smi` says of the GPUs, a line each; empty where there is none."""
    if not shutil.which("nvidia-smi"):
        return ""
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "onnxruntime": onnxruntime.__version__}
    for name in ("roadmask", "av", "numpy", "opencv-python-headless", "tensorrt", "nvidia-cudnn-cu13", "torch"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found | {"CUDA of onnxruntime": str(getattr(onnxruntime, "cuda_version", "") or "none")}
