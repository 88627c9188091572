"""Every kind of mask archive, with real masks: python tests/bench/archives.py CLIP [--frames 10000].

For each kind: processor time to write a mask, beside PNGs in a zip (of ours, and by zlib at level 1 as most programs
write them); its size; then, for an archive of many frames, how long it takes to open it and to read a mask of it at
random, and by how much memory grows with either. Kinds are written in turn, several times over; times are medians.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[2] / ".package"))

from roadmask import segment_video
from roadmask.stream.archive import png
from roadmask.stream.network.model import Model
from tests.support.clips import open_archive_sink, result_of, video_info

NAMES = ["masks", "masks.zip", "masks.mkv"]
LEVEL_1 = "masks_level_1.zip"
READS = 200

# In a process of its own, so that its memory is that of reading.
READER = """
import random, statistics, sys, time
sys.path.insert(0, {root!r})
import cv2, numpy
from roadmask.stream.archive.archive import open_masks
cv2.setNumThreads(1)

def now():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6

before, started = now(), time.process_time()
masks = open_masks({path!r})
opening, opened = time.process_time() - started, now()
chance, spent, most = random.Random(0), [], opened
for _ in range({reads}):
    position, started = chance.randrange(len(masks)), time.process_time()
    masks[position]
    spent.append(time.process_time() - started)
    most = max(most, now())
print(opening * 1e3, statistics.median(spent) * 1e3, max(spent) * 1e3, opened - before, most - opened)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--masks", type=int, default=100, help="frames of the clip whose masks are taken")
    parser.add_argument("--frames", type=int, default=10_000, help="of the archives that are read")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    masks = [result.mask for result in segment_video(options.clip, max_frames=options.masks)]
    with tempfile.TemporaryDirectory() as scratch:
        writing(masks, Path(scratch), options.repeats)
        reading(masks, Path(scratch), options.frames)


def writing(masks: list[NDArray[np.uint8]], folder: Path, repeats: int) -> None:
    spent: dict[str, list[float]] = {name: [] for name in [*NAMES, LEVEL_1]}
    for _ in range(repeats + 1):  # the first warms up
        for name, times in spent.items():
            times.append(written(masks, folder / name, len(masks)))
    ours, usual = (statistics.median(spent[name][1:]) for name in ("masks.zip", LEVEL_1))
    print(f"{len(masks)} masks of {masks[0].shape[1]}x{masks[0].shape[0]}, {repeats} rounds")
    print(f"{'':20}{'ms a mask':>10}  {'(from, to)':>14}{'speed of zip':>14}{'of zip, zlib 1':>16}{'kB a mask':>11}")
    for name, times in spent.items():
        median, spread = statistics.median(times[1:]), f"{min(times[1:]):.2f} to {max(times[1:]):.2f}"
        size = size_of(folder / name) / len(masks) / 1000
        print(f"{name:20}{median:10.2f}  {spread:>14}{ours / median:14.2f}{usual / median:16.2f}{size:11.2f}")


def written(masks: list[NDArray[np.uint8]], path: Path, count: int) -> float:
    """Milliseconds of a core to write a mask."""
    options = png._PNG_OPTIONS
    if path.name == LEVEL_1:
        png._PNG_OPTIONS = (cv2.IMWRITE_PNG_COMPRESSION, 1)
    height, width = masks[0].shape
    results = [result_of(mask) for mask in masks]
    spec = Model.load().spec
    started = time.process_time()
    with open_archive_sink(path, video_info(width, height), spec, source="drive.mp4", overwrite=True) as sink:
        for number in range(count):
            result = results[number % len(results)]
            object.__setattr__(result.frame, "index", number)
            object.__setattr__(result.frame, "pts", 512 * number)
            sink.write(result)
    png._PNG_OPTIONS = options
    return (time.process_time() - started) / count * 1e3


def reading(masks: list[NDArray[np.uint8]], folder: Path, frames: int) -> None:
    print(f"\n{frames} masks, {READS} of them read at random")
    print(f"{'':20}{'to open ms':>12}{'a mask ms':>11}{'slowest':>9}{'MB to open':>12}{'to read':>9}")
    for name in NAMES:
        path = folder / f"many_{name}"
        written(masks, path, frames)
        code = READER.format(root=str(Path(__file__).parents[2] / ".package"), path=str(path), reads=READS)
        output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
        opening, median, slowest, opened, read = map(float, output.split())
        print(f"{name:20}{opening:12.0f}{median:11.2f}{slowest:9.2f}{opened:12.1f}{read:9.1f}")


def size_of(path: Path) -> int:
    return (
        sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.is_dir() else path.stat().st_size
    )


if __name__ == "__main__":
    main()
