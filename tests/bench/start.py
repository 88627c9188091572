"""How soon `roadmask run` has written its first frame: python tests/bench/start.py CLIP [RUN OPTIONS].

Times whole processes that end after one frame, and for comparison ones that only load the model: medians of several,
by the clock and in time on a core. Python's compiled files are there, as they are of what pip has installed.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPEATS = 7
ROOT = Path(__file__).parents[2]


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
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    with tempfile.TemporaryDirectory() as folder:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment |= {"PYTHONPYCACHEPREFIX": f"{folder}/compiled", "PYTHONPATH": str(ROOT / ".package")}
        for repeat in range(REPEATS + 1):  # the first compiles, and warms the disk's cache
            for name, arguments in cases.items():
                started, on_a_core = time.perf_counter(), _children_s()
                subprocess.run(
                    [sys.executable, *arguments], cwd=folder, env=environment, check=True, capture_output=True
                )
                if repeat:
                    times[name].append((time.perf_counter() - started, _children_s() - on_a_core))
    for name, values in times.items():
        walls, cores = zip(*values, strict=True)
        spread = f"({min(walls):.2f} to {max(walls):.2f})"
        print(f"{name:<42}{statistics.median(walls):6.2f} s {spread}, {statistics.median(cores):.2f} s of a core")


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
