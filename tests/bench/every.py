"""What carrying masks saves and costs: python tests/bench/every.py [CLIP...] [--data DATA --list FILE] [--model M].

For each `--every` the network sees some of the frames, whose scores are worked out once for all. Of labelled pictures
that are a video's (15 Hz, where the list does not say), mIoU; of all, the share of labels that are those of a run in
which the network sees every frame, flicker, the share of frames that it sees, and a core's time of a frame for
following and deciding. Masks are smoothed, as in a run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from roadmask.export.choice import on_list
from roadmask.export.classmap import match_classes
from roadmask.export.evaluate import _read, open_dataset
from roadmask.stream.decode.source import open_source
from roadmask.stream.frames import Frame
from roadmask.stream.masks.carry import FAST, Every, mark_carried, parse_every
from roadmask.stream.masks.deciding import Deciding
from roadmask.stream.masks.flicker import FlickerMeter
from roadmask.stream.network.model import Model
from roadmask.stream.run.stages import network_size
from roadmask.stream.segmenter import _frame_of
from roadmask.training.metrics import confusion_matrix, iou

Masks = list[NDArray[np.uint8]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, nargs="*")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--list", type=Path)
    parser.add_argument("--rate", type=Fraction, default=Fraction(15), help="of the labelled pictures")
    parser.add_argument("--model")
    parser.add_argument("--max-frames", type=int, default=100)
    parser.add_argument("--smooth", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--every", nargs="*", default=["2", "3", "4", str(FAST), "300ms"])
    options = parser.parse_args()

    cv2.setNumThreads(1)
    model = Model.load(options.model)
    settings = [None, *map(parse_every, options.every)]
    if options.data:
        frames, truths = _labelled(model, options.data, options.list, options.rate)
        _report(options.list.name, frames, truths, model, settings, smooth=options.smooth)
    for clip in options.clips:
        with open_source(clip) as source:
            frames = list(islice(source.frames(partial(network_size, model)), options.max_frames))
        _report(clip.name, frames, [], model, settings, smooth=options.smooth)


def _labelled(model: Model, data: Path, listed: Path, rate: Fraction) -> tuple[list[Frame], Masks]:
    dataset = open_dataset(data)
    examples = on_list(listed)(dataset).examples
    matched = match_classes(dataset, model.spec.class_names, [item.color for item in model.spec.classes], {}, None)
    read = list(_read(dataset, examples, matched, model))
    reformatter = VideoReformatter()
    frames = [
        _frame_of(item.picture, model.spec, reformatter, bgr=False, index=number, time=number / rate)
        for number, item in enumerate(read)
    ]
    return frames, [item.truth for item in read]


def _report(
    name: str, frames: list[Frame], truths: Masks, model: Model, settings: Sequence[Every | None], *, smooth: bool
) -> None:
    print(f"{name}: {len(frames)} frames, {model.path.stem}, {'smoothed' if smooth else 'each by itself'}")
    scores = {frame.index: model.scores(frame.input[None])[0] for frame in frames}
    expected: Masks = []
    for every in settings:
        started = time.thread_time()
        marked = list(mark_carried(frames, every) if every else frames)
        scored = ([(frame, scores[frame.index] if frame.is_key else None)] for frame in marked)
        deciding = Deciding(len(model.spec.classes), smooth=smooth, carries=every is not None)
        masks = [decided.result.mask for decided in deciding.results(scored)]
        spent_ms = 1000 * (time.thread_time() - started) / len(frames)
        expected = expected or masks
        agreement = np.mean([(mask == other).mean() for mask, other in zip(masks, expected, strict=True)])
        seen = sum(frame.is_key for frame in marked) / len(frames)
        print(
            f"  every {every or 1!s:6} network {100 * seen:5.1f} %  agreement {100 * agreement:6.2f} %  "
            f"flicker {100 * _flicker(frames, masks):5.2f} %  {spent_ms:5.2f} ms"
            + (f"  mIoU {_miou(truths, masks, len(model.spec.classes)):.4f}" if truths else ""),
            flush=True,
        )


def _flicker(frames: Iterable[Frame], masks: Masks) -> float:
    meter = FlickerMeter()
    for frame, mask in zip(frames, masks, strict=True):
        meter.add(np.asarray(frame.picture.to_ndarray(format="rgb24"), np.uint8), mask)
    return meter.rate


def _miou(truths: Masks, masks: Masks, classes: int) -> float:
    pairs = zip(truths, masks, strict=True)
    return float(np.nanmean(iou(sum(confusion_matrix(truth, mask, classes, classes) for truth, mask in pairs))))


if __name__ == "__main__":
    main()
