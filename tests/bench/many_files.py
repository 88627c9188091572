"""What a file costs beyond its frames: python tests/bench/many_files.py [--files 1000] [--frames 8] [--jobs 1].

Makes a folder of small clips and one clip of as many frames, and runs `roadmask run` on either, with all outputs. The
difference, shared out among the files, is what opening and closing one costs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[2] / ".package"))

from tests.support.clips import cfr, make_clip

SIZE = (360, 480)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--frames", type=int, default=8, help="of each")
    parser.add_argument("--jobs", default="1")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "drives").mkdir()
        first = make_clip(folder / "drives" / "0000.mp4", cfr(options.frames), size=SIZE)
        for number in range(1, options.files):
            shutil.copy(first, folder / "drives" / f"{number:04}.mp4")
        one = make_clip(folder / "one.mp4", cfr(options.frames * options.files), size=SIZE)
        one_s, one_processor_s = _timed(one, folder / "one", options.jobs)
        all_s, all_processor_s = _timed(folder / "drives", folder / "many", options.jobs)
        again_s, _ = _timed(folder / "drives", folder / "many", options.jobs)
        sources = json.loads((folder / "many/summary.json").read_text(encoding="utf-8"))["sources"]
    assert sum(entry["state"] == "done" for entry in sources) == options.files
    print(
        f"{options.files} files of {options.frames} frames, {SIZE[1]}x{SIZE[0]}, --jobs {options.jobs}: {all_s:.1f} s"
    )
    print(f"as many frames in one file: {one_s:.1f} s")
    print(f"overhead of a file: {(all_s - one_s) / options.files:.3f} s", end="; ")
    print(f"in processor time {(all_processor_s - one_processor_s) / options.files:.3f} s")
    print(f"the same call again, with nothing to do: {again_s:.1f} s, {again_s / options.files * 1000:.1f} ms a file")


def _timed(source: Path, out: Path, jobs: str) -> tuple[float, float]:
    """Wall-clock and processor seconds of a run."""
    before, started = getrusage(RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "roadmask", "run", str(source), "-o", f"{out}/", "-q", "--jobs", jobs]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = getrusage(RUSAGE_CHILDREN)
    return time.perf_counter() - started, sum(after[:2]) - sum(before[:2])


if __name__ == "__main__":
    main()
