"""A run killed at random moments and gone on with each time: python tests/bench/kills.py CLIP [--kills 30].

Runs the clip once in one go, then again with SIGKILL at random moments and --resume, and compares: masks and statistics
byte for byte, overlay frame for frame. For each kill it tells how much of the work done was not on disk yet.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av

sys.path.insert(0, str(Path(__file__).parents[2] / ".package"))

from roadmask.stream.masks.deciding_state import unpack_state
from roadmask.stream.run.claim import progress_folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--masks", default="masks.zip", help="the kind of archive")
    parser.add_argument("--most-s", type=float, default=9.0, help="longest time until a kill")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        whole, killed = folder / "whole", folder / "killed"
        started = time.monotonic()
        subprocess.run(command(options.clip, whole, options.masks), check=True)
        print(f"in one go: {time.monotonic() - started:.1f} s")
        chance = random.Random(options.seed)
        lost: list[float] = []
        while len(lost) < options.kills:
            lost += kill_and_go_on(options.clip, killed, options, chance, options.kills - len(lost))
            compare(whole, killed, options.masks)
        median, most = statistics.median(lost), max(lost)
        print(f"{len(lost)} kills: seconds of work repeated: median {median:.1f}, at most {most:.1f}")


def command(clip: Path, folder: Path, masks: str) -> list[str | Path]:
    outputs: list[str | Path] = [
        "--overlay",
        folder / "seen.mp4",
        "--masks",
        folder / masks,
        "--stats",
        folder / "s.csv",
    ]
    return [sys.executable, "-m", "roadmask", "run", clip, *outputs, "--quiet"]


def kill_and_go_on(
    clip: Path, folder: Path, options: argparse.Namespace, chance: random.Random, kills: int
) -> list[float]:
    """One run in pieces, to its end; the seconds of work that each kill cost."""
    lost: list[float] = []
    while True:
        started = time.monotonic()
        run = subprocess.Popen([*command(clip, folder, options.masks), "--resume"])
        try:
            code = run.wait(None if len(lost) == kills else chance.uniform(0.5, options.most_s))
        except subprocess.TimeoutExpired:
            run.kill()
            run.wait()
            if (folder / "seen.mp4").exists() and not progress_folder([folder / "seen.mp4"]).exists():
                return lost  # it was on its way out, with all its files whole
            lost.append(since_saved(folder, started))
            continue
        if code:
            sys.exit(f"--resume failed with {code}")
        return lost


def since_saved(folder: Path, started: float) -> float:
    """Seconds between the last state on disk, or the start, and now."""
    state = progress_folder([folder / "seen.mp4"]) / "state.npz"
    saved = 0.0
    if state.exists():
        unpack_state(state)  # whole
        saved = time.time() - state.stat().st_mtime
    running = time.monotonic() - started
    return min(saved, running) if state.exists() else running


def compare(whole: Path, killed: Path, masks: str) -> None:
    for name in (masks, "s.csv"):
        if digest(whole / name) != digest(killed / name):
            sys.exit(f"{name} differs")
    expected, found = frames(whole / "seen.mp4"), frames(killed / "seen.mp4")
    if expected != found:
        sys.exit(f"the overlay differs: {len(expected)} and {len(found)} frames")
    print(f"identical: {len(found)} frames, {masks}, s.csv")
    for path in killed.iterdir():
        subprocess.run(["rm", "-r", path], check=True)


def digest(path: Path) -> str:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return hashlib.sha256(b"".join(file.name.encode() + file.read_bytes() for file in files)).hexdigest()


def frames(path: Path) -> list[tuple[int | None, str]]:
    with av.open(path) as container:
        return [
            (frame.pts, hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest()) for frame in container.decode(video=0)
        ]


if __name__ == "__main__":
    main()
