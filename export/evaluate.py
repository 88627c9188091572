"""How well a model file does on labelled pictures, by the code that `roadmask run` uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from stream.decide import Decider
from stream.model import Model
from stream.network_input import network_input
from training.camvid import VOID, Dataset, Example, open_dataset, split
from training.metrics import confusion_matrix, iou, mean_iou, pixel_accuracy

from .errors import ExportError


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    class_names: tuple[str, ...]  # in the model's order
    confusion: NDArray[np.int64]  # [true, predicted] pixels, void left out
    picture_count: int
    chosen_by: str  # for people: which pictures of the data set

    @property
    def iou(self) -> dict[str, float]:
        """Of each class; nan for one that neither occurs nor is predicted."""
        return dict(zip(self.class_names, iou(self.confusion).tolist(), strict=True))

    @property
    def mean_iou(self) -> float:
        return mean_iou(self.confusion)

    @property
    def accuracy(self) -> float:
        """Share of the pixels that are not void whose class is right."""
        return pixel_accuracy(self.confusion)


def evaluate_model(
    model_path: Path,
    data: Path,
    *,
    valid_drives: Sequence[str] = (),
    every: bool = False,
    device: str = "auto",
    on_picture: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Score a model on the validation pictures of a data set, each decided at its own size.

    Args:
        model_path: an ONNX file written by `roadmask export`.
        data: a labelled data set, as `training/camvid.py` reads it.
        valid_drives: score these recordings instead of the data set's own choice.
        every: score every picture there is.
        device: as in `Model.load`.
        on_picture: told the pictures done, and how many there are.

    Raises:
        ExportError: the classes of model and data set are not the same.
        ModelError, DeviceError: the model cannot be used, or not on that device.
        DataError: the data set or a file of it is unusable.
    """
    model = Model.load(model_path, device=device)
    dataset = open_dataset(data)
    class_of_label = _match_classes(dataset, model.spec.class_names)
    examples, chosen_by = _choose(dataset, valid_drives, every=every)
    reformatter = VideoReformatter()
    decider = Decider(len(model.spec.classes))
    confusion = np.zeros((len(model.spec.classes),) * 2, np.int64)
    for done, example in enumerate(examples, start=1):
        picture, labels = dataset.read(example)
        height, width = labels.shape
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        inputs = network_input(frame, model.spec.input_size(height, width), reformatter)
        scores = model.scores(inputs[None])[0]
        predicted = decider.mask(scores, height, width)
        confusion += confusion_matrix(class_of_label[labels], predicted, len(confusion))
        if on_picture:
            on_picture(done, len(examples))
    return Evaluation(model.spec.class_names, confusion, len(examples), chosen_by)


def _match_classes(dataset: Dataset, class_names: Sequence[str]) -> NDArray[np.uint8]:
    """(256,) the data set's class to the model's of the same name; void stays void."""
    index_of = {name.lower(): index for index, name in enumerate(class_names)}
    labelled = {name.lower() for name in dataset.class_names}
    for name in dataset.class_names:
        if name.lower() not in index_of:
            raise ExportError(f"{dataset.root}: class {name} is not in the model, which has {', '.join(class_names)}")
    for name in class_names:
        if name.lower() not in labelled:
            raise ExportError(f"{dataset.root}: has no labels of {name}, which the model tells apart; scores would lie")
    class_of_label = np.full(256, VOID, np.uint8)
    class_of_label[: len(dataset.class_names)] = [index_of[name.lower()] for name in dataset.class_names]
    return class_of_label


def _choose(dataset: Dataset, valid_drives: Sequence[str], *, every: bool) -> tuple[tuple[Example, ...], str]:
    if every and valid_drives:
        raise ExportError("--all and --valid-drive exclude each other")
    if every:
        return dataset.examples, "all there are"
    chosen = split(dataset, valid_drives=valid_drives)
    return chosen.valid, chosen.valid_by
