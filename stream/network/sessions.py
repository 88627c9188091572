"""Sessions: a model opened on a device by ONNX Runtime, called, and what fails in plain words.

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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import DeviceError, ModelError, first_line
from ..spec import ModelSpec
from ..system.machine import is_out_of_memory, make_folder
from ..system.stop import within
from .libraries import load_cuda, load_tensorrt
from .providers import Placement, Work, compiled_folder, provider_options, rest_options

if TYPE_CHECKING:
    import onnxruntime  # where it is called it is imported: OpenVINO does without, and need not wait for it

# A model may come from anywhere, and compute for hours: in the first run of a size, or where constants are folded.
FIRST_PICTURE_S = 60.0
LOAD_S = 60.0
_SMALLER = "take a smaller model or a faster device"
_COMPILING = 60  # times as long, for devices that compile
_LIBRARIES = {"cuda": load_cuda, "tensorrt": load_tensorrt}
_SILENT = 4  # its warnings are about graphs, and users cannot act on them; what fails is raised as well as logged
_USUAL = 2  # ONNX Runtime's own default: warnings
_SPIN_US = 100  # longer than most waits; on a busy core the int8 twin takes 1.1 times the processor time

T = TypeVar("T")


class Call(NamedTuple):
    """Of a network, that is yet to be made, by one thread."""

    run: Callable[[], Any]  # gives the scores
    cancel: Callable[[], None]  # asks it to end, from another thread


class Session(Protocol):
    """A model that is ready to run. Any thread may call."""

    def call(self, pictures: NDArray[np.uint8]) -> Call: ...


class OnnxRuntimeSession:
    def __init__(self, session: onnxruntime.InferenceSession, spec: ModelSpec) -> None:
        self._session = session
        self._spec = spec

    def call(self, pictures: NDArray[np.uint8]) -> Call:
        import onnxruntime

        options = onnxruntime.RunOptions()
        names, feed = [self._spec.output_name], {self._spec.input_name: pictures}

        def cancel() -> None:
            options.terminate = True  # between two of its nodes

        return Call(lambda: self._session.run(names, feed, options)[0], cancel)


def open_session(
    path: Path, placement: Placement, work: Work, spec: ModelSpec, dimensions: Sequence[str] = ()
) -> Session:
    """A session of the model on the placement's device; the free `dimensions` of its input are of the work's shape.

    Raises:
        ModelError: not a model that ONNX Runtime can load.
        DeviceError: the device does not start, cannot run it, or its memory is too small.
    """
    import onnxruntime

    if placement.device.keeps_compiled:
        make_folder(compiled_folder(placement, work))
    options = _session_options(placement, work)
    for name, size in zip(dimensions, work.shape or (), strict=False):
        options.add_free_dimension_override_by_name(name, size)
    providers: list[tuple[str, dict[str, Any]]] = [(placement.device.provider, provider_options(placement, work))]
    providers += [(provider, rest_options(placement)) for provider in placement.device.rest]
    load = _LIBRARIES.get(placement.device.name)
    missing = load() if load else ""
    try:
        # Without `enable_fallback` off, a device that fails in the middle is left for the CPU, and told on stdout.
        session = opened_in_time(
            path,
            placement,
            lambda: onnxruntime.InferenceSession(
                str(path), sess_options=options, providers=providers, enable_fallback=False
            ),
            cancel=lambda: _cancel_loading(options),
        )
    except DeviceError as exc:
        raise _not_started(placement, missing) if missing else exc from exc
    if session.get_providers()[0] != placement.device.provider:  # it goes on with the CPU without a word
        raise _not_started(placement, missing)
    return OnnxRuntimeSession(session, spec)


def _not_started(placement: Placement, missing: str) -> DeviceError:
    return DeviceError(f"device {str(placement)!r} did not start; {missing or 'is its driver installed?'}")


def _session_options(placement: Placement, work: Work) -> onnxruntime.SessionOptions:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = work.threads
    options.log_severity_level = _SILENT
    # Threads that spin while they wait take the cores from decoding and encoding: measured, without spinning a
    # whole run on two cores goes from 0.58 to 0.75 of the bare model's speed. Where a call is alone, they need not be
    # woken for each of its steps; but not long, as somebody else's work may have a core (to its end before 1.27).
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(work.alone)))
    options.add_session_config_entry("session.intra_op.spin_duration_us", str(_SPIN_US))
    options.add_session_config_entry("session.force_spinning_stop", "1")  # at the end of the call
    options.enable_mem_pattern = placement.device.memory_pattern
    return options


def opened_in_time(path: Path, placement: Placement, opened: Callable[[], T], *, cancel: Callable[[], None]) -> T:
    """What `opened` gives, a model on the placement's device. Raises as `open_session`."""
    limit_s = _limit_s(LOAD_S, placement)
    late = ModelError(f"{path}: could not be loaded in {limit_s:g} s; {_SMALLER}")
    try:
        with warnings.catch_warnings(), _hushed(placement):
            warnings.simplefilter("ignore", UserWarning)  # about the provider that did not start: that is an error here
            return within(limit_s, opened, cancel=cancel, late=late)
    except (ModelError, DeviceError):
        raise
    except Exception as exc:  # its own classes share no base but Exception, and differ by version
        if is_out_of_memory(exc):
            raise DeviceError(
                f"device {str(placement)!r}: its memory is too small for {path.name}; take --device cpu"
            ) from exc
        if placement.device.name == "openvino":
            raise DeviceError(
                f"device {str(placement)!r} cannot run {path.name} ({first_line(exc)}); take --device cpu"
            ) from exc
        if placement.device.name != "cpu":
            raise DeviceError(
                f"device {str(placement)!r} cannot run {path.name} ({_said(exc)}); take --device cpu"
            ) from exc
        raise ModelError(f"{path}: ONNX Runtime cannot load this file ({first_line(exc)}); export it again") from exc


