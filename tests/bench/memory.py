"""Whether memory grows with a video's length: python tests/bench/memory.py CLIP [--times 10] [RUN OPTIONS].

Runs `roadmask run` on the clip and on the same clip many times over, each in a process of its own, and compares the
peaks of their resident memory.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import av


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--times", type=int, default=10)
    options, run_options = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        long = Path(folder) / "long.mkv"
        frames = _repeat(options.clip, long, options.times)
        once = Path(folder) / "once.mkv"
        _repeat(options.clip, once, 1)
        short_mb, long_mb = (_peak_mb(clip, Path(folder), run_options) for clip in (once, long))
    print(
        f"{options.clip.name}: {frames // options.times} frames {short_mb:.0f} MB, {frames} frames {long_mb:.0f} MB, "
        f"ratio {long_mb / short_mb:.3f}"
    )


def _repeat(clip: Path, target: Path, times: int) -> int:
    """The clip's packets, `times` over, one after the other; returns the number of packets."""
    count, shift = 0, 0
    with av.open(target, "w") as output:
        stream = None
        for _ in range(times):
            with av.open(clip) as source:
                video = source.streams.video[0]
                stream = stream or output.add_stream_from_template(video)
                last = shift
                for packet in source.demux(video):
                    if packet.pts is None or packet.dts is None:
                        continue
                    packet.stream = stream
                    packet.pts += shift
                    packet.dts += shift
                    last = max(last, packet.pts + (packet.duration or 1))
                    output.mux(packet)
                    count += 1
                shift = last
    return count


def _peak_mb(clip: Path, folder: Path, run_options: list[str]) -> float:
    outputs = ["--overlay", "o.mp4", "--masks", "m.zip", "--stats", "s.csv", "--overwrite", "-q"]
    code = (
        "import resource, sys; from roadmask.stream.cli import main; code = main(sys.argv[1:]);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr); sys.exit(code)"
    )
    command = [sys.executable, "-c", code, "run", str(clip), *outputs, *run_options]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes on macOS, else kilobytes
    return int(done.stderr.split()[-1]) * unit / 1e6


if __name__ == "__main__":
    assert resource, "Windows has no getrusage"
    main()
