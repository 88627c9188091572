"""Whether a model file does what it was made from does, on the same pictures: a checkpoint, or a float32 model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from ..stream import Model, RoadmaskError
from ..stream.masks.deciding import Decider
from ..stream.network.providers import DEVICES, is_there
from .deploy import DeployedNetwork
from .errors import ExportError
from .pictures import Picture, Samples, fit

Kind = Literal["float32", "int8", "fp16"]

MIN_EQUAL_LABELS: dict[Kind, float] = {
    # Two runtimes add in different orders, which moves float32 scores by about 1e-5 and flips pixels that are as good
    # as tied between two classes. A wrong graph flips far more.
    "float32": 0.999,
    # Eight bits round every tensor of the network. Measured on CamVid, 98.7 to 99.0 % stay equal, and 97 % with sums
    # that saturate; below 95 % something has gone wrong, as with ranges of pictures all alike.
    "int8": 0.95,
    # Eleven bits of each number stay: measured on CamVid, 99.9 % of the labels, and 99.0 % on drawn pictures, of which
    # a network is less sure.
    "fp16": 0.98,
}
_ADVICE: dict[Kind, str] = {
    "float32": "please report this with your torch and onnxruntime versions",
    "int8": "calibrate on more pictures (--calibrate-pictures) that look like those it will see, or stay with the "
    "float32 model",
    "fp16": "stay with the float32 model",
}


@dataclass(frozen=True, slots=True, eq=False)
class ParityCase:
    """How the two agree at one shape of input."""

    batch: int
    height: int  # of the network's input
    width: int
    picture_count: int
    max_difference: float  # of any score
    mean_difference: float  # of all scores, without their signs
    score_range: float  # largest score less smallest: what `max_difference` is small against
    equal_labels: float  # share of the pixels, at the pictures' own sizes


@dataclass(frozen=True, slots=True, eq=False)
class ParityReport:
    origin: str  # of the pictures, for people
    cases: tuple[ParityCase, ...]
    openvino: str = ""  # what the model does there, in words; empty where it is not installed

    @property
    def max_difference(self) -> float:
        return max(case.max_difference for case in self.cases)

    @property
    def equal_labels(self) -> float:
        """In the worst case."""
        return min(case.equal_labels for case in self.cases)


def verify(reference: DeployedNetwork | Model, model: Model, samples: Samples, kind: Kind) -> ParityReport:
    """Compare a model with what it was made from, a checkpoint's network or a float32 model, as `_compared` says.

    Raises:
        ExportError: fewer than `MIN_EQUAL_LABELS` of the labels are equal, or a score is not finite.
    """
    right = _FloatModel(reference) if isinstance(reference, Model) else _TorchNetwork(reference)
    report = _compared(right, model, samples)
    least = MIN_EQUAL_LABELS[kind]
    if report.equal_labels >= least:
        return replace(report, openvino=_on_openvino(model, samples))
    if kind == "float32":
        raise ExportError(
            f"the exported model disagrees with its checkpoint: {report.equal_labels:.2%} of the labels are equal on "
            f"{samples.origin}, not {least:.1%}; scores differ by up to {report.max_difference:.2g}. "
            f"Nothing was written; {_ADVICE[kind]}"
        )
    raise ExportError(
        f"the {kind} model differs too much: {report.equal_labels:.1%} of the labels are equal to the float32 "
        f"model's on {samples.origin}, not {least:.0%}. Nothing was written; {_ADVICE[kind]}"
    )


def _on_openvino(model: Model, samples: Samples) -> str:
    """Told and no reason to refuse: ONNX Runtime runs the model everywhere."""
    if not is_there(DEVICES["openvino"]):
        return ""
    size = model.spec.input_size(*samples.pictures[0].shape[:2])
    alike = [picture for picture in samples.pictures if model.spec.input_size(*picture.shape[:2]) == size]
    try:
        other = Model.load(model.path, device="openvino", workers=1)
        equal = _compare(_FloatModel(model), other, alike, 1, size).equal_labels
    except RoadmaskError as exc:
        return f"OpenVINO: {exc}"
    return f"{other.device}: {equal:.4%} of the labels are those of ONNX Runtime"


class _Reference(Protocol):
    """What is right: scores of the network's inputs, and labels of a picture from its scores."""

    def scores(self, inputs: NDArray[np.uint8]) -> NDArray[np.float32]: ...

    def labels(self, scores: NDArray[np.float32], height: int, width: int) -> NDArray[np.uint8]: ...


class _TorchNetwork:
    def __init__(self, network: DeployedNetwork) -> None:
        self._network = network

    @torch.inference_mode()
    def scores(self, inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
        scores: NDArray[np.float32] = self._network(torch.from_numpy(inputs)).numpy()
        return scores

    def labels(self, scores: NDArray[np.float32], height: int, width: int) -> NDArray[np.uint8]:
        """Decided as training decides them, not by the code under test."""
        full = functional.interpolate(torch.from_numpy(scores)[None], size=(height, width), mode="bilinear")
        labels: NDArray[np.uint8] = full.argmax(dim=1)[0].to(torch.uint8).numpy()
        return labels


class _FloatModel:
    def __init__(self, model: Model) -> None:
        self._model = model
        self._decider = Decider(len(model.spec.classes))

    def scores(self, inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._model.scores(inputs)

    def labels(self, scores: NDArray[np.float32], height: int, width: int) -> NDArray[np.uint8]:
        return self._decider.mask(scores, height, width)


def _compared(reference: _Reference, model: Model, samples: Samples) -> ParityReport:
    """At the sizes `run` would choose, then as a batch of two and at a size of another shape.

    The last two hold the graph to its promise that batch, height and width are free.
    """
    spec = model.spec
    by_size: dict[tuple[int, int], list[Picture]] = {}
    for picture in samples.pictures:
        by_size.setdefault(spec.input_size(*picture.shape[:2]), []).append(picture)
    pair = [samples.pictures[0], samples.pictures[-1]]
    cases = [_compare(reference, model, pictures, 1, size) for size, pictures in by_size.items()]
    cases.append(_compare(reference, model, pair, 2, (spec.height, spec.width)))
    cases.append(_compare(reference, model, pair, 1, spec.input_size(spec.height, 2 * spec.width)))
    return ParityReport(samples.origin, tuple(cases))


def _compare(
    reference: _Reference, model: Model, pictures: Sequence[Picture], batch: int, size: tuple[int, int]
) -> ParityCase:
    decider = Decider(len(model.spec.classes))
    largest, total, scores_count, equal, pixels = 0.0, 0.0, 0, 0, 0
    low, high = np.inf, -np.inf
    for start in range(0, len(pictures), batch):
        group = pictures[start : start + batch]
        inputs = np.stack([fit(picture, *size) for picture in group])
        expected = reference.scores(inputs)
        if not np.isfinite(expected).all():
            raise ExportError("the network's scores are not finite numbers; did its training diverge?")
        actual = model.scores(inputs)
        difference = np.abs(expected - actual)
        largest = max(largest, float(difference.max()))
        total, scores_count = total + float(difference.sum(dtype=np.float64)), scores_count + difference.size
        low, high = min(low, float(expected.min())), max(high, float(expected.max()))
        for picture, one, other in zip(group, expected, actual, strict=True):
            height, width = picture.shape[:2]
            equal += int((reference.labels(one, height, width) == decider.mask(other, height, width)).sum())
            pixels += height * width
    return ParityCase(batch, *size, len(pictures), largest, total / scores_count, high - low, equal / pixels)
