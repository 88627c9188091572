"""What a live view is given, without a run: cameras, and results that are made up."""

from __future__ import annotations

import numpy as np

from roadmask.stream.camera.status import CameraState, CameraStatus
from roadmask.stream.frames import SegmentedFrame
from roadmask.stream.live.feed import CameraFeed
from roadmask.stream.live.live_view import Address, LiveView
from tests.support.clips import result_of

ANYWHERE = Address("127.0.0.1", 0)


def camera(view: LiveView, name: str = "front", state: CameraState = CameraState.RUNNING) -> CameraFeed:
    status = CameraStatus(name, on_event=view.tell)
    feed = view.add(status)
    status.change(state)
    return feed


def striped(height: int = 48, width: int = 64, index: int = 0) -> SegmentedFrame:
    """Road, car and sky in turn, column by column; the picture is black."""
    mask = np.tile((np.arange(width) % 3).astype(np.uint8), (height, 1))
    result = result_of(mask, index)
    for plane, value in zip(result.frame.picture.planes, (16, 128, 128), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    return result


def noisy(height: int, width: int) -> SegmentedFrame:
    """About a third of a megabyte as a message, so that buffers are soon full."""
    result = result_of(np.random.default_rng(1).integers(0, 3, (height, width), np.uint8))
    for plane in result.frame.picture.planes:
        plane.update(np.random.default_rng(2).bytes(plane.buffer_size))
    return result
