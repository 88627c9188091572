"""ONNX Runtime sessions: opened on a device, called, and their failures in plain words.

Inputs and outputs are plain arrays, without IO binding. Measured on a CPU, binding them to arrays that are there saves
nothing (0.99 of the time, within the noise: outputs are handed over, not copied, and ONNX Runtime keeps their memory
for the next call). For a GPU it copies inside `run`, without Python's lock; what is bound to the device is copied under
that lock later, and page-locked memory cannot be had from Python for the providers that are built in.

Nor do other settings make a CPU quicker: with fixed sizes it takes 1.00 to 1.01 of the time, without memory patterns
0.99 to 1.00, without the arena 1.00 to 1.05. Without the arena two calls side by side take 254 MB instead of 189.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ..errors import DeviceError, ModelError, first_line
from ..spec import ModelSpec
from ..system.machine import is_out_of_memory
from ..system.stop import within
from .libraries import load_cuda, load_tensorrt
from .providers import Placement, Work, provider_options, rest_options

# A model may come from anywhere, and compute for hours: in the first run of a size, or where constants are folded.
FIRST_PICTURE_S = 60.0
LOAD_S = 60.0
_SMALLER = "take a smaller model or a faster device"
_COMPILING = 60  # times as long, for devices that compile
_LIBRARIES = {"cuda": load_cuda, "tensorrt": load_tensorrt}
_SILENT = 4  # its warnings are about graphs, and users cannot act on them; what fails is raised as well as logged
_USUAL = 2  # ONNX Runtime's own default: warnings


def open_session(
    path: Path, placement: Placement, work: Work, sizes: Mapping[str, int] | None = None
) -> onnxruntime.InferenceSession:
    """A session of the model on the placement's device, with `sizes` for its free dimensions.

    Raises:
        ModelError: not a model that ONNX Runtime can load.
        DeviceError: the device does not start, cannot run it, or its memory is too small.
    """
    options = _session_options(placement, work)
    for name, size in (sizes or {}).items():
        options.add_free_dimension_override_by_name(name, size)
    providers: list[tuple[str, dict[str, Any]]] = [(placement.device.provider, provider_options(placement, work))]
    providers += [(provider, rest_options(placement)) for provider in placement.device.rest]
    load = _LIBRARIES.get(placement.device.name)
    missing = load() if load else ""
    try:
        session = _opened(path, options, providers, placement)
    except DeviceError as exc:
        raise _not_started(placement, missing) if missing else exc from exc
    if session.get_providers()[0] != placement.device.provider:  # it goes on with the CPU without a word
        raise _not_started(placement, missing)
    return session


def _not_started(placement: Placement, missing: str) -> DeviceError:
    return DeviceError(f"device {str(placement)!r} did not start; {missing or 'is its driver installed?'}")


def describe(path: Path) -> onnxruntime.InferenceSession:
    """A session that is quickly opened, to be asked about the model and not to be run."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = _SILENT
    return _opened(path, options, [("CPUExecutionProvider", {})], None)


def _session_options(placement: Placement, work: Work) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = work.threads
    options.log_severity_level = _SILENT
    # Threads that spin while they wait take the cores from decoding and encoding: measured, without spinning a
    # whole run on two cores goes from 0.58 to 0.75 of the bare model's speed.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_mem_pattern = placement.device.memory_pattern
    return options


def _opened(
    path: Path,
    options: onnxruntime.SessionOptions,
    providers: list[tuple[str, dict[str, Any]]],
    placement: Placement | None,
) -> onnxruntime.InferenceSession:
    try:
        with warnings.catch_warnings(), _hushed(placement):
            warnings.simplefilter("ignore", UserWarning)  # about the provider that did not start: that is an error here
            # Without `enable_fallback` off, a device that fails in the middle is left for the CPU, and told on stdout.
            return within(
                _limit_s(LOAD_S, placement),
                lambda: onnxruntime.InferenceSession(
                    str(path), sess_options=options, providers=providers, enable_fallback=False
                ),
                cancel=lambda: _cancel_loading(options),
                late=ModelError(f"{path}: could not be loaded in {_limit_s(LOAD_S, placement):g} s; {_SMALLER}"),
            )
    except ModelError:
        raise
    except Exception as exc:  # its own classes share no base but Exception, and differ by version
        if placement and is_out_of_memory(exc):
            raise DeviceError(f"device {str(placement)!r}: its memory is too small for {path.name}") from exc
        if placement and placement.device.name != "cpu":
            raise DeviceError(f"device {str(placement)!r} cannot run {path.name} ({_said(exc)})") from exc
        raise ModelError(f"{path}: ONNX Runtime cannot load this file ({first_line(exc)})") from exc


