"""The ONNX Runtime session: a batch of pictures in, class scores out.

On a CPU several calls run side by side, one thread each, rather than one call on all threads: a network's many small
steps then wait for no other thread. Measured on two cores: 1.23 times the frames of one call at a time, for 0.84 of
the processor time; and other stages that need a core for a moment stop one call and not all.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from .errors import DeviceError, ModelError
from .frames import Frame
from .machine import usable_cores
from .providers import device_of, provider_for
from .spec import METADATA_KEY, ModelSpec, parse_spec

BUNDLED = "camvid-lite0"  # of the models in the box, the one to take where none is named
_MAX_WORKERS = 8  # beyond, they cost more memory than they gain over two threads each

ScoredFrames = list[tuple[Frame, NDArray[np.float32]]]  # frames, each with its scores (classes, h', w')


class Model:
    """A network ready to run. `workers` is how many threads should call it at a time; more may."""

    def __init__(self, session: onnxruntime.InferenceSession, spec: ModelSpec, path: Path, *, workers: int = 1) -> None:
        self.spec = spec
        self.path = path
        self.workers = workers
        self.device = device_of(session.get_providers()[0])
        self._session = session

    @classmethod
    def load(cls, path: Path | str | None = None, *, device: str = "auto", threads: int = 0, workers: int = 0) -> Model:
        """Open a model.

        Args:
            path: an ONNX file written by `roadmask export`, or what else `find_model` takes.
            device: "auto", or one that must be there: "cpu", "cuda", "cuda:1", ...
            threads: of all workers together, on the CPU; 0 for one for each core that the process may use.
            workers: calls at a time that share the threads; 0 for as many as give the most frames. One gives the
                quickest answer to a single call.

        Raises:
            ModelError: no such file, not ONNX, without a spec, or the graph breaks the spec's promises.
            DeviceError: a named device is not there.
        """
        provider, provider_options = provider_for(device)
        path = find_model(path)
        on_cpu = device_of(provider) == "cpu"
        threads = threads or usable_cores()
        workers = workers or (min(threads, _MAX_WORKERS) if on_cpu else 1)
        session = _session(path, provider, provider_options, max(threads // workers, 1))
        metadata = session.get_modelmeta().custom_metadata_map
        if METADATA_KEY not in metadata:
            raise ModelError(
                f"{path}: this ONNX file does not describe itself (no {METADATA_KEY}); "
                "make one from a checkpoint with 'roadmask export'"
            )
        spec = parse_spec(metadata[METADATA_KEY], str(path))
        _check_graph(session, spec, path)
        return cls(session, spec, path, workers=workers)

    def sha256(self) -> str:
        """Of the model file: what tells one training run's masks from another's."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def scores(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Class scores (n, classes, h', w') of `pictures` (n, h, w, 3) RGB; h and w are multiples of the stride."""
        outputs = self._session.run([self.spec.output_name], {self.spec.input_name: pictures})
        return np.asarray(outputs[0], np.float32)

    def scored(self, frames: Sequence[Frame]) -> ScoredFrames:
        """Each of `frames` with its scores (classes, h', w'), by one call of the network."""
        scores = self.scores(np.stack([frame.input for frame in frames]))
        return list(zip(frames, scores, strict=True))


def find_model(name: Path | str | None = None) -> Path:
    """The file of a model: a path, the bare name of a model in the box, or `None` for the one to take as a rule.

    A bare name has neither a folder nor the suffix .onnx, as in "camvid-lite0-int8". It means the model in the box,
    whatever lies in the working folder, so that a command does the same everywhere.

    Raises:
        ModelError: there is no such file, and no such name in the box.
    """
    if name is None:
        return bundled_models()[BUNDLED]
    path = Path(name)
    is_bare = str(name) == path.name and path.suffix.lower() != ".onnx"
    if is_bare and path.name in bundled_models():
        return bundled_models()[path.name]
    if path.is_file():
        return path
    if is_bare:
        raise ModelError(f"{name}: no such model file, and the box has only {', '.join(bundled_models())}")
    raise ModelError(f"{path}: no such model file")


def bundled_models() -> dict[str, Path]:
    """The files of the models in the box, by their names."""
    folder = Path(str(resources.files("stream").joinpath("models")))
    return {path.stem: path for path in sorted(folder.glob("*.onnx"))}


def _session(path: Path, provider: str, provider_options: dict[str, Any], threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors only: its warnings are about graphs, and users cannot act on them
    # Threads that spin while they wait take the cores from decoding and encoding: measured, without spinning a
    # whole run on two cores goes from 0.58 to 0.75 of the bare model's speed.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about the provider that did not start: below it is an error
            session = onnxruntime.InferenceSession(
                str(path), sess_options=options, providers=[(provider, provider_options)]
            )
    except Exception as exc:  # its own classes share no base but Exception, and differ by version
        raise ModelError(f"{path}: ONNX Runtime cannot load this file ({_first_line(exc)})") from exc
    if session.get_providers()[0] != provider:  # it falls back to the CPU without a word
        raise DeviceError(f"device {device_of(provider)!r} did not start; is its driver installed?")
    return session


def _check_graph(session: onnxruntime.InferenceSession, spec: ModelSpec, path: Path) -> None:
    """Hold the graph to the spec: names, types, and the sizes that are fixed."""
    inputs = {item.name: item for item in session.get_inputs()}
    outputs = {item.name: item for item in session.get_outputs()}
    if list(inputs) != [spec.input_name]:
        raise ModelError(f"{path}: the graph's inputs are {sorted(inputs)}, the spec says {spec.input_name!r}")
    if spec.output_name not in outputs:
        raise ModelError(f"{path}: the graph has no output {spec.output_name!r}, only {sorted(outputs)}")
    source, result = inputs[spec.input_name], outputs[spec.output_name]
    if source.type != "tensor(uint8)" or len(source.shape) != 4 or source.shape[3] != 3:
        raise ModelError(f"{path}: input is {source.type} {source.shape}, not uint8 (batch, height, width, 3)")
    if result.type != "tensor(float)" or len(result.shape) != 4:
        raise ModelError(f"{path}: output is {result.type} {result.shape}, not float (batch, classes, height, width)")
    if isinstance(result.shape[1], int) and result.shape[1] != len(spec.classes):
        raise ModelError(f"{path}: the graph scores {result.shape[1]} classes, the spec names {len(spec.classes)}")
    if any(isinstance(side, int) for side in source.shape[:3]):
        raise ModelError(f"{path}: input {source.shape} has a fixed size; export again with 'roadmask export'")


def _first_line(exc: Exception) -> str:
    return str(exc).strip().splitlines()[0] if str(exc).strip() else type(exc).__name__
