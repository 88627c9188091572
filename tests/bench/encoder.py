"""What H.264 settings cost and give on overlays: python tests/bench/encoder.py CLIP... [--try preset=faster:bf=0].

The overlays are drawn once. Each candidate then encodes them at three values of crf, round after round. A preset
changes what a crf means, so candidates are compared where their SSIM is that of the first at crf 23: size and
processor time there, by interpolation between the three. `same crf` is what one gets without moving the crf. `ahead`
is how many pictures go in before the first comes out, and memory is what 1080p pictures add to a process.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import av
import cv2
import numpy as np
from av.codec.context import ThreadType
from numpy.typing import NDArray

from roadmask.stream.decode.pixels import planes_of
from roadmask.stream.decode.source import open_source
from roadmask.stream.encode.h264 import choose_encoder
from roadmask.stream.encode.overlay import Overlay
from roadmask.stream.network.model import Model
from roadmask.stream.run.segment import segment_video
from roadmask.stream.system.machine import peak_memory_mb

VideoPacket: TypeAlias = "av.Packet[av.VideoStream]"  # a class that takes no brackets when it runs

CRFS = (20, 23, 26)
_USUAL_CRF = 1  # its place
_JUDGED_EVERY = 5  # frames: SSIM costs more than the encoding
# The first is what the others are compared with: what an overlay was encoded with before anything was measured.
CANDIDATES = (
    "preset=veryfast:threads=1",
    "preset=veryfast:bf=0:threads=1",
    "preset=superfast:threads=1",
    "preset=superfast:bf=0:threads=1",
    "preset=ultrafast:coder=cabac:aq-mode=variance:threads=1",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--model", type=Path)
    parser.add_argument(
        "--try",
        dest="candidates",
        nargs="+",
        default=[],
        help="FFmpeg's options of libx264, joined by colons; FFmpeg passes over what it does not know",
    )
    parser.add_argument(
        "--only", action="store_true", help="the first of the usual candidates, ours, and those of --try"
    )
    parser.add_argument("--frames", type=int, default=75)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    cv2.setNumThreads(1)

    names = [*(CANDIDATES[:1] if options.only else CANDIDATES), _ours(), *options.candidates]
    memory = {name: _memory_of(name) for name in names}
    model = Model.load(options.model)
    totals: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for clip in options.clips:
        overlays, rate = _overlays(clip, model, options.frames)
        candidates = [Candidate(name) for name in names]
        for number in range(options.rounds):
            for candidate in candidates:
                candidate.encode(overlays, rate, judged=number == 0)
        print(f"\n{clip.name}: {overlays[0].width}x{overlays[0].height}, {len(overlays)} frames")
        _print_table(candidates, memory)
        for candidate in candidates:
            totals[candidate.name].append(candidate.beside(candidates[0]))
    _print_totals(totals)


@dataclass(slots=True, eq=False)
class Encoding:
    """One crf of one candidate: what it gave, and what it took in each round."""

    processor_ms: list[float] = field(default_factory=list)  # a frame
    wall_ms: list[float] = field(default_factory=list)
    kilobytes_s: float = 0.0
    ssim: float = 0.0  # of luma
    psnr: tuple[float, float] = (0.0, 0.0)  # luma, chroma
    ahead: int = 0


@dataclass(slots=True, eq=False)
class Candidate:
    """Settings of the encoder, and what came of them at each of `CRFS`."""

    name: str
    encodings: list[Encoding] = field(default_factory=lambda: [Encoding() for _ in CRFS])

    def encode(self, overlays: list[av.VideoFrame], rate: Fraction, *, judged: bool) -> None:
        for crf, encoding in zip(CRFS, self.encodings, strict=True):
            processor, wall = time.process_time(), time.perf_counter()
            packets, encoding.ahead = _encode(overlays, rate, f"crf={crf}:{self.name}")
            encoding.processor_ms.append(1000 * (time.process_time() - processor) / len(overlays))
            encoding.wall_ms.append(1000 * (time.perf_counter() - wall) / len(overlays))
            if judged:
                size = sum(packet.size for packet in packets)
                encoding.kilobytes_s = float(size / 1000 / (len(overlays) / rate))
                encoding.ssim, encoding.psnr = _quality(overlays, _decoded(packets))

    def at(self, ssim: float) -> tuple[float, float]:
        """Kilobytes a second and processor milliseconds a frame at an SSIM."""
        # In decibels of what is lacking the three are nearly on a line with the logarithm of the size, so that their
        # parabola serves a little beyond them too.
        decibels = [_decibels(encoding.ssim) for encoding in self.encodings]
        sizes = [math.log(encoding.kilobytes_s) for encoding in self.encodings]
        times = [statistics.median(encoding.processor_ms) for encoding in self.encodings]
        size, milliseconds = (_on_curve(decibels, values, _decibels(ssim)) for values in (sizes, times))
        return math.exp(size), milliseconds

    def beside(self, first: Candidate) -> tuple[float, float]:
        """Size and processor time at equal SSIM, as multiples of another's."""
        ssim = first.encodings[_USUAL_CRF].ssim
        (size, milliseconds), (its_size, its_milliseconds) = self.at(ssim), first.at(ssim)
        return size / its_size, milliseconds / its_milliseconds


def _ours() -> str:
    """What the overlay's sink takes, but for crf."""
    encoder = choose_encoder((720, 1280))
    options = encoder.options | {"threads": str(encoder.threads)}
    return ":".join(f"{name}={value}" for name, value in options.items() if name != "crf")


