"""`roadmask run` beside what users would write or install: python tests/bench/peers.py CLIP [--plot FILE.png].

An overlay video of the same clip by the same model file: by a loop around OpenCV and ONNX Runtime; by the same loop
in `supervision.process_video` (three threads), with its annotator; by OpenVINO's loop of two requests in turn, as its
tutorials have it; and by `roadmask run`, which also enlarges scores rather than labels, keeps each frame's own time
and steadies its masks (--no-smooth leaves that out): as it comes, and with the bare model's file and runtime. What is
not installed is left out: pip install supervision openvino. All run in one process, in turn, several times over: read
the ratios to the bare model, which is ONNX Runtime as it comes, in a loop on pictures that wait in memory. What was
printed can be plotted later: peers.py --told FILE.txt --plot .assets/speed.png.
"""

from __future__ import annotations

import argparse
import platform
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from roadmask.stream.decode.source import open_source
from roadmask.stream.network.model import BUNDLED, Model
from roadmask.stream.run.segment import process_video
from roadmask.stream.run.settings import SegmentSettings
from roadmask.stream.run.stages import network_size
from roadmask.stream.system.machine import usable_cores

mpl.use("Agg")
from matplotlib import pyplot as plt

OURS = "roadmask run"

Picture = NDArray[np.uint8]


class Peer:
    """What an overlay needs around a session, as a tutorial has it."""

    def __init__(self, model: Model, size: tuple[int, int]) -> None:
        self.path = model.path
        self.session = onnxruntime.InferenceSession(str(model.path), providers=["CPUExecutionProvider"])
        self.input_name = model.spec.input_name
        self.height, self.width = size
        self.palette = np.array([item.color[::-1] for item in model.spec.classes], np.uint8)

    def small(self, frame: Picture) -> Picture:
        return np.asarray(cv2.resize(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), (self.width, self.height)), np.uint8)

    def labels(self, frame: Picture) -> Picture:
        """Of each pixel of the frame."""
        return self.enlarged(self.session.run(None, {self.input_name: self.small(frame)[None]})[0][0], frame)

    def enlarged(self, scores: NDArray[np.float32], frame: Picture) -> Picture:
        labels = np.argmax(scores, axis=0).astype(np.uint8)
        size = (frame.shape[1], frame.shape[0])
        return np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST), np.uint8)

    def drawn(self, frame: Picture, labels: Picture) -> Picture:
        return np.asarray(cv2.addWeighted(frame, 0.5, self.palette[labels], 0.5, 0), np.uint8)

    def opencv_loop(self, clip: Path, target: Path, frames: int) -> None:
        video, writer = _opened(clip, target)
        for frame in _read(video, frames):
            writer.write(self.drawn(frame, self.labels(frame)))
        writer.release()
        video.release()

    def supervision(self, clip: Path, target: Path, frames: int) -> None:
        import supervision

        annotator = supervision.MaskAnnotator(opacity=0.5)

        def annotated(frame: Picture, _index: int) -> Picture:
            labels = self.labels(frame)
            classes = np.unique(labels)
            masks = labels[None] == classes[:, None, None]
            found = supervision.Detections(supervision.mask_to_xyxy(masks), mask=masks, class_id=classes.astype(int))
            return np.asarray(annotator.annotate(frame.copy(), found), np.uint8)

        supervision.process_video(str(clip), str(target), annotated, max_frames=frames)

    @cached_property
    def compiled(self) -> Any:
        import openvino

        core = openvino.Core()
        network = core.read_model(self.path)
        network.reshape([1, self.height, self.width, 3])
        return core.compile_model(network, "CPU")

    def openvino_loop(self, clip: Path, target: Path, frames: int) -> None:
        """Two requests: one is worked on while the frame of the other is drawn and the next one read."""
        video, writer = _opened(clip, target)
        now, then = self.compiled.create_infer_request(), self.compiled.create_infer_request()
        before: Picture | None = None
        for frame in _read(video, frames):
            then.start_async([self.small(frame)[None]])
            if before is not None:
                now.wait()
                writer.write(self.drawn(before, self.enlarged(now.get_output_tensor(0).data[0], before)))
            now, then, before = then, now, frame
        if before is not None:
            now.wait()
            writer.write(self.drawn(before, self.enlarged(now.get_output_tensor(0).data[0], before)))
        writer.release()
        video.release()

    def bare(self, inputs: list[Picture]) -> None:
        for picture in inputs:
            self.session.run(None, {self.input_name: picture[None]})


def _opened(clip: Path, target: Path) -> tuple[cv2.VideoCapture, cv2.VideoWriter]:
    video = cv2.VideoCapture(str(clip))
    size = (int(video.get(cv2.CAP_PROP_FRAME_WIDTH)), int(video.get(cv2.CAP_PROP_FRAME_HEIGHT)))
    return video, cv2.VideoWriter(str(target), cv2.VideoWriter_fourcc(*"mp4v"), video.get(cv2.CAP_PROP_FPS), size)


