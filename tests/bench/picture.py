"""`model(picture)` beside bare ONNX Runtime: python tests/bench/picture.py [CLIP] [--size WxH] [--model NAME].

One picture at a time, the same model file, all in one process and in turn, many times over, because machines are noisy:
read the ratios. The bare session has ONNX Runtime's own settings; that its threads spin while they wait, which ours do
for a moment and not beyond the call, has a line of its own. It gets pictures that are of the network's size already, or
resizes them with OpenCV as a user would, and enlarges labels. Wall time is what a user waits, on a machine with nothing
else to do; processor time adds up all threads, those that spin too. Ours has the bare session's runtime, lines for each
of its steps, and one for the runtime that it takes by itself. First calls of a size, and loading, are apart.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

import roadmask
from roadmask.stream.frames import Frame
from roadmask.stream.network.model import find_model
from roadmask.stream.segmenter import Segmenter, _frame_of
from roadmask.stream.spec import METADATA_KEY, parse_spec

Picture = NDArray[np.uint8]
PICTURES = 12
PAUSE_S = 0.05  # between calls: threads that spin after one would slow down the next, whosever it is
T = TypeVar("T")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path, nargs="?", help="smooth noise without one")
    parser.add_argument("--size", type=_size, default=(540, 960), metavar="WxH")
    parser.add_argument("--model", default="camvid-lite0")
    parser.add_argument("--repeats", type=int, default=60)
    options = parser.parse_args()

    pictures = _pictures(options.clip, *options.size)
    bare, load_bare_s = _timed(lambda: Bare(find_model(options.model), *options.size))
    model, load_s = _timed(lambda: roadmask.load(options.model, device="cpu"))
    chosen = roadmask.load(options.model)
    calm = Bare(find_model(options.model), *options.size, spins=False)
    small = [bare.resized(picture) for picture in pictures]
    steps = Steps(model, pictures)
    sides: dict[str, Callable[[int], object]] = {
        "bare, of the network's size": lambda number: bare.scores(small[number]),
        "the same without spinning": lambda number: calm.scores(small[number]),
        "bare, resized": lambda number: bare.scores(bare.resized(pictures[number])),
        "bare, resized, labels enlarged": lambda number: bare.labels(pictures[number]),
        "model(picture)": lambda number: model(pictures[number]),
        "  its picture made small": steps.made_small,
        "  its network": steps.scores,
        "  its mask decided": steps.mask,
        f"model(picture), {chosen.device}": lambda number: chosen(pictures[number]),
    }
    wall: dict[str, list[float]] = {name: [] for name in sides}
    processor: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(options.repeats + 3):  # the first rounds warm up
        for name, call in sides.items():
            time.sleep(PAUSE_S)
            began, worked = time.perf_counter(), time.process_time()
            call(repeat % PICTURES)
            if repeat >= 3:
                wall[name].append((time.perf_counter() - began) * 1e3)
                processor[name].append((time.process_time() - worked) * 1e3)

    height, width = options.size
    print(f"onnxruntime {onnxruntime.__version__}, {width}x{height}, network {bare.size[1]}x{bare.size[0]}")
    print(f"{'':<32}  wall ms  (half lie between)   processor ms   model(picture) is, in wall and processor time")
    ours_wall, ours_processor = (statistics.median(times["model(picture)"]) for times in (wall, processor))
    for name in sides:
        low, median, high = statistics.quantiles(wall[name], n=4)
        worked = statistics.median(processor[name])
        print(
            f"{name:<32}  {median:7.2f}  ({low:7.2f} to {high:7.2f})  {worked:13.2f}   {ours_wall / median:.3f}"
            f" {ours_processor / worked:.3f}"
        )
    print(f"loading: bare session {load_bare_s:.2f} s, roadmask.load() {load_s:.2f} s")


class Bare:
    """ONNX Runtime as it comes, and what a tutorial has around it."""

    def __init__(self, path: Path, height: int, width: int, *, spins: bool = True) -> None:
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spins)))
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        spec = parse_spec(self.session.get_modelmeta().custom_metadata_map[METADATA_KEY], str(path))
        self.input_name, self.size = spec.input_name, spec.input_size(height, width)

    def resized(self, picture: Picture) -> Picture:
        return np.asarray(cv2.resize(picture, self.size[::-1]), np.uint8)

    def scores(self, small: Picture) -> NDArray[np.float32]:
        return np.asarray(self.session.run(None, {self.input_name: small[None]})[0][0], np.float32)

    def labels(self, picture: Picture) -> Picture:
        labels = np.argmax(self.scores(self.resized(picture)), axis=0).astype(np.uint8)
        size = (picture.shape[1], picture.shape[0])
        return np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST), np.uint8)


class Steps:
    """What `model(picture)` does, one after the other."""

    def __init__(self, model: Segmenter, pictures: list[Picture]) -> None:
        self.network, self.pictures, self.tools = model._model, pictures, model._tools
        self.small = [self.made_small(number).input for number in range(len(pictures))]
        self.scored = [self.scores(number) for number in range(len(pictures))]

    def made_small(self, number: int) -> Frame:
        return _frame_of(self.pictures[number], self.network.spec, self.tools.reformatter, bgr=False)

    def scores(self, number: int) -> NDArray[np.float32]:
        return self.network.scores(self.small[number][None])[0]

    def mask(self, number: int) -> Picture:
        return self.tools.decider.mask(self.scored[number], *self.pictures[number].shape[:2])


def _timed(make: Callable[[], T]) -> tuple[T, float]:
    began = time.perf_counter()
    return make(), time.perf_counter() - began


def _pictures(clip: Path | None, height: int, width: int) -> list[Picture]:
    if clip:
        frames = [result.picture for result in roadmask.load().stream(clip, max_frames=PICTURES)]
        return [np.asarray(cv2.resize(frame, (width, height)), np.uint8) for frame in frames]
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (PICTURES, 9, 16, 3), np.uint8)
    return [np.asarray(cv2.resize(picture, (width, height)), np.uint8) for picture in coarse]


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(height), int(width)


if __name__ == "__main__":
    main()
