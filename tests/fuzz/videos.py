"""Runs on damaged videos, by the thousand: python tests/fuzz/videos.py [--inputs 10000] [--seed 0] [--processes 2].

Small clips of many containers and codecs are mutated: bits, bytes and stretches changed, taken out, doubled, numbers
set to extremes, ends cut off. Each is run to overlay, masks and statistics with a model that costs nothing, in a
process that is watched: a run must end by itself, with a report or an error in one line, in 10 seconds and 1 GiB. What
does not is kept, with the seed that makes it again, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import multiprocessing
import queue
import random
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[2] / ".package"))

from roadmask.stream.errors import RoadmaskError
from roadmask.stream.network.model import Model
from roadmask.stream.run.segment import process_video
from roadmask.stream.run.settings import SegmentSettings
from tests.support.color_model import write_color_model

LONGEST_S = 10
MOST_BYTES = 1 << 30
KINDS = {
    "clip.mp4": "libx264",
    "frag.mp4": "libx264",
    "clip.mov": "mjpeg",
    "clip.mkv": "libx264",
    "hevc.mkv": "libx265",
    "ffv1.mkv": "ffv1",
    "clip.webm": "libvpx-vp9",
    "vp8.webm": "libvpx",
    "clip.avi": "mpeg4",
    "jpeg.avi": "mjpeg",
    "clip.ts": "libx264",
    "clip.mpg": "mpeg2video",
    "clip.flv": "flv",
    "clip.wmv": "wmv2",
    "clip.ogv": "libtheora",
    "clip.gif": "gif",
    "clip.y4m": "rawvideo",
    "clip.h264": "libx264",
    "clip.3gp": "h263",
}
EXTREMES = (b"\0", b"\xff", b"\x7f", b"\x80", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0")


def base_clips(folder: Path) -> list[Path]:
    """One of each kind that this FFmpeg can write."""
    made = []
    for name, codec in KINDS.items():
        with suppress(av.FFmpegError, ValueError):
            made.append(_clip(folder / name, codec))
    return made


def _clip(path: Path, codec: str) -> Path:
    options = {"movflags": "frag_keyframe+empty_moov"} if path.stem == "frag" else {}
    generator = np.random.default_rng(0)
    with av.open(path, "w", container_options=options) as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height = (176, 144) if codec == "h263" else (64, 48)
        formats = {"mjpeg": "yuvj420p", "gif": "rgb8"}
        stream.pix_fmt, stream.gop_size = formats.get(codec, "yuv420p"), 5
        for number in range(12):
            noise = generator.integers(0, 255, (stream.height // 8, stream.width // 8, 3), np.uint8)
            picture = av.VideoFrame.from_ndarray(np.kron(noise, np.ones((8, 8, 1), np.uint8)), "rgb24")
            picture = picture.reformat(format=stream.pix_fmt, dst_color_range="JPEG" if codec == "mjpeg" else None)
            picture.pts, picture.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def mutated(content: bytes, chance: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4, 16, 64))):
        at = chance.randrange(chance.choice((64, *[len(data)] * 7))) % max(len(data), 1)
        size = min(chance.choice((1, 4, 64, 1024)), len(data) - at)
        match chance.randrange(7):
            case 0 if data:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                data[at : at + size] = chance.randbytes(size)
            case 2:
                del data[at : at + size]
            case 3:
                data[at:at] = data[at : at + size]
            case 4:
                extreme = chance.choice(EXTREMES)
                data[at : at + len(extreme)] = extreme
            case 5:
                other = chance.randrange(max(len(data), 1))
                data[at : at + size] = data[other : other + size]
            case 6 if chance.random() < 0.3:
                del data[at:]
        if not data:
            break
    return bytes(data)


def work(folder: Path, seeds: Any, results: Any) -> None:
    """A process that runs what it is told to; whatever it does not survive, the parent sees."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    clips = sorted((folder / "base").iterdir())
    model = Model.load(folder / "colors.onnx", threads=1)
    scratch = Path(tempfile.mkdtemp(dir=folder))
    while (seed := seeds.get()) is not None:
        results.put(("begun", seed, multiprocessing.current_process().pid))
        end = _ended(seed, clips, model, scratch)
        results.put(("ended", seed, end))
        if "MiB" in end:
            return  # its peak would be that of all that follow


