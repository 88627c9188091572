"""What a frame's pixels cost outside the network: python tests/bench/pixels.py CLIP [--model M] [--lines 540 720 ...].

Processor time in milliseconds a frame of each step, beside the same step as it is usually written, in turn on one
thread. Frames and scores are those of the clip, the frames scaled to each size; read the ratios of the medians. Where
both ways are to give the same, the share of values that are not is shown.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from numpy.typing import NDArray

from roadmask.stream.decode.pixels import color_range, matrix, network_input, planes_of
from roadmask.stream.decode.source import open_source
from roadmask.stream.encode.overlay import Overlay, color_mask
from roadmask.stream.frames import Frame, SegmentedFrame
from roadmask.stream.masks.deciding import Decider
from roadmask.stream.masks.smooth import Smoother
from roadmask.stream.network.model import Model
from roadmask.stream.spec import PixelClass

_PACKED = Interpolation.BILINEAR | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--lines", type=int, nargs="+", default=[540, 720, 1080, 2160])
    parser.add_argument("--frames", type=int, default=8, help="so many, a third of a second apart")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    cv2.setNumThreads(1)

    model = Model.load(options.model, device="cpu", threads=1)
    frames, scores = _frames_and_scores(options.clip, model, options.frames)
    for lines in options.lines:
        results = [_scaled(frame, lines) for frame in frames]
        size = model.spec.input_size(results[0].picture.height, results[0].picture.width)
        steps = _steps(results, scores, size, model)
        print(f"{options.clip.name} at {results[0].picture.width}x{lines}, {len(frames)} frames")
        for name, step in steps.items():
            ours, usual = _time(step, len(frames), options.repeats)
            print(
                f"  {name:<16} {ours:6.2f} ms, usually {usual:6.2f} ms: {usual / ours:4.1f} times{_differing(step)}",
                flush=True,
            )


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One step of the way in two ways, each given a frame's number. Arrays are results to be compared."""

    ours: Callable[[int], Any]
    usual: Callable[[int], Any]


def _frames_and_scores(clip: Path, model: Model, count: int) -> tuple[list[Frame], list[NDArray[np.float32]]]:
    smoother, frames, scores = Smoother(), [], []
    with open_source(clip) as source:
        size = model.spec.input_size(source.info.height, source.info.width)
        for frame in islice(source.frames(lambda _: size), None, count * 10, 10):
            frames.append(frame)
            blended = smoother.blend(model.scores(frame.input[None])[0], frame.input, time=Fraction(len(frames), 30))
            scores.append(blended.copy())
    return frames, scores


def _scaled(frame: Frame, lines: int) -> Frame:
    width = round(frame.picture.width * lines / frame.picture.height / 2) * 2
    picture = frame.picture.reformat(width, lines, "yuv420p")
    return replace(frame, picture=picture)


def _steps(
    frames: list[Frame], scores: list[NDArray[np.float32]], size: tuple[int, int], model: Model
) -> dict[str, Step]:
    height, width = frames[0].picture.height, frames[0].picture.width
    classes = model.spec.classes
    decider, everywhere = Decider(len(classes)), Decider(len(classes))
    reformatter, packed = VideoReformatter(), VideoReformatter()
    results = [
        SegmentedFrame(frame, decider.mask(of_frame, height, width))
        for frame, of_frame in zip(frames, scores, strict=True)
    ]
    some = tuple(number % 2 == 0 for number in range(len(classes)))
    overlay, overlay_of_some = Overlay(classes), Overlay(classes, drawn=some)
    lines, lines_too = Overlay(classes, style="outline"), Overlay(classes, style="fill+outline")
    return {
        "network input": Step(
            lambda i: network_input(frames[i].picture, size, reformatter),
            lambda i: _packed_input(frames[i].picture, size, packed),
        ),
        "mask": Step(
            lambda i: decider.mask(scores[i], height, width),
            lambda i: everywhere._enlarge_all(scores[i], height, width),
        ),
        "overlay": Step(lambda i: overlay.render(results[i]), lambda i: _overlay(results[i], classes, None)),
        "some classes": Step(
            lambda i: overlay_of_some.render(results[i]), lambda i: _overlay(results[i], classes, some)
        ),
        "lines": Step(lambda i: lines.render(results[i]), lambda i: _lines(results[i], classes)),
        "areas and lines": Step(
            lambda i: lines_too.render(results[i]), lambda i: _lines(results[i], classes, filled=True)
        ),
        "shares": Step(
            lambda i: results[i].shares(len(classes)),
            lambda i: np.bincount(results[i].mask.ravel(), minlength=len(classes)) / results[i].mask.size,
        ),
        "mask to a frame": Step(
            lambda i: _gray(results[i].mask), lambda i: av.VideoFrame.from_ndarray(results[i].mask, format="gray")
        ),
    }


def _packed_input(picture: av.VideoFrame, size: tuple[int, int], reformatter: VideoReformatter) -> NDArray[np.uint8]:
    small = reformatter.reformat(
        picture,
        width=size[1],
        height=size[0],
        format="rgb24",
        src_colorspace=matrix(picture),
        src_color_range=color_range(picture),
        dst_color_range=ColorRange.JPEG,
        interpolation=_PACKED,
        threads=1,
    )
    return np.ascontiguousarray(small.to_ndarray(), np.uint8)


def _overlay(result: SegmentedFrame, classes: tuple[PixelClass, ...], drawn: tuple[bool, ...] | None) -> av.VideoFrame:
    """By way of a full-size RGB picture."""
    rgb = result.frame.picture.to_ndarray(format="rgb24")
    mixed = cv2.addWeighted(rgb, 0.5, color_mask(result.mask, classes), 0.5, 0)
    if drawn is not None:
        mixed = np.where(np.array(drawn)[result.mask][..., None], mixed, rgb)
    return av.VideoFrame.from_ndarray(mixed, format="rgb24").reformat(format="yuv420p")


def _lines(result: SegmentedFrame, classes: tuple[PixelClass, ...], *, filled: bool = False) -> av.VideoFrame:
    """By way of RGB, and the contours of each class."""
    rgb = result.frame.picture.to_ndarray(format="rgb24")
    if filled:
        rgb = cv2.addWeighted(rgb, 0.5, color_mask(result.mask, classes), 0.5, 0)
    for number, item in enumerate(classes):
        of_class = np.asarray(result.mask == number, np.uint8)
        contours, _ = cv2.findContours(of_class, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(rgb, contours, -1, item.color, 2)
    return av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv420p")


def _gray(mask: NDArray[np.uint8]) -> av.VideoFrame:
    frame = av.VideoFrame(mask.shape[1], mask.shape[0], "gray")
    np.copyto(planes_of(frame)[0], mask)
    return frame


def _time(step: Step, frames: int, repeats: int) -> tuple[float, float]:
    """Median milliseconds of both ways; the first round warms up and is not counted."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range((repeats + 1) * frames):
        for way, taken in zip((step.ours, step.usual), times, strict=True):
            started = time.thread_time()
            way(number % frames)
            taken.append(1000 * (time.thread_time() - started))
    return statistics.median(times[0][frames:]), statistics.median(times[1][frames:])


def _differing(step: Step) -> str:
    ours, usual = step.ours(0), step.usual(0)
    return f", {np.mean(ours != usual):.2g} differ" if isinstance(ours, np.ndarray) else ""


if __name__ == "__main__":
    main()