@contextmanager
def _hushed(placement: Placement | None) -> Iterator[None]:
    """Providers that are being loaded write to the log of the process, which a session's options do not reach."""
    if not placement or placement.device.name == "cpu":
        yield
        return
    onnxruntime.set_default_logger_severity(_SILENT)
    try:
        yield
    finally:
        onnxruntime.set_default_logger_severity(_USUAL)


def _said(exc: Exception) -> str:
    """What failed, without the lines of ONNX Runtime's own source in which CUDA's failures are wrapped."""
    found = re.search(r"(CUDA|CUDNN|CUBLAS)\w* failure -?\d+: [^;\n]+", str(exc))
    return found[0].strip() if found else first_line(exc)


def is_fp16(spec: ModelSpec) -> bool:
    """Whether the graph computes in fp16, as its exporter noted."""
    return spec.provenance.get("quantization", "").startswith("fp16")


def _cancel_loading(options: onnxruntime.SessionOptions) -> None:
    if hasattr(options, "set_load_cancellation_flag"):  # since ONNX Runtime 1.22
        options.set_load_cancellation_flag(True)


def _limit_s(seconds: float, placement: Placement | None) -> float:
    device = placement and placement.device
    return seconds * _COMPILING if device and (device.building or device.keeps_compiled) else seconds


def run_session(
    session: onnxruntime.InferenceSession,
    spec: ModelSpec,
    pictures: NDArray[np.uint8],
    placement: Placement,
    *,
    first: bool,
) -> NDArray[np.float32]:
    """Scores (n, classes, h', w') of pictures (n, h, w, 3); `first` of that shape, it may not take for ever.

    Raises:
        ModelError: the network fails, takes too long, or gives no such scores, or scores that are no numbers.
        DeviceError: the device fails, or its memory is too small.
    """
    options = onnxruntime.RunOptions()
    count, height, width, _ = pictures.shape

    def run() -> Any:
        return session.run([spec.output_name], {spec.input_name: pictures}, options)[0]

    try:
        scores = _run_first(run, options, pictures.shape, placement) if first else run()
    except ModelError:
        raise
    except Exception as exc:
        if not is_out_of_memory(exc):
            raise _broken(exc, placement) from exc
        what = f"{count} pictures of {width}x{height} at a time" if count > 1 else f"a picture of {width}x{height}"
        do = "lower --batch" if count > 1 else "lower --workers, or take a model of a smaller size"
        raise DeviceError(f"device {str(placement)!r}: out of memory with {what}; {do}") from exc
    if scores.shape[:2] != (count, len(spec.classes)) or scores.ndim != 4 or not scores.size:
        raise ModelError(
            f"the network gives {scores.shape} for {count} pictures and {len(spec.classes)} classes; export it again"
        )
    scores = np.asarray(scores, np.float32)
    if not np.isfinite(scores).all():  # of camvid-lite0's picture 0.07 ms, where its network takes 15
        raise ModelError(
            "the network gives scores that are no numbers (NaN or infinite): it is damaged, or fp16 is too little for "
            "it; take another model, or its float32 twin"
        )
    return scores


def _run_first(
    run: Callable[[], Any], options: onnxruntime.RunOptions, shape: tuple[int, ...], placement: Placement
) -> Any:
    count, height, width, _ = shape
    limit_s = _limit_s(FIRST_PICTURE_S, placement) * count

    def cancel() -> None:
        options.terminate = True  # between two of its nodes

    late = ModelError(f"the network took more than {limit_s:g} s for {count} of {width}x{height}; {_SMALLER}")
    return within(limit_s, run, cancel=cancel, late=late)


def _broken(exc: Exception, placement: Placement) -> Exception:
    """What to say of a network that does not run to its end."""
    if placement.device.name == "cpu":
        return ModelError(f"the network cannot be run ({first_line(exc)}); is the model whole? export it again")
    return DeviceError(
        f"device {str(placement)!r} has failed ({_said(exc)}); try again (with --resume a video goes on), "
        "or begin anew with --device cpu"
    )
