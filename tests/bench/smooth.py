"""What smoothing gains on videos, and what it costs: python tests/bench/smooth.py CLIP... [--model M].

Flicker, the share of followed points whose label changes from frame to frame, with and without smoothing, of the same
scores; and the processor time of the smoother beside that of the network, frame by frame in turn: read the ratio. To
see what it does to the IoU: roadmask eval MODEL DATA, and with --no-smooth.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
from numpy.typing import NDArray

from roadmask.stream.decode.source import open_source
from roadmask.stream.frames import Frame
from roadmask.stream.masks.deciding import Decider
from roadmask.stream.masks.flicker import FlickerMeter
from roadmask.stream.masks.smooth import Smoother
from roadmask.stream.network.model import Model
from roadmask.stream.run.stages import network_size

T = TypeVar("T")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--max-frames", type=int, default=100)
    options = parser.parse_args()

    model = Model.load(options.model, device=options.device, threads=options.threads)
    for clip in options.clips:
        with open_source(clip) as source:
            _measure(clip.name, model, list(islice(source.frames(partial(network_size, model)), options.max_frames)))


def _measure(name: str, model: Model, frames: list[Frame]) -> None:
    decider, smoother = Decider(len(model.spec.classes)), Smoother()
    meters = {"alone": FlickerMeter(), "smoothed": FlickerMeter()}
    seconds: dict[str, list[float]] = {"network": [], "smoother": []}

    def timed(step: str, call: Callable[[], T]) -> T:
        started = time.process_time()
        result = call()
        seconds[step].append(time.process_time() - started)
        return result

    for frame in frames:
        alone = timed("network", lambda frame=frame: model.scores(frame.input[None])[0])  # type: ignore[misc]
        smoothed = timed(
            "smoother",
            lambda frame=frame, alone=alone: smoother.blend(alone, frame.input, time=frame.time),  # type: ignore[misc]
        )
        picture = _rgb(frame)
        for which, scores in (("alone", alone), ("smoothed", smoothed)):
            meters[which].add(picture, decider.mask(scores, *picture.shape[:2]))
    before, after = (100 * meters[which].rate for which in ("alone", "smoothed"))
    network, blending = (1000 * statistics.median(seconds[step][1:]) for step in ("network", "smoother"))
    print(
        f"{name}: {len(frames)} frames, flicker {before:.2f} % alone, {after:.2f} % smoothed ({after / before:.2f}); "
        f"network {network:.1f} ms, smoother {blending:.1f} ms ({blending / network:.3f})"
    )


def _rgb(frame: Frame) -> NDArray[np.uint8]:
    picture: av.VideoFrame = frame.picture
    return np.asarray(picture.to_ndarray(format="rgb24"), np.uint8)


if __name__ == "__main__":
    main()