def _ended(seed: int, clips: list[Path], model: Model, scratch: Path) -> str:
    path = make(seed, clips, scratch)
    outputs = scratch / "out"
    shutil.rmtree(outputs, ignore_errors=True)
    outputs.mkdir()
    job = SegmentSettings(
        path, overlay=outputs / "seen.mp4", masks=outputs / "masks.zip", stats=outputs / "s.csv", max_frames=200
    )
    try:
        report = process_video(job, model)
        end = "partial" if report.lost else "complete"
    except RoadmaskError as exc:
        end = "failed" if len(str(exc).splitlines()) == 1 else f"FAULT: several lines: {exc}"
        if any(output.exists() for output in job.outputs):
            end = f"FAULT: outputs under their final names after {exc}"
    except Exception as exc:  # noqa: BLE001 - that is what is looked for
        end = f"FAULT: {type(exc).__name__}: {exc}"
    path.unlink()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return f"FAULT: {peak >> 20} MiB" if peak > MOST_BYTES else end


def make(seed: int, clips: list[Path], folder: Path) -> Path:
    chance = random.Random(seed)
    clip = chance.choice(clips)
    path = folder / f"{seed}{clip.suffix}"
    path.write_bytes(mutated(clip.read_bytes(), chance))
    return path


class Watched:
    """A process at work, and since when on what."""

    def __init__(self, folder: Path, seeds: Any) -> None:
        self._results: Any = multiprocessing.Queue()
        self._process = multiprocessing.Process(target=work, args=(folder, seeds, self._results), daemon=True)
        self._process.start()
        self._seed: int | None = None
        self._since = time.monotonic()

    def ends(self) -> Iterator[tuple[int, str]]:
        """What has ended since it was last asked for; a process that crashed or hangs ends with what it was at."""
        with suppress(queue.Empty):
            while True:
                what, seed, end = self._results.get_nowait()
                self._seed, self._since = (seed, time.monotonic()) if what == "begun" else (None, time.monotonic())
                if what == "ended":
                    yield seed, end
        if self._seed is None:
            return
        if not self._process.is_alive():
            yield self._seed, f"FAULT: the process ended with {self._process.exitcode}"
        elif time.monotonic() - self._since > LONGEST_S:
            self._process.kill()
            self._process.join()
            yield self._seed, f"FAULT: no end after {LONGEST_S} s"

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first input")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-faults"), help="where inputs with faults go")
    options = parser.parse_args()
    multiprocessing.set_start_method("spawn")
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "base").mkdir()
        clips = sorted(base_clips(folder / "base"))
        write_color_model(folder / "colors.onnx")
        seeds: Any = multiprocessing.Queue()
        for seed in range(options.seed, options.seed + options.inputs):
            seeds.put(seed)
        workers = [Watched(folder, seeds) for _ in range(options.processes)]
        while counts.total() < options.inputs:
            for number, worker in enumerate(workers):
                for seed, end in worker.ends():
                    counts[end.partition(":")[0]] += 1
                    if end.startswith("FAULT"):
                        options.keep.mkdir(exist_ok=True)
                        print(f"{make(seed, clips, options.keep)}: {end}", flush=True)
                    if counts.total() % 500 == 0:
                        print(f"{counts.total()}: {dict(counts)}", flush=True)
                if not worker.is_alive:
                    workers[number] = Watched(folder, seeds)
            time.sleep(0.02)
    print(f"{len(clips)} kinds of clips, {options.inputs} inputs from seed {options.seed}: {dict(counts)}")
    return 1 if counts["FAULT"] else 0


if __name__ == "__main__":
    sys.exit(main())
