"""How soon `roadmask run` has written its first frame: python tests/bench/start.py CLIP [RUN OPTIONS].

Times whole processes that end after one frame, and for comparison ones that only load the model; medians of several.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPEATS = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    options, run_options = parser.parse_known_args()
    first_frame = ["run", str(options.clip.resolve()), "--max-frames", "1", "--overwrite", "-q", *run_options]
    cases = {
        "python alone": ["-c", "pass"],
        "roadmask --help": ["-m", "roadmask", "--help"],
        "roadmask info MODEL (loads the network)": ["-m", "roadmask", "info", "camvid-lite0"],
        "run to the first frame of an overlay": ["-m", "roadmask", *first_frame, "-o", "o.mp4"],
        "run to the first mask": ["-m", "roadmask", *first_frame, "--masks", "m.zip"],
    }
    times: dict[str, list[float]] = {name: [] for name in cases}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(REPEATS + 1):  # the first warms the disk's cache
            for name, arguments in cases.items():
                started = time.perf_counter()
                subprocess.run([sys.executable, *arguments], cwd=folder, check=True, capture_output=True)
                if repeat:
                    times[name].append(time.perf_counter() - started)
    for name, values in times.items():
        print(f"{name:<42}{statistics.median(values):6.2f} s ({min(values):.2f} to {max(values):.2f})")


if __name__ == "__main__":
    main()
