"""How well a model file does on labelled pictures, by the code that `roadmask run` uses. Reads top to bottom."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from ..stream import FlickerMeter, Model, Smoother
from ..stream.decode.pixels import network_input
from ..stream.masks.deciding import Decider
from ..stream.pipeline import Pipeline
from ..training.dataset import Dataset, open_dataset
from ..training.labels import Groups, Labels
from ..training.layouts import Example
from ..training.metrics import confusion_matrix
from .choice import Choice, labelled_alone, own_choice
from .classmap import Matched, match_classes, parse_map
from .errors import ExportError
from .scores import Evaluation, FrameScore, Scores, frame_score
from .sequence import follows, frame_number, in_order

_FEW = 6  # pictures that tell which classes overlap
_AHEAD = 2  # pictures between two stages: enough that neither waits for a slow file


@dataclass(frozen=True, slots=True, eq=False)
class LabelledFrame:
    example: Example
    follows: bool  # it is the next frame of the same video as the one before
    picture: NDArray[np.uint8]  # (height, width, 3) RGB
    input: NDArray[np.uint8]  # (h, w, 3) RGB, at the network's size
    truth: NDArray[np.uint8]  # (height, width) codes: index into the model's classes, or of a set of them, or VOID


@dataclass(frozen=True, slots=True, eq=False)
class DecidedFrame:
    labelled: LabelledFrame
    predicted: NDArray[np.uint8]  # (height, width) index into the model's classes


def evaluate_model(
    model_path: Path | str,
    data: Path,
    *,
    choice: Choice = own_choice,
    class_map: Sequence[str] = (),
    smooth: bool = True,
    device: str = "auto",
    size: str = "auto",
    on_frame: Callable[[DecidedFrame, FrameScore], None] | None = None,
    on_picture: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Score a model on pictures of a data set, each decided at its own size.

    Args:
        model_path: as in `Model.load`.
        data: a labelled data set, as `training/dataset.py` reads it.
        choice: which pictures, one of `export/choice.py`.
        class_map: classes that go by other names in the data, as `parse_map` takes them.
        smooth: blend the scores over time where the pictures are a video's, as `roadmask run --smooth` does.
        device: as in `Model.load`.
        size: likewise.
        on_frame: told each frame with its scores.
        on_picture: told the pictures done, and how many there are.

    Raises:
        ExportError: the classes of model and data do not match, or there is nothing to score.
        ModelError, DeviceError: the model cannot be used, or not on that device.
        DataError: the data set or a file of it is unusable.
    """
    model = Model.load(model_path, device=device, size=size)
    dataset = open_dataset(data)
    chosen = labelled_alone(dataset, choice(dataset))
    mapping = parse_map(class_map, dataset)
    colors = [item.color for item in model.spec.classes]
    overlap = partial(_overlap, model, dataset, chosen.examples)
    matched = match_classes(dataset, model.spec.class_names, colors, mapping, overlap)
    tally = _Tally(matched.labels.groups(matched.codes))
    with Pipeline() as pipeline:
        labelled = pipeline.stage("read", _read(dataset, chosen.examples, matched, model), depth=_AHEAD)
        scored = pipeline.parallel("infer", partial(_scored, model), labelled, workers=model.workers, depth=_AHEAD)
        results = _decide(scored, len(model.spec.classes), smooth=smooth)
        decided = pipeline.stage("decide", results, depth=_AHEAD)
        for done, frame in enumerate(decided, start=1):
            score = tally.add(frame)
            if on_frame:
                on_frame(frame, score)
            if on_picture:
                on_picture(done, len(chosen.examples))
    if tally.total.codes.sum() == 0:
        raise ExportError(
            f"{dataset.root}: nothing but void in the pictures chosen ({chosen.by}); nothing to score; choose others"
        )
    return Evaluation(
        labels=matched.labels,
        total=tally.total,
        drives=tally.drives,
        frames=tuple(tally.frames),
        model=model.path,
        model_sha256=model.sha256,
        data=dataset.root,
        chosen_by=chosen.by,
        mapping=mapping,
        is_smoothed=smooth,
        size=model.spec.size,
    )


def _overlap(model: Model, dataset: Dataset, examples: Sequence[Example]) -> NDArray[np.int64]:
    """What the model sees in the classes of the data set: over a few of the pictures, each by itself."""
    pixels = np.zeros((len(dataset.class_names), len(model.spec.classes)), np.int64)
    own = Matched(Labels(dataset.class_names, dataset.class_colors), np.arange(256, dtype=np.uint8))
    some = [examples[place] for place in np.linspace(0, len(examples) - 1, min(len(examples), _FEW)).astype(int)]
    scored = (_scored(model, frame) for frame in _read(dataset, some, own, model))
    for frame in _decide(scored, pixels.shape[1], smooth=False):
        pixels += confusion_matrix(frame.labelled.truth, frame.predicted, *pixels.shape)
    return pixels


def _read(dataset: Dataset, examples: Iterable[Example], matched: Matched, model: Model) -> Iterator[LabelledFrame]:
    reformatter = VideoReformatter()
    previous: LabelledFrame | None = None
    for example in in_order(examples):
        picture, labels = dataset.read(example)
        is_next = (
            previous is not None and follows(previous.example, example) and previous.picture.shape == picture.shape
        )
        shown = av.VideoFrame.from_ndarray(picture, format="rgb24")
        inputs = network_input(shown, model.spec.input_size(*labels.shape), reformatter)
        previous = LabelledFrame(example, is_next, picture, inputs, matched.code_of_class[labels])
        yield previous


def _scored(model: Model, frame: LabelledFrame) -> tuple[LabelledFrame, NDArray[np.float32]]:
    return frame, model.scores(frame.input[None])[0]


def _decide(
    scored: Iterable[tuple[LabelledFrame, NDArray[np.float32]]], class_count: int, *, smooth: bool
) -> Iterator[DecidedFrame]:
    decider = Decider(class_count)
    smoother = Smoother() if smooth else None
    for frame, scores in scored:
        if smoother:
            if not frame.follows:
                smoother.reset()
            scores = smoother.blend(scores, frame.input)
        yield DecidedFrame(frame, decider.mask(scores, *frame.truth.shape))


class _Tally:
    """The counts of all frames, and of each drive."""

    def __init__(self, groups: Groups) -> None:
        self._meter = FlickerMeter()
        self.total = Scores(0, np.zeros(groups.members.shape, np.int64), groups, 0, 0)
        self.drives: dict[str, Scores] = {}
        self.frames: list[FrameScore] = []

    def add(self, frame: DecidedFrame) -> FrameScore:
        groups = self.total.groups
        codes = confusion_matrix(frame.labelled.truth, frame.predicted, *groups.members.shape)
        scores = Scores(1, codes, groups, *self._follow(frame))
        self.total += scores
        example = frame.labelled.example
        if frame_number(example) is not None:
            self.drives[example.drive] = self.drives[example.drive] + scores if example.drive in self.drives else scores
        self.frames.append(frame_score(example.name, example.drive, scores))
        return self.frames[-1]

    def _follow(self, frame: DecidedFrame) -> tuple[int, int]:
        """Pixels followed from the frame before into this one, and those that changed their class on the way."""
        if not frame.labelled.follows:
            self._meter.reset()
        tracked, changed = self._meter.tracked, self._meter.changed
        self._meter.add(frame.labelled.picture, frame.predicted)
        return self._meter.tracked - tracked, self._meter.changed - changed