@contextmanager
def _hushed(placement: Placement) -> Iterator[None]:
    """Providers that are being loaded write to the log of the process, which a session's options do not reach."""
    if placement.is_cpu:
        yield
        return
    import onnxruntime

    onnxruntime.set_default_logger_severity(_SILENT)
    try:
        yield
    finally:
        onnxruntime.set_default_logger_severity(_USUAL)


def _said(exc: Exception) -> str:
    """What failed, without the lines of ONNX Runtime's own source in which CUDA's failures are wrapped."""
    found = re.search(r"(CUDA|CUDNN|CUBLAS)\w* failure -?\d+: [^;\n]+", str(exc))
    return found[0].strip() if found else first_line(exc)


def _cancel_loading(options: onnxruntime.SessionOptions) -> None:
    if hasattr(options, "set_load_cancellation_flag"):  # since ONNX Runtime 1.22
        options.set_load_cancellation_flag(True)


def _limit_s(seconds: float, placement: Placement) -> float:
    device = placement.device
    return seconds * _COMPILING if device.building or device.keeps_compiled else seconds


def run_session(
    session: Session,
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
    count, height, width, _ = pictures.shape
    call = session.call(pictures)
    try:
        scores = _run_first(call, pictures.shape, placement) if first else call.run()
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


def _run_first(call: Call, shape: tuple[int, ...], placement: Placement) -> Any:
    count, height, width, _ = shape
    limit_s = _limit_s(FIRST_PICTURE_S, placement) * count
    late = ModelError(f"the network took more than {limit_s:g} s for {count} of {width}x{height}; {_SMALLER}")
    return within(limit_s, call.run, cancel=call.cancel, late=late)


def _broken(exc: Exception, placement: Placement) -> Exception:
    """What to say of a network that does not run to its end."""
    if placement.device.name == "cpu":
        return ModelError(f"the network cannot be run ({first_line(exc)}); is the model whole? export it again")
    return DeviceError(
        f"device {str(placement)!r} has failed ({_said(exc)}); try again (with --resume a video goes on), "
        "or begin anew with --device cpu"
    )