def _overlays(clip: Path, model: Model, count: int) -> tuple[list[av.VideoFrame], Fraction]:
    overlay = Overlay(model.spec.classes)
    with open_source(clip) as source:
        rate = source.info.rate or Fraction(25)
    pictures = [overlay.render(result) for result in segment_video(clip, model=model, max_frames=count)]
    for number, picture in enumerate(pictures):
        picture.pts, picture.time_base = number, 1 / rate
    return pictures, rate


def _encode(pictures: Sequence[av.VideoFrame], rate: Fraction, settings: str) -> tuple[list[VideoPacket], int]:
    """The packets, and how many pictures went in before the first came out."""
    options = dict(option.split("=", 1) for option in settings.split(":"))
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = pictures[0].width, pictures[0].height, "yuv420p"
    encoder.time_base, encoder.framerate, encoder.gop_size = 1 / rate, rate, round(2 * rate)
    encoder.thread_type = ThreadType.FRAME  # PyAV's default would be slices
    encoder.thread_count = int(options.pop("threads", "0"))
    encoder.options = options
    packets: list[VideoPacket] = []
    ahead = 0
    for picture in (*pictures, None):
        ahead += not packets
        packets += encoder.encode(picture)
    return packets, ahead - 1


def _decoded(packets: list[VideoPacket]) -> list[av.VideoFrame]:
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    return [picture for packet in (*packets, None) for picture in decoder.decode(packet)]


def _quality(truth: list[av.VideoFrame], seen: list[av.VideoFrame]) -> tuple[float, tuple[float, float]]:
    assert len(truth) == len(seen)
    ssims, errors = [], []
    for one, other in islice(zip(truth, seen, strict=True), None, None, _JUDGED_EVERY):
        pairs = list(zip(planes_of(one), planes_of(other), strict=True))
        ssims.append(_ssim(*pairs[0]))
        errors.append([float(np.square(cv2.absdiff(*pair).astype(np.float32)).mean()) for pair in pairs])
    luma, cb, cr = np.mean(errors, axis=0)
    return statistics.mean(ssims), (_psnr(luma), _psnr((cb + cr) / 2))


def _ssim(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Structural similarity, 1 where both are the same.

    Wang, Bovik, Sheikh, Simoncelli: Image quality assessment: from error visibility to structural similarity, IEEE
    Transactions on Image Processing 13(4), 2004; equation 13 with its window (11x11, sigma 1.5) and constants.
    """
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    x, y = one.astype(np.float32), other.astype(np.float32)
    mean_x, mean_y = _windowed(x), _windowed(y)
    var_x, var_y = _windowed(x * x) - mean_x**2, _windowed(y * y) - mean_y**2
    covariance = _windowed(x * y) - mean_x * mean_y
    similarity = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    )
    return float(similarity[5:-5, 5:-5].mean())


def _windowed(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(values, (11, 11), 1.5), np.float32)


def _decibels(ssim: float) -> float:
    return -10 * math.log10(max(1 - ssim, 1e-9))


def _psnr(error: float) -> float:
    return 10 * math.log10(255**2 / max(error, 1e-9))


def _on_curve(xs: Sequence[float], ys: Sequence[float], x: float) -> float:
    """The parabola through three points."""
    return float(np.polyval(np.polyfit(xs, ys, len(xs) - 1), x))


def _memory_of(name: str) -> float:
    """Megabytes that encoding adds to a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_added_memory, (name,))


def _added_memory(name: str) -> float:
    before = peak_memory_mb()
    _encode(list(islice(_repeated(1080, 1920), 60)), Fraction(30), name)
    after = peak_memory_mb()
    return after - before if before is not None and after is not None else math.nan


def _repeated(height: int, width: int) -> Iterator[av.VideoFrame]:
    """One picture of noise, again and again."""
    noise = np.random.default_rng(0).integers(0, 255, (height * 3 // 2, width), np.uint8)
    picture = av.VideoFrame.from_ndarray(np.asarray(cv2.GaussianBlur(noise, (9, 9), 3), np.uint8), format="yuv420p")
    number = 0
    while True:
        picture.pts, number = number, number + 1
        yield picture


def _print_table(candidates: list[Candidate], memory: dict[str, float]) -> None:
    print(f"{'':<90} {'same crf':>30} {'at equal SSIM':>25}")
    print(
        f"{'':<90} {'CPU ms':>7}{'wall':>6}{'kB/s':>7}{'SSIM':>8}{'PSNR':>6}{'chroma':>7}"
        f"{'size':>8}{'CPU':>7}{'ahead':>6}{'MB':>5}"
    )
    for candidate in candidates:
        same = candidate.encodings[_USUAL_CRF]
        size, milliseconds = candidate.beside(candidates[0])
        print(
            f"{candidate.name:<90} {statistics.median(same.processor_ms):7.2f}{statistics.median(same.wall_ms):6.1f}"
            f"{same.kilobytes_s:7.0f}{same.ssim:8.4f}{same.psnr[0]:6.1f}{same.psnr[1]:7.1f}"
            f"{size:8.2f}{milliseconds:7.2f}{same.ahead:6}{memory[candidate.name]:5.0f}",
            flush=True,
        )


def _print_totals(totals: dict[str, list[tuple[float, float]]]) -> None:
    print(f"\nGeometric mean over {len(next(iter(totals.values())))} clips, at equal SSIM:{'':<41}   size    CPU")
    for name, ratios in totals.items():
        size, milliseconds = (statistics.geometric_mean(values) for values in zip(*ratios, strict=True))
        print(f"{name:<90} {size:6.2f} {milliseconds:6.2f}")


if __name__ == "__main__":
    main()
