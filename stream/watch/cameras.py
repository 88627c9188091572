"""Several cameras at once, on one model: each runs as if it were alone, and what happens to one harms no other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event

from ..camera.status import CameraStatus
from ..errors import RoadmaskError
from ..frames import Sink, VideoInfo
from ..network.model import Model
from ..run.segment import process_video
from ..run.settings import Report, SegmentSettings

_LOOK_S = 0.2  # how often the main thread wakes up, to take signals


@dataclass(slots=True)
class CameraRun:
    """A camera, and what became of it: of the last two one is set when its thread has ended."""

    settings: SegmentSettings
    status: CameraStatus
    also: Sequence[Sink] = ()  # besides the settings' outputs
    report: Report | None = None
    error: BaseException | None = None


def watch(
    runs: Sequence[CameraRun],
    model: Model,
    *,
    stop: Event,
    on_open: Callable[[CameraRun, VideoInfo], None] | None = None,
    on_look: Callable[[], None] | None = None,
) -> None:
    """Segment all the cameras until each has ended; what became of them is in `runs` then.

    Args:
        runs: the cameras.
        model: which they share.
        stop: set it to end them all; their outputs are whole then.
        on_open: told what a camera gives, before its first frame, on its own thread.
        on_look: called several times a second, on this thread.

    Raises:
        BaseException: what went wrong with a camera and is no `RoadmaskError`; `stop` is set then.
    """
    with model.shared(len(runs)) as shared:
        threads = [
            threading.Thread(target=_run, args=(run, shared, stop, on_open), name=run.status.name, daemon=True)
            for run in runs
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(_LOOK_S)
                if on_look:
                    on_look()
    for run in runs:
        if run.error is not None and not isinstance(run.error, RoadmaskError):
            raise run.error


def _run(run: CameraRun, model: Model, stop: Event, on_open: Callable[[CameraRun, VideoInfo], None] | None) -> None:
    def opened(info: VideoInfo) -> None:
        if on_open:
            on_open(run, info)

    try:
        run.report = process_video(run.settings, model, stop=stop, status=run.status, also=run.also, on_open=opened)
    except BaseException as exc:  # noqa: BLE001 - carried to the main thread
        run.error = exc
        if not isinstance(exc, RoadmaskError):
            stop.set()  # a fault of ours is no camera's: end in order, and tell
