"""Where a frame's processor time goes: python tests/bench/stages.py CLIP [--model M] [--max-frames N] [--repeats N].

Milliseconds of a core that each step of `roadmask run CLIP -o overlay.mp4` takes for a frame: medians of several runs
in one process, after one that warms up. A step's time is that of its own thread, without the steps in it; what is left
of the process's are threads of libraries, which here are x264's. `--all` writes masks and statistics, too.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / ".package"))


import cv2

from roadmask.stream.archive import mask_sink
from roadmask.stream.decode import decoder, source
from roadmask.stream.encode import overlay, video_sink
from roadmask.stream.masks import deciding, smooth
from roadmask.stream.network import model as network
from roadmask.stream.run import outputs, segment
from roadmask.stream.run.settings import SegmentSettings
from roadmask.stream.stats import stats

STEPS: tuple[tuple[Any, str, str], ...] = (
    (source.FileSource, "frames", "decode: Python, times"),
    (decoder.FileDecoder, "_decode", "decode: FFmpeg"),
    (source, "network_input", "shrink for the network"),
    (network.Model, "scored", "network"),
    (deciding.Deciding, "results", "decide: Python"),
    (smooth.Smoother, "blend", "smooth: blend"),
    (smooth, "_view", "smooth: views"),
    (smooth.Flow, "motion", "smooth: flow"),
    (smooth.MovingPlanes, "moved", "smooth: move scores"),
    (smooth.MovingPlanes, "keep", "smooth: keep scores"),
    (deciding.Decider, "mask", "decide: mask"),
    (overlay.Overlay, "render", "draw"),
    (video_sink.OverlayVideoSink, "write", "write overlay: Python, container"),
    (video_sink.PiecewiseEncoder, "encode", "encode: this thread"),
    (video_sink.OverlayVideoSink, "_mux", "mux"),
    (stats.CsvStatsSink, "write", "statistics"),
    (mask_sink.MaskSink, "write", "masks"),
    (outputs.Outputs, "write", "write: Python, progress"),
)


@dataclass
class Clock:
    """Adds up the time that each step took on its thread, without the steps inside it."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    here: threading.local = field(default_factory=threading.local)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        outer = getattr(self.here, "inside", 0.0)
        self.here.inside, began = 0.0, time.thread_time()
        try:
            yield
        finally:
            taken = time.thread_time() - began
            self.seconds[name] += taken - self.here.inside
            self.here.inside = outer + taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--max-frames", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--all", action="store_true", help="masks and statistics, too")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    loaded = network.Model.load(options.model, device="cpu")
    clock = Clock()
    for owner, name, label in STEPS:
        setattr(owner, name, _timed(getattr(owner, name), clock, label))
    rounds: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        settings = SegmentSettings(
            options.clip,
            overlay=Path(folder, "o.mp4"),
            stats=Path(folder, "s.csv") if options.all else None,
            masks=Path(folder, "m.zip") if options.all else None,
            max_frames=options.max_frames,
            overwrite=True,
        )
        for number in range(options.repeats + 1):
            clock.seconds.clear()
            began = time.process_time()
            report = segment.process_video(settings, loaded)
            total = time.process_time() - began
            if not number:
                continue
            steps = dict(clock.seconds)
            steps["hand-over"] = sum(report.processor_s.values()) - sum(steps.values())
            steps["encode: x264's threads"] = total - sum(report.processor_s.values())
            for name, seconds in ({"all": total} | steps).items():
                rounds[name].append(1000 * seconds / report.frames)
    medians = {name: statistics.median(values) for name, values in rounds.items()}
    medians["outside the network"] = medians["all"] - medians["network"]
    for name in ("all", "outside the network", *(label for *_, label in STEPS), "encode: x264's threads", "hand-over"):
        if name in medians:
            print(f"{name:<34}{medians[name]:7.2f} ms")


def _timed(function: Callable[..., Any], clock: Clock, label: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def timed(*arguments: Any, **named: Any) -> Any:
        with clock.step(label):
            result = function(*arguments, **named)
        return _timed_items(result, clock, label) if isinstance(result, Iterator) else result

    return timed


def _timed_items(items: Any, clock: Clock, label: str) -> Iterator[Any]:
    """A generator works when it is asked."""
    try:
        while True:
            with clock.step(label):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item
    finally:
        items.close()


if __name__ == "__main__":
    main()
