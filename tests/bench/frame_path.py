"""How much of the bare model's speed a whole run keeps: python tests/bench/frame_path.py CLIP [--model M].

Everything is timed in one process, in turn, several times over, because machines are noisy: read the ratios of the
medians. The bare model is the same session called in a loop on pictures that wait in memory.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np

from stream.model import Model
from stream.segment import SegmentSettings, network_size, process_video
from stream.source import open_source


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--max-frames", type=int, default=150)
    options = parser.parse_args()

    model = Model.load(options.model, device=options.device)
    with open_source(options.clip) as source:
        size = network_size(model, source.info)
        pictures = [frame.input for frame in islice(source.frames(size), options.max_frames)]
    frames = len(pictures)

    def bare() -> None:
        for picture in pictures:
            model.scores(np.ascontiguousarray(picture[None]))

    def decode() -> None:
        with open_source(options.clip, max_frames=frames) as source:
            for _ in source.frames(size):
                pass

    def outputs(*names: str) -> Callable[[], None]:
        def run() -> None:
            with tempfile.TemporaryDirectory() as folder:
                paths = {"overlay": "overlay.mp4", "masks": "masks.zip", "stats": "stats.csv"}
                chosen = {name: Path(folder) / paths[name] for name in names}
                process_video(SegmentSettings(options.clip, max_frames=frames, **chosen), model)

        return run

    cases: dict[str, Callable[[], None]] = {
        "bare model": bare,
        "decode and scale": decode,
        "run, statistics": outputs("stats"),
        "run, masks": outputs("masks"),
        "run, overlay": outputs("overlay"),
        "run, all three": outputs("overlay", "masks", "stats"),
    }
    rates = _time(cases, frames, options.repeats)
    print(f"{options.clip.name}, {frames} frames, network {size[1]}x{size[0]}, {model.device}")
    base = statistics.median(rates["bare model"])
    for name, values in rates.items():
        median = statistics.median(values)
        print(f"{name:<18} {median:7.1f} fps  ({min(values):.1f} to {max(values):.1f})  {median / base:5.2f} of bare")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def _time(cases: dict[str, Callable[[], None]], frames: int, repeats: int) -> dict[str, list[float]]:
    """Frames per second of each case, round after round; the first round warms up and is not counted."""
    rates: dict[str, list[float]] = {name: [] for name in cases}
    for repeat in range(repeats + 1):
        for name, case in cases.items():
            started = time.perf_counter()
            case()
            if repeat:
                rates[name].append(frames / (time.perf_counter() - started))
    return rates


if __name__ == "__main__":
    main()