def _read(video: cv2.VideoCapture, frames: int) -> Iterator[Picture]:
    for _ in range(frames):
        found, frame = video.read()
        if not found:
            return
        yield np.asarray(frame, np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path, nargs="?")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--max-frames", type=int, default=100)
    parser.add_argument("--no-smooth", dest="smooth", action="store_false")
    parser.add_argument("--plot", type=Path, help="a bar chart of the medians")
    parser.add_argument("--told", type=Path, help="plot what an earlier call printed, and measure nothing")
    options = parser.parse_args()
    if options.told and options.plot:
        plot(*read_told(options.told), options.plot)
        return
    if options.clip is None:
        parser.error("name a CLIP to measure on, or --told FILE.txt and --plot FILE.png")

    model = Model.load(options.model or BUNDLED, device="cpu")
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
            "supervision": partial(peer.supervision, options.clip, target, frames),
            "OpenVINO loop": partial(peer.openvino_loop, options.clip, target, frames),
        }
        for name in ("supervision", "openvino"):
            if find_spec(name) is None:
                del cases[{"openvino": "OpenVINO loop"}.get(name, name)]
        cases |= _ours(settings, model, options.model)
        rates = _time(cases, frames, options.repeats)
    title = f"{options.clip.name}, {frames} frames, {model.path.stem}, network {size[1]}x{size[0]}; {_processor()}"
    bars = [Bar.of(name, values) for name, values in rates.items()]
    tell(bars, title)
    if options.plot:
        plot(bars, title, options.plot)


def _ours(settings: SegmentSettings, model: Model, named: Path | None) -> dict[str, Callable[[], object]]:
    """`roadmask run` as it comes, and what it can be told beside that."""
    usual = Model.load(named)  # it may choose another runtime, and a twin of the model in the box
    cases: dict[str, Callable[[], object]] = {OURS: partial(process_video, settings, usual)}
    if (usual.device, usual.path) != (model.device, model.path):
        cases[f"{OURS} --device cpu --model {model.path.stem}"] = partial(process_video, settings, model)
    if "every" in SegmentSettings.__dataclass_fields__:
        from roadmask.stream.masks.carry import FAST

        cases[f"{OURS} --fast"] = partial(process_video, replace(settings, every=FAST), usual)
    return cases


def _processor() -> str:
    """What it is called, and how many cores of it there are."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()}, {usable_cores()} cores"
    return f"{platform.processor() or platform.machine()}, {usable_cores()} cores"


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


@dataclass(frozen=True)
class Bar:
    """Frames a second in all rounds, and what a frame took of a core."""

    name: str
    median: float
    least: float
    most: float
    milliseconds: float

    @classmethod
    def of(cls, name: str, values: list[tuple[float, float]]) -> Bar:
        rates, milliseconds = zip(*values, strict=True)
        return cls(name, statistics.median(rates), min(rates), max(rates), statistics.median(milliseconds))


def tell(bars: list[Bar], title: str) -> None:
    print(title)
    median = {bar.name: bar.median for bar in bars}
    for bar in bars:
        print(
            f"{bar.name:<50}{bar.median:6.1f} fps ({bar.least:.1f} to {bar.most:.1f}), "
            f"{bar.median / median['bare model']:.2f} of bare, {bar.milliseconds:6.1f} ms of a core a frame; "
            f"roadmask is {median[OURS] / bar.median:.2f} times as fast"
        )


def read_told(path: Path) -> tuple[list[Bar], str]:
    """What `tell` has printed, and perhaps others before and behind it."""
    lines = path.read_text(encoding="utf-8").splitlines()
    pattern = r"(.+?) +([\d.]+) fps \(([\d.]+) to ([\d.]+)\), .* ([\d.]+) ms of a core"
    found = [match for line in lines if (match := re.match(pattern, line))]
    title = next((line for line in lines if " frames, " in line), "")
    return [Bar(name, *map(float, numbers)) for name, *numbers in (match.groups() for match in found)], title


def plot(bars: list[Bar], title: str, path: Path) -> None:
    """To be read on a phone, where it is two inches wide: each name has a line of its own above its bar."""
    figure, axes = plt.subplots(figsize=(6.4, 0.6 * len(bars) + 1))
    for row, bar in enumerate(bars):
        axes.barh(row, bar.median, height=0.4, color="#1f6fd0" if bar.name.startswith(OURS) else "#aab4be")
        axes.plot([bar.least, bar.most], [row, row], color="#20262e", linewidth=1.5, marker="|", markersize=7)
        axes.text(0, row - 0.25, bar.name, fontsize=12.5, va="bottom")
        axes.text(bar.most, row, f"  {bar.median:.1f}", fontsize=15, fontweight="bold", va="center")
    axes.set_ylim(len(bars) - 0.6, -0.85)
    axes.set_xlim(0, 1.14 * max(bar.most for bar in bars))
    axes.set_title("Overlay frames a second: median, and all rounds", fontsize=13.5, loc="left")
    axes.set_axis_off()
    axes.text(0, len(bars) - 0.6, title.replace("; ", "\n"), fontsize=10.5, color="#4a5460", va="top")
    figure.savefig(path, dpi=160, bbox_inches="tight", pad_inches=0.15)


if __name__ == "__main__":
    main()
