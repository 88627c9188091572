"""NVIDIA's libraries where pip puts them: ONNX Runtime's providers need them, and no system looks for them there.

`pip install 'onnxruntime-gpu[cuda,cudnn]'` and torch bring CUDA and cuDNN in folders of a package `nvidia`, TensorRT's
package has one of its own. What a process has loaded already is found by its name alone, so they are loaded here
before the provider asks for them.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import re
import sys
from functools import cache
from pathlib import Path

_CUDA = "pip install 'onnxruntime-gpu[cuda,cudnn]' brings what is missing"
_TENSORRT = ("libnvinfer", "libnvinfer_plugin", "libnvonnxparser")  # each needs those before it


@cache
def load_cuda() -> str:
    """Load CUDA and cuDNN. Says what is missing, and what to do; empty where nothing is known to be."""
    import onnxruntime

    preload = getattr(onnxruntime, "preload_dlls", None)  # since ONNX Runtime 1.21; does nothing in builds without CUDA
    if preload is None:
        return ""
    told = io.StringIO()
    # By itself it looks beside ONNX Runtime alone: in an environment over another, the libraries may be in the other.
    for folder in (None, *_installed("nvidia/*/lib")):
        told = io.StringIO()
        with contextlib.redirect_stdout(told):  # it tells by printing, each time of all that is not loaded yet
            preload(directory=folder and str(folder))
    missing = re.findall(r"Failed to load (\S+):", told.getvalue())
    return f"{', '.join(missing)} cannot be loaded; {_CUDA}" if missing else ""


@cache
def load_tensorrt() -> str:
    """As `load_cuda`, with TensorRT."""
    missing = load_cuda()
    for name in _TENSORRT:
        for folder in _installed("tensorrt_libs"):
            for library in sorted(folder.glob(f"{name}.so.*")):
                with contextlib.suppress(OSError):
                    ctypes.CDLL(str(library))
    if missing or (wanted := _wanted_by_provider()) is None:
        return missing
    try:
        ctypes.CDLL(wanted)
    except OSError:
        release = wanted.rpartition(".")[2]
        return f"{wanted} cannot be loaded; pip install 'tensorrt=={release}.*' brings it"
    return ""


def _installed(pattern: str) -> list[Path]:
    """Folders of that name in all the places that packages are imported from."""
    places = [Path(place) for place in sys.path if Path(place).is_absolute()]
    return [folder for place in places for folder in sorted(place.glob(pattern)) if folder.is_dir()]


def _wanted_by_provider() -> str | None:
    """The file of TensorRT that the provider was built for: of another release, it does not start."""
    import onnxruntime

    provider = Path(onnxruntime.__file__).parent / "capi" / "libonnxruntime_providers_tensorrt.so"
    found = re.search(rb"libnvinfer\.so\.\d+", provider.read_bytes()) if provider.is_file() else None
    return found and found[0].decode()
