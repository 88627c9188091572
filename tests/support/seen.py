"""What a run gives its outputs, without a run: grey pictures, all of one class, 25 a second."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from roadmask.stream.decode.pixels import planes_of
from roadmask.stream.frames import SegmentedFrame, VideoInfo
from tests.support.clips import result_of, video_info

INFO = video_info()


def seen(
    count: int, *, first: int = 0, info: VideoInfo = INFO, mask: int = 0, arrived: float | None = None
) -> list[SegmentedFrame]:
    """Frames from the `first` one on, all of the stretch of video that `info` stands for."""
    masks = np.full((info.height, info.width), mask, np.uint8)
    results = []
    for number in range(first, first + count):
        result = result_of(masks, index=number)
        for plane in planes_of(result.frame.picture):
            plane[:] = 100
        results.append(replace(result, frame=replace(result.frame, info=info, arrived=arrived)))
    return results
