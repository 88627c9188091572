"""OpenVINO: the model file compiled for a size of pictures, kept for later runs, called by several threads at a time.

Scores are the same bit for bit whatever threads, streams and size it is compiled for, afresh or from what was kept.
Compiled for pictures of any size it takes 1.03 (bfloat16) to 1.12 (int8) of the time.
"""

from __future__ import annotations

import hashlib
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DeviceError, first_line
from ..spec import ModelSpec
from ..system.disk import replace_file
from ..system.machine import is_out_of_memory
from .providers import Placement, Work, compiled_folder
from .sessions import Call, opened_in_time

_PACKAGE, _CONVERTER = "openvino", "openvino.tools.ovc"
_MOST_KEPT = 400_000_000  # bytes of all compiled models; one size of the model in the box takes 13 million, in int8 4
_CHECKSUM_BYTES = 4
_OPENING = threading.Lock()  # its bindings set themselves up as they are called first, which is not for two threads
_PRECISIONS = {"fp32": "f32", "bf16": "bf16"}


class OpenVinoFile:
    """A model file for OpenVINO, of which `session` compiles what is asked for."""

    def __init__(self, path: Path, placement: Placement, work: Work, spec: ModelSpec) -> None:
        """`work` is of no shape yet.

        Raises:
            DeviceError: OpenVINO is not there, or cannot run the model on the device.
        """
        self._path, self._placement, self._spec = path, placement, spec
        self._device = "CPU" if placement.is_cpu else placement.unit.upper()
        self._folder = compiled_folder(placement, work)
        self._of_model = f"{work.model_sha256[:16]}-{placement.unit}-"
        self._model: Any = None  # read, and not compiled yet
        self._in_time(self._look)

    def session(self, work: Work) -> OpenVinoSession:
        """Ready for pictures of `work`'s size, or any, one at a time; raises as `OpenVinoFile`."""
        return OpenVinoSession(self._in_time(lambda: self._compiled(work)), self._spec)

    def _in_time(self, opened: Any) -> Any:
        def plainly() -> Any:
            with _OPENING, _in_a_line():
                return opened()

        return opened_in_time(self._path, self._placement, plainly, cancel=lambda: None)

    def _look(self) -> None:
        """What cannot be run is found now, while another device may still be taken."""
        core = _core()
        if not self._placement.is_cpu and self._device.partition(".")[0] not in (there := core.available_devices):
            raise DeviceError(
                f"device {str(self._placement)!r} is not there: OpenVINO finds {', '.join(there)}; "
                "is its driver installed?"
            )
        self._can = core.get_property(self._device, "OPTIMIZATION_CAPABILITIES")
        if self._placement.unit == "bf16" and "BF16" not in self._can:
            raise DeviceError("device 'openvino:bf16': this CPU does not compute in bf16; take openvino:fp32")
        name = core.get_property(self._device, "FULL_DEVICE_NAME")
        about = f"{_runtime().__version__} {name} {sorted(self._can)}"
        self._of_machine = hashlib.sha256(about.encode()).hexdigest()[:8]
        if not any(self._folder.glob(f"{self._of_model}*-{self._of_machine}.blob")):
            self._model = core.read_model(self._path)

    def _compiled(self, work: Work) -> Any:
        core, options = _core(), self._options(work)
        size = f"{work.shape[2]}x{work.shape[1]}" if work.shape else "any"
        kept = self._folder / f"{self._of_model}{size}-{self._of_machine}.blob"
        with suppress(OSError, RuntimeError):  # what is not there or damaged is compiled anew
            with kept.open("rb") as file:
                checksum, content = file.read(_CHECKSUM_BYTES), file.read()
            if _checksum(content) == checksum:
                compiled = core.import_model(content, self._device, options)
                kept.touch()
                return compiled
        model, self._model = self._model or core.read_model(self._path), None
        if work.shape:
            model.reshape({self._spec.input_name: [*work.shape, 3]})
        compiled = core.compile_model(model, self._device, options)
        if "EXPORT_IMPORT" in self._can:
            _keep(kept, compiled)
        return compiled

    def _options(self, work: Work) -> dict[str, Any]:
        """Threads and streams are of no matter to what is compiled."""
        hint = {"PERFORMANCE_HINT": "LATENCY" if work.calls == 1 else "THROUGHPUT"}
        if not self._placement.is_cpu:
            return hint | {"EXECUTION_MODE_HINT": "ACCURACY"}
        return hint | {
            "INFERENCE_PRECISION_HINT": _PRECISIONS[self._placement.unit],
            "NUM_STREAMS": work.calls,
            "INFERENCE_NUM_THREADS": work.calls * work.threads,
            # Bound to cores, its threads would wait for what else runs there, and those of two runs for each other.
            "ENABLE_CPU_PINNING": False,
        }


class OpenVinoSession:
    def __init__(self, compiled: Any, spec: ModelSpec) -> None:
        self._compiled = compiled
        self._output = spec.output_name
        self._idle: list[Any] = []  # requests: each has memory of its own, and is for one thread at a time

    def call(self, pictures: NDArray[np.uint8]) -> Call:
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()

        def run() -> Any:
            with _in_a_line():
                scores = request.infer([pictures], share_inputs=True)[self._output]
            self._idle.append(request)
            return scores

        return Call(run, request.cancel)


def _keep(path: Path, compiled: Any) -> None:
    """For later runs, and of others those that were used last. Where nothing can be kept, nothing is."""
    with suppress(OSError):
        exported = compiled.export_model()
        content = exported.getvalue() if isinstance(exported, BytesIO) else bytes(exported)  # by version
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, _checksum(content) + content)
        others = sorted(path.parent.glob("*.blob"), key=lambda other: other.stat().st_mtime_ns, reverse=True)
        size = 0
        for other in others:
            size += other.stat().st_size
            if size > _MOST_KEPT and other != path:
                other.unlink()


def _checksum(content: bytes) -> bytes:
    """OpenVINO takes a file with a damaged weight for a whole one."""
    return zlib.crc32(content).to_bytes(_CHECKSUM_BYTES)


@contextmanager
def _in_a_line() -> Iterator[None]:
    """What it says of a failure ends with the reason; before that are places in its source."""
    try:
        yield
    except RuntimeError as exc:
        said = [line.strip() for line in str(exc).splitlines() if line.strip()]
        if is_out_of_memory(exc) or len(said) < 2:
            raise
        raise RuntimeError(said[-1]) from exc


@cache
def _core() -> Any:
    openvino = _runtime()
    # What it looks up in NumPy at its first array it looks up under a lock, in which it may lose Python's: two threads
    # that come with their first arrays at once would wait for each other for ever (seen with 2026.4).
    openvino.Tensor(np.zeros(1, np.uint8)).data.copy()
    return openvino.Core()


@cache
def _runtime() -> Any:
    """The package without its converter, whose import takes longer than the rest, and sends telemetry.

    Raises:
        DeviceError: it cannot be imported.
    """
    unwanted = _PACKAGE not in sys.modules and _CONVERTER not in sys.modules
    if unwanted:
        sys.modules[_CONVERTER] = None  # type: ignore[assignment] # what the import system takes for "there is none"
    try:
        return import_module(_PACKAGE)
    except Exception as exc:  # libraries of the system that are missing or too old raise what they like
        raise DeviceError(
            f"openvino cannot be imported ({first_line(exc)}); install it again, or take --device cpu"
        ) from exc
    finally:
        if unwanted:
            del sys.modules[_CONVERTER]
