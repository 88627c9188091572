"""The model: a batch of pictures in, class scores out, on the device that was asked for.

On a CPU several calls run side by side, one thread each, rather than one call on all threads: a network's many small
steps then wait for no other thread. Measured on two cores: 1.23 times the frames of one call at a time, for 0.84 of
the processor time; and other stages that need a core for a moment stop one call and not all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DeviceError, ModelError
from ..frames import Frame, ScoredFrames
from ..spec import METADATA_KEY, ModelSpec, parse_spec
from ..system.machine import usable_cores
from ..system.talk import did_you_mean
from .model_file import Declared, look_into
from .networks import FixedSize, FreeSize, Network, SharedNetwork
from .openvino_session import OpenVinoFile
from .providers import Placement, Work, choices, placement_of
from .sessions import Session, open_session

BUNDLED = "camvid-lite0"  # of the models in the box, the one to take where none is named; or its twin in int8
BUNDLED_INT8 = "camvid-lite0-int8"
_MAX_WORKERS = 8  # beyond, they cost more memory than they gain over two threads each

_log = logging.getLogger(__name__)


class Model:
    """A network ready to run. `workers` is how many threads should call it at a time; more may.

    >>> import numpy as np
    >>> from roadmask import Model
    >>> model = Model.load("camvid-lite0-int8", device="cpu")
    >>> model.device, model.spec.class_names[:4]
    ('cpu', ('Sky', 'Building', 'Column_Pole', 'Road'))
    >>> pictures = np.zeros((1, 96, 128, 3), np.uint8)  # RGB
    >>> model.scores(pictures).shape  # batch, classes, and the height and width of the network's head
    (1, 11, 48, 64)
    """

    def __init__(
        self, network: Network, spec: ModelSpec, path: Path, placement: Placement, *, workers: int, sha256: str
    ) -> None:
        self.spec = spec
        self.path = path
        self.workers = workers
        self.placement = placement
        self.sha256 = sha256  # of the model file: what tells one training run's masks from another's
        self._network = network

    @property
    def device(self) -> str:
        """As users call it: "cpu", "cuda", "cuda:1", "openvino:bf16", ..."""
        return str(self.placement)

    @property
    def default_batch(self) -> int:
        """Frames a call that suit the device."""
        return 1 if self.spec.one_at_a_time else self.placement.device.batch

    @classmethod
    def load(
        cls,
        path: Path | str | None = None,
        *,
        device: str = "auto",
        threads: int = 0,
        workers: int = 0,
        size: str = "auto",
        alone: bool = False,
    ) -> Model:
        """Open a model.

        Args:
            path: an ONNX file written by `roadmask export`, or what else `find_model` takes; without, of the two in the
                box the one that suits the device.
            device: "auto", or one that must be there: "cpu", "openvino", "cuda", "cuda:1", ...
            threads: of all workers together, on the CPU; 0 for one for each core that the process may use.
            workers: calls at a time that share the threads; 0 for as many as give the most frames. One gives the
                quickest answer to a single call.
            size: of the pictures that the network sees, as `ModelSpec.at_size` takes it; "auto" is what suits the
                device. They have the aspect ratio of what is segmented, whatever the size's.
            alone: nothing else is done during a call, so that its threads may wait for each other awake.

        Raises:
            ArgumentError: it is no size, or none for this model.
            ModelError: no such file, not ONNX, without a spec, or the graph breaks the spec's promises.
            DeviceError: a named device is not there.
        """
        if device.lower() != "auto":
            placement_of(device)
        file = None if path is None else _File.read(find_model(path))
        *better, last = choices(device, None if file is None else file.spec.computes_in("int8"))

        def opened(placement: Placement, int8: bool) -> Model:
            suited = file or _File.read(find_model(BUNDLED_INT8 if int8 else BUNDLED))
            return cls._on(placement, suited, threads, workers, size, alone=alone)

        for choice in better:  # there are several only where the user leaves the choice
            try:
                return opened(*choice)
            except DeviceError as exc:
                _log.warning("%s", exc)
        return opened(*last)

    @classmethod
    def _on(cls, placement: Placement, file: _File, threads: int, workers: int, size: str, *, alone: bool) -> Model:
        path, declared, spec = file
        threads = threads or usable_cores()
        workers = workers or placement.workers or min(threads, _MAX_WORKERS)
        work = Work(None, max(threads // workers, 1), workers, alone)
        if size == "auto":
            size = "default" if spec.fixed else placement.device.size
        sized = spec.at_size(size)
        network: Network
        if not placement.device.fixed_size:
            network = FreeSize(open_session(path, placement, work, spec), placement, spec)
            return cls(network, sized, path, placement, workers=workers, sha256=declared.sha256)
        (source,) = declared.inputs.values()
        dimensions = [str(side) for side in (source.shape or ())[:3]]
        work = replace(work, model_sha256=declared.sha256, fp16=spec.computes_in("fp16"))
        opened: Callable[[Work], Session]
        if placement.device.name == "openvino":
            opened = OpenVinoFile(path, placement, work, spec).session
        else:
            opened = partial(open_session, path, placement, spec=spec, dimensions=dimensions)
        network = FixedSize(placement, spec, opened, work)
        return cls(network, sized, path, placement, workers=workers, sha256=declared.sha256)

    @contextmanager
    def shared(self, threads: int, *, together: bool = True) -> Iterator[Model]:
        """This model for so many threads, each of which uses it as if it were its own. They are served in turn.

        `together`: pictures of one size are run in one call where the device gains by that, for cameras, which ask for
        one at a time. Without, each gets the calls that it would make alone, so that the scores are the same bit for
        bit, and all the workers while the others want none: for files.
        """
        if threads == 1:
            yield self
            return
        batch = min(self.default_batch, threads) if together else None
        with SharedNetwork(self._network, workers=self.workers, batch=batch) as network:
            workers = max(self.workers // threads, 1) if together else self.workers
            yield Model(network, self.spec, self.path, self.placement, workers=workers, sha256=self.sha256)

    def prepare(self, batch: int, size: tuple[int, int]) -> None:
        """Do now what the first call for `batch` pictures of `size` (height, width) would have to: minutes, on some.

        Raises:
            DeviceError: the device does not start, or its memory is too small.
        """
        self._network.prepare((self._at_once(batch), *size))

    def compiled_folder(self, batch: int, size: tuple[int, int]) -> Path | None:
        """Where the device keeps what it compiles for `batch` pictures of `size`; `None` if it keeps nothing."""
        return self._network.compiled_folder((self._at_once(batch), *size))

    def scores(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Class scores (n, classes, h', w') of `pictures` (n, h, w, 3) RGB; h and w are multiples of the stride.

        Raises:
            DeviceError: the device's memory is too small for so many, or it does not start.
        """
        if len(pictures) > (most := self._at_once(len(pictures))):
            parts = [self._network.run(pictures[begin : begin + most]) for begin in range(0, len(pictures), most)]
            return np.concatenate(parts)
        return self._network.run(pictures)

    def _at_once(self, pictures: int) -> int:
        return 1 if self.spec.one_at_a_time or self.placement.device.singly else pictures

    def scored(self, frames: Sequence[Frame]) -> ScoredFrames:
        """Each of `frames` with its scores (classes, h', w'), by one call of the network; None where it sees none."""
        pictures = [frame.input for frame in frames if frame.is_key]
        scores = iter(self.scores(np.stack(pictures)) if pictures else ())
        return [(frame, next(scores) if frame.is_key else None) for frame in frames]


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
        meant = did_you_mean(path.name, bundled_models())
        raise ModelError(f"{name}: no such model file, and the box has only {', '.join(bundled_models())}{meant}")
    raise ModelError(f"{path}: no such model file")


