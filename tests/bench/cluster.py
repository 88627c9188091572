"""Two nodes of one core against one process on one: python tests/bench/cluster.py CLIP [--frames 3000] [--rounds 2].

The clip is repeated to a video of so many frames, and made with all outputs by `roadmask run` on one core, and by the
same with `--ray` on a Ray cluster of two nodes, each of whose processes are kept to a core of their own. The masks must
be the same byte for byte. Frames per second of a core, for sizing a cluster, come out beside the ratio.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[2] / ".package"))

from tests.support.file_content import content, pictures_of

ONE_CORE = ["--threads", "1", "--workers", "1"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--frames", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    first, second, *_ = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name, _cluster(first, second) as address:
        folder = Path(name)
        frames = _repeated(options.clip, folder / "long.mp4", options.frames)
        ratios, speeds = [], []
        for number in range(options.rounds):
            with _kept_to({first}):
                one_s = _timed(folder / "long.mp4", folder / f"one{number}", ONE_CORE)
            two_s = _timed(folder / "long.mp4", folder / f"two{number}", ["--ray", address])
            ratios.append(one_s / two_s)
            speeds.append(frames / one_s)
            print(f"{frames} frames: one core {one_s:.1f} s, two nodes {two_s:.1f} s, {one_s / two_s:.2f} times")
            same = [
                content(folder / f"one{number}/long_masks") == content(folder / f"two{number}/long_masks"),
                content(folder / f"one{number}/long_stats.csv") == content(folder / f"two{number}/long_stats.csv"),
                pictures_of(folder / f"one{number}/long_overlay.mp4")
                == pictures_of(folder / f"two{number}/long_overlay.mp4"),
            ]
            assert all(same), f"masks, statistics, overlay are the same: {same}"
    print(f"median {statistics.median(ratios):.2f} times; {statistics.median(speeds):.1f} frames a second of a core")


def _repeated(clip: Path, target: Path, frames: int) -> int:
    """The clip again and again, not encoded again."""
    count, begin = 0, 0
    with av.open(target, "w") as out:
        stream = None
        while count < frames:
            with av.open(clip) as source:
                video = source.streams.video[0]
                stream = stream or out.add_stream_from_template(video)
                packets = [
                    packet for packet in source.demux(video) if packet.dts is not None and packet.pts is not None
                ]
                shift = begin - packets[0].dts
                begin = packets[-1].dts + packets[-1].duration + shift  # a packet that is muxed knows it no more
                for packet in packets:
                    packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                    out.mux(packet)
                count += len(packets)
    return count


def _timed(source: Path, out: Path, options: list[str]) -> float:
    started = time.perf_counter()
    command = [sys.executable, "-m", "roadmask", "run", str(source), "-o", f"{out}/", "-q", *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


@contextmanager
def _kept_to(cores: set[int]) -> Iterator[None]:
    """What is started within stays on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def _cluster(first: int, second: int) -> Iterator[str]:
    """Two nodes; the address of their cluster."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    with _kept_to({first}):
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    with _kept_to({second}):
        cluster.add_node(num_cpus=1)
    try:
        yield cluster.address
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
