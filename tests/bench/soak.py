"""Whether a run of any length stays as it is: python tests/bench/soak.py [--frames 100000] [--overlay .mkv].

Makes a video of so many frames, runs it with all outputs in a process of its own, and looks every second at that
process's memory and open descriptors. Both must be in the last tenth of the run what they were in the second. The index
of an .mp4 overlay is in memory until the file is closed, 76 bytes a frame, which shows here.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from statistics import median

import av
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[2] / ".package"))

from tests.support.color_model import write_color_model

MOST_GROWTH = 1.03


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--size", default="480x270", metavar="WxH")
    parser.add_argument("--overlay", default=".mkv", help="its suffix")
    parser.add_argument("--masks", default=".zip", help="their archive's suffix")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    with tempfile.TemporaryDirectory() as name:
        clip = _moving(Path(name, "long.mp4"), options.frames, height, width)
        model = write_color_model(Path(name, "colors.onnx"))
        out = Path(name)
        overlay, masks = out / f"seen{options.overlay}", out / f"masks{options.masks}"
        outputs = ["--overlay", overlay, "--masks", masks, "--stats", out / "shares.csv"]
        command = [sys.executable, "-m", "roadmask", "run", clip, *outputs, "--model", model, "-q"]
        started = time.monotonic()
        process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
        samples = []
        while process.poll() is None:
            samples.append(_sample(process.pid))
            time.sleep(1)
        minutes = (time.monotonic() - started) / 60
        with (out / "shares.csv").open(encoding="utf-8") as file:
            frames = sum(1 for _ in file) - 1
    samples = [sample for sample in samples if all(sample)]
    tenth = len(samples) // 10
    print(f"{frames} of {options.frames} frames at {width}x{height} in {minutes:.1f} minutes")
    flat = process.returncode == 0 and frames == options.frames
    for what, unit, values in zip(("memory", "descriptors"), (" MB", ""), zip(*samples, strict=True), strict=True):
        early, late = median(values[tenth : 2 * tenth]), median(values[-tenth:])
        flat &= late <= early * MOST_GROWTH
        print(f"{what}: {early:.1f}{unit} in the second tenth, {late:.1f}{unit} in the last ({late / early:.3f})")
    return 0 if flat else 1


def _moving(path: Path, frames: int, height: int, width: int) -> Path:
    """Blocks that move over a ground of another colour."""
    pictures = np.full((100, height, width, 3), (128, 64, 128), np.uint8)
    for number, picture in enumerate(pictures):
        at = number * (width - 40) // 100
        picture[height // 3 :, at : at + 40] = (64, 0, 128)
        picture[: height // 4] = (128, 128, 128)
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        ready = [av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="yuv420p") for picture in pictures]
        for number in range(frames):
            picture = ready[number % len(ready)]
            picture.pts, picture.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def _sample(pid: int) -> tuple[float, int]:
    """Megabytes of a process that are its own, and how many descriptors it has open; zeros when it has just ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        kilobytes = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))
        return kilobytes / 1024, len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except (OSError, StopIteration):
        return 0, 0


if __name__ == "__main__":
    sys.exit(main())