def bundled_models() -> dict[str, Path]:
    """The files of the models in the box, by their names."""
    return {path.stem: path for path in sorted((Path(__file__).parents[1] / "models").glob("*.onnx"))}


class _File(NamedTuple):
    """A model file that was looked into."""

    path: Path
    declared: Declared
    spec: ModelSpec

    @classmethod
    def read(cls, path: Path) -> _File:
        """Raises `ModelError`."""
        declared = look_into(path)
        if METADATA_KEY not in declared.notes:
            raise ModelError(
                f"{path}: this ONNX file does not describe itself (no {METADATA_KEY}); "
                "make one from a checkpoint with 'roadmask export'"
            )
        spec = parse_spec(declared.notes[METADATA_KEY], str(path))
        _check_graph(declared, spec, path)
        return cls(path, declared, spec)


def _check_graph(declared: Declared, spec: ModelSpec, path: Path) -> None:
    """Hold the graph to the spec: names, types, and the sizes that are fixed."""
    inputs, outputs = declared.inputs, declared.outputs
    if list(inputs) != [spec.input_name]:
        raise ModelError(
            f"{path}: the graph's inputs are {sorted(inputs)}, the spec says {spec.input_name!r}; export it again"
        )
    if spec.output_name not in outputs:
        raise ModelError(
            f"{path}: the graph has no output {spec.output_name!r}, only {sorted(outputs)}; export it again"
        )
    source, result = inputs[spec.input_name], outputs[spec.output_name]
    took, gives = list(source.shape or ()), result.shape and list(result.shape)  # the latter may be left open
    if source.type != "tensor(uint8)" or len(took) != 4 or took[3] != 3:
        raise ModelError(f"{path}: input is {source.type} {took}, not uint8 (batch, height, width, 3); export it again")
    if result.type != "tensor(float)" or (gives is not None and len(gives) != 4):
        raise ModelError(
            f"{path}: output is {result.type} {gives}, not float (batch, classes, height, width); export it again"
        )
    if gives and isinstance(gives[1], int) and gives[1] != len(spec.classes):
        raise ModelError(
            f"{path}: the graph scores {gives[1]} classes, the spec names {len(spec.classes)}; export it again"
        )
    batch, *sides = took[:3]
    is_free = not any(isinstance(side, int) for side in sides)
    is_told = spec.fixed and sides == [spec.height, spec.width]
    if not (is_free or is_told) or (isinstance(batch, int) and not spec.one_at_a_time):
        raise ModelError(f"{path}: input {took} has a fixed size; export it again")
