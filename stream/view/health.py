"""Whether all is well, for load balancers, containers and people at three in the morning.

A camera is well while frames arrive from it and come out of the run. One that is still connecting is not, so a service
counts as healthy only once every camera has been seen; neither is one that has ended, for a live view is of cameras
that go on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from ..camera.status import CameraState
from .feed import CameraFeed

_STUCK_S = 30.0  # a run that takes in frames and gives none for so long is stuck


def health(feeds: Sequence[CameraFeed]) -> tuple[bool, dict[str, object]]:
    """Whether every camera is well, and what to say of each."""
    cameras = {feed.name: _camera(feed) for feed in feeds}
    is_well = bool(cameras) and all(camera["well"] for camera in cameras.values())
    return is_well, {"status": "ok" if is_well else "failing", "cameras": cameras}


def _camera(feed: CameraFeed) -> dict[str, object]:
    numbers = feed.status.numbers()
    reason, is_well = numbers.reason, numbers.state == CameraState.RUNNING
    began = time.monotonic() - (time.time() - numbers.since)
    silent_s = time.monotonic() - max(feed.written_at or began, began)
    if is_well and silent_s > _STUCK_S:
        is_well, reason = False, f"frames arrive, but none has come out of the run for {silent_s:.0f} s"
    return {"well": is_well, "state": numbers.state, "reason": reason, "since": numbers.since}
