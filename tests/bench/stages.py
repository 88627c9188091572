"""Where a frame's processor time goes: python tests/bench/stages.py CLIP [--fast] [--device D] [--max-frames N].

Milliseconds of a core that each step of `roadmask run CLIP -o overlay.mp4` takes for a frame: medians of several runs
in one process, after one that warms up. A step's time is that of its own thread, without the steps in it; what is left
of the process's are threads of libraries: x264's, and OpenVINO's, where that is the device. `--all` writes masks and
statistics, too. Then the time of each thread: the one that takes more than its share of a frame's wall time holds up
the others; and how many cores were busy.
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
from roadmask.stream.masks import carry, deciding, smooth
from roadmask.stream.network import model as network
from roadmask.stream.run import outputs, segment, stages
from roadmask.stream.run.settings import SegmentSettings
from roadmask.stream.stats import stats

STEPS: tuple[tuple[Any, str, str], ...] = (
    (source.FileSource, "frames", "decode: Python, times"),
    (decoder.FileDecoder, "_decode", "decode: FFmpeg"),
    (source, "network_input", "shrink for the network"),
    (network.Model, "scored", "network"),
    (stages, "mark_carried", "follow: Python"),
    (carry._Trail, "follow", "follow: compare, join"),
    (carry._Look, "at", "follow: views"),
    (carry, "stepped", "follow: finer flow"),
    (deciding.Deciding, "results", "decide: Python"),
    (smooth.Smoother, "blend", "smooth: blend"),
    (smooth, "_view", "smooth: views"),
    (smooth.Flow, "motion", "flow"),
    (smooth.MovingPlanes, "moved", "smooth: move scores"),
    (smooth.MovingPlanes, "keep", "smooth: keep scores"),
    (deciding.Decider, "mask", "decide: mask"),
    (deciding.Decider, "carried", "decide: carry"),
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
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--max-frames", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--all", action="store_true", help="masks and statistics, too")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    loaded = network.Model.load(options.model, device=options.device)
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
            every=carry.FAST if options.fast else None,
            overwrite=True,
        )
        for number in range(options.repeats + 1):
            clock.seconds.clear()
            began, began_at = time.process_time(), time.perf_counter()
            report = segment.process_video(settings, loaded)
            total = time.process_time() - began
            if not number:
                continue
            steps = dict(clock.seconds)
            steps["hand-over"] = sum(report.processor_s.values()) - sum(steps.values())
            steps["libraries' threads"] = total - sum(report.processor_s.values())
            steps |= {f"thread {name}": seconds for name, seconds in report.processor_s.items()}
            steps["wall"] = time.perf_counter() - began_at
            for name, seconds in ({"all": total} | steps).items():
                rounds[name].append(1000 * seconds / report.frames)
    medians = {name: statistics.median(values) for name, values in rounds.items()}
    if options.device == "cpu":  # of others the network has threads of its own
        medians["outside the network"] = medians["all"] - medians["network"]
    threads = [name for name in medians if name.startswith("thread ")]
    steps_told = [label for *_, label in STEPS]
    for name in ("all", "outside the network", *steps_told, "libraries' threads", "hand-over", *threads, "wall"):
        if name in medians:
            print(f"{name:<34}{medians[name]:7.2f} ms")
    print(f"{'cores busy':<34}{medians['all'] / medians['wall']:7.2f}")


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
