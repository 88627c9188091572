"""What a larger or smaller input gives: python tests/bench/sizes.py MODEL camvid/ idd/:idd-lite:'train_*7'.

The mean IoU that `roadmask eval --size` tells, of pictures by themselves: of a data set, or DATA:MAP:DRIVE as `--map`
and `--drive` have them. `--sizes` are those of `--size`. First stands what a call of the network takes of a core, in
turn, against the first size: ratios of medians.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / ".package"))

import numpy as np

from roadmask.export.choice import of_drive, own_choice
from roadmask.export.evaluate import evaluate_model
from roadmask.stream.network.model import Model

_CALLS = 9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a file, or the name of a model in the box")
    parser.add_argument("data", nargs="+", metavar="DATA[:MAP[:DRIVE]]")
    parser.add_argument("--sizes", nargs="+", default=["default", "small", "large"])
    options = parser.parse_args()
    for size, taken in costs(options.model, options.sizes).items():
        print(f"{size}: {taken:.2f} of the time")
    for data in options.data:
        root, class_map, drive = [*data.split(":"), "", ""][:3]
        choice = of_drive([drive]) if drive else own_choice
        maps = [class_map] if class_map else []
        for size in options.sizes:
            score = evaluate_model(
                options.model, Path(root), choice=choice, class_map=maps, smooth=False, device="cpu", size=size
            )
            print(f"{data} {size}: {score.mean_iou:.4f}", flush=True)


def costs(name: str, sizes: list[str]) -> dict[str, float]:
    models = {size: Model.load(name, device="cpu", threads=1, size=size) for size in sizes}
    seconds: dict[str, list[float]] = {size: [] for size in sizes}
    for _ in range(_CALLS):
        for size, model in models.items():
            picture = np.zeros((1, model.spec.height, model.spec.width, 3), np.uint8)
            began = time.process_time()
            model.scores(picture)
            seconds[size].append(time.process_time() - began)
    return {size: statistics.median(taken) / statistics.median(seconds[sizes[0]]) for size, taken in seconds.items()}


if __name__ == "__main__":
    main()
