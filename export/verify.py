"""Whether an exported model does what its checkpoint does: torch against ONNX Runtime on the same pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from stream.decide import Decider
from stream.model import Model

from .deploy import DeployedNetwork
from .errors import ExportError
from .pictures import Picture, Samples, fit

# Two runtimes add in different orders, which moves float32 scores by about 1e-5 and flips pixels that are as good as
# tied between two classes. A wrong graph flips far more.
MIN_EQUAL_LABELS = 0.999


@dataclass(frozen=True, slots=True, eq=False)
class ParityCase:
    """How the two agree at one shape of input."""

    batch: int
    height: int  # of the network's input
    width: int
    picture_count: int
    max_difference: float  # of any score
    score_range: float  # largest score less smallest: what `max_difference` is small against
    equal_labels: float  # share of the pixels, at the pictures' own sizes


@dataclass(frozen=True, slots=True, eq=False)
class ParityReport:
    origin: str  # of the pictures, for people
    cases: tuple[ParityCase, ...]

    @property
    def max_difference(self) -> float:
        return max(case.max_difference for case in self.cases)

    @property
    def equal_labels(self) -> float:
        """In the worst case."""
        return min(case.equal_labels for case in self.cases)


def verify(network: DeployedNetwork, model: Model, samples: Samples) -> ParityReport:
    """Compare at the sizes `run` would choose, then as a batch of two and at a size of another shape.

    The last two hold the graph to its promise that batch, height and width are free.

    Raises:
        ExportError: fewer than `MIN_EQUAL_LABELS` of the labels are equal, or a score is not finite.
    """
    spec = model.spec
    by_size: dict[tuple[int, int], list[Picture]] = {}
    for picture in samples.pictures:
        by_size.setdefault(spec.input_size(*picture.shape[:2]), []).append(picture)
    pair = [samples.pictures[0], samples.pictures[-1]]
    cases = [_compare(network, model, pictures, 1, size) for size, pictures in by_size.items()]
    cases.append(_compare(network, model, pair, 2, (spec.height, spec.width)))
    cases.append(_compare(network, model, pair, 1, spec.input_size(spec.height, 2 * spec.width)))
    report = ParityReport(samples.origin, tuple(cases))
    if report.equal_labels < MIN_EQUAL_LABELS:
        raise ExportError(
            f"the exported model disagrees with its checkpoint: {report.equal_labels:.2%} of the labels are equal on "
            f"{samples.origin}, not {MIN_EQUAL_LABELS:.1%}; scores differ by up to {report.max_difference:.2g}. "
            "Nothing was written; please report this with your torch and onnxruntime versions"
        )
    return report


def _compare(
    network: DeployedNetwork, model: Model, pictures: Sequence[Picture], batch: int, size: tuple[int, int]
) -> ParityCase:
    decider = Decider(len(model.spec.classes))
    difference, equal, pixels = 0.0, 0, 0
    low, high = np.inf, -np.inf
    for start in range(0, len(pictures), batch):
        group = pictures[start : start + batch]
        inputs = np.stack([fit(picture, *size) for picture in group])
        expected, actual = _torch_scores(network, inputs), model.scores(inputs)
        if not (np.isfinite(expected).all() and np.isfinite(actual).all()):
            raise ExportError("the network's scores are not finite numbers; did its training diverge?")
        difference = max(difference, float(np.abs(expected - actual).max()))
        low, high = min(low, float(expected.min())), max(high, float(expected.max()))
        for picture, one, other in zip(group, expected, actual, strict=True):
            height, width = picture.shape[:2]
            equal += int((_torch_labels(one, height, width) == decider.mask(other, height, width)).sum())
            pixels += height * width
    return ParityCase(batch, *size, len(pictures), difference, high - low, equal / pixels)


@torch.inference_mode()
def _torch_scores(network: DeployedNetwork, inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
    scores: NDArray[np.float32] = network(torch.from_numpy(inputs)).numpy()
    return scores


def _torch_labels(scores: NDArray[np.float32], height: int, width: int) -> NDArray[np.uint8]:
    """Decided as training decides them, not by the code under test."""
    full = functional.interpolate(torch.from_numpy(scores)[None], size=(height, width), mode="bilinear")
    labels: NDArray[np.uint8] = full.argmax(dim=1)[0].to(torch.uint8).numpy()
    return labels
