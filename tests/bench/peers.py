"""`roadmask run` beside what users would write or install: python tests/bench/peers.py CLIP [--plot FILE.png].

An overlay video of the same clip by the same model file: by a loop around OpenCV, by `supervision.process_video` (three
threads; left out where supervision is not installed: pip install supervision), and by `roadmask run`, which also
enlarges scores rather than labels, keeps each frame's own time and steadies its masks (--no-smooth leaves that out).
All run in one process, in turn, several times over: read the ratios to the bare model, which is ONNX Runtime as it
comes, in a loop on pictures that wait in memory.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from roadmask.stream.decode.source import open_source
from roadmask.stream.network.model import Model
from roadmask.stream.run.segment import process_video
from roadmask.stream.run.settings import SegmentSettings
from roadmask.stream.run.stages import network_size

mpl.use("Agg")
from matplotlib import pyplot as plt

Picture = NDArray[np.uint8]


class Peer:
    """What an overlay needs around a session, as a tutorial has it."""

    def __init__(self, model: Model, size: tuple[int, int]) -> None:
        self.session = onnxruntime.InferenceSession(str(model.path), providers=["CPUExecutionProvider"])
        self.input_name = model.spec.input_name
        self.height, self.width = size
        self.palette = np.array([item.color[::-1] for item in model.spec.classes], np.uint8)

    def overlay(self, frame: Picture, _index: int = 0) -> Picture:
        small = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), (self.width, self.height))
        scores = self.session.run(None, {self.input_name: small[None]})[0][0]
        labels = np.argmax(scores, axis=0).astype(np.uint8)
        mask = cv2.resize(labels, (frame.shape[1], frame.shape[0]), interpolation=cv2.INTER_NEAREST)
        return np.asarray(cv2.addWeighted(frame, 0.5, self.palette[mask], 0.5, 0), np.uint8)

    def opencv_loop(self, clip: Path, target: Path, frames: int) -> None:
        video = cv2.VideoCapture(str(clip))
        size = (int(video.get(cv2.CAP_PROP_FRAME_WIDTH)), int(video.get(cv2.CAP_PROP_FRAME_HEIGHT)))
        writer = cv2.VideoWriter(str(target), cv2.VideoWriter_fourcc(*"mp4v"), video.get(cv2.CAP_PROP_FPS), size)
        for _ in range(frames):
            found, frame = video.read()
            if not found:
                break
            writer.write(self.overlay(np.asarray(frame, np.uint8)))
        writer.release()
        video.release()

    def supervision(self, clip: Path, target: Path, frames: int) -> None:
        import supervision

        supervision.process_video(str(clip), str(target), self.overlay, max_frames=frames)

    def bare(self, inputs: list[Picture]) -> None:
        for picture in inputs:
            self.session.run(None, {self.input_name: picture[None]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--max-frames", type=int, default=100)
    parser.add_argument("--no-smooth", dest="smooth", action="store_false")
    parser.add_argument("--plot", type=Path, help="a bar chart of the medians")
    options = parser.parse_args()

    model = Model.load(options.model, device="cpu")
    with open_source(options.clip) as source:
        size = network_size(model, source.info)
        inputs = [frame.input for frame in islice(source.frames(lambda _: size), options.max_frames)]
    peer, frames = Peer(model, size), len(inputs)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "peer.mp4"
        settings = SegmentSettings(
            options.clip, Path(folder) / "ours.mp4", max_frames=frames, smooth=options.smooth, overwrite=True
        )
        cases: dict[str, Callable[[], object]] = {
            "bare model": partial(peer.bare, inputs),
            "OpenCV loop": partial(peer.opencv_loop, options.clip, target, frames),
            "supervision.process_video": partial(peer.supervision, options.clip, target, frames),
            "roadmask run": partial(process_video, settings, model),
        }
        if find_spec("supervision") is None:
            del cases["supervision.process_video"]
        rates = _time(cases, frames, options.repeats)
    _tell(rates, f"{options.clip.name}, {frames} frames, {model.path.stem}, network {size[1]}x{size[0]}")
    if options.plot:
        _plot(rates, options.plot)


def _time(cases: dict[str, Callable[[], object]], frames: int, repeats: int) -> dict[str, list[tuple[float, float]]]:
    """Frames per second, and a core's ms a frame, of each case in each round; the first warms up."""
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    for repeat in range(repeats + 1):
        for name, case in cases.items():
            started, processor = time.perf_counter(), time.process_time()
            case()
            if repeat:
                spent = time.process_time() - processor
                rates[name].append((frames / (time.perf_counter() - started), 1000 * spent / frames))
    return rates


def _tell(rates: dict[str, list[tuple[float, float]]], title: str) -> None:
    print(title)
    median = {name: statistics.median(rate for rate, _ in values) for name, values in rates.items()}
    for name, values in rates.items():
        of_ours = median["roadmask run"] / median[name]
        spent = statistics.median(milliseconds for _, milliseconds in values)
        print(
            f"{name:<26}{median[name]:6.1f} fps ({min(values)[0]:.1f} to {max(values)[0]:.1f}), "
            f"{median[name] / median['bare model']:.2f} of bare, {spent:6.1f} ms of a core a frame; "
            f"roadmask is {of_ours:.2f} times as fast"
        )


def _plot(rates: dict[str, list[tuple[float, float]]], path: Path) -> None:
    names = list(rates)[::-1]
    values = [[rate for rate, _ in rates[name]] for name in names]
    medians = np.array([statistics.median(value) for value in values])
    spread = np.array([[m - min(v), max(v) - m] for m, v in zip(medians, values, strict=True)]).T
    figure, axes = plt.subplots(figsize=(8, 0.6 * len(names) + 1), layout="constrained")
    colors = ["#1f77b4" if name == "roadmask run" else "#b8c4cc" for name in names]
    bars = axes.barh(names, medians, xerr=spread, color=colors, ecolor="#555555", capsize=3)
    axes.bar_label(bars, labels=[f"{median:.1f}" for median in medians], padding=12)
    axes.set_xlabel("frames per second, median of the rounds; the line spans all rounds")
    axes.set_xlim(0, max(map(max, values)) * 1.15)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
