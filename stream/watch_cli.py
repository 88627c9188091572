"""`roadmask run` for cameras and pipes: plan, watch, tell, and say with which code to leave."""

from __future__ import annotations

import logging
import signal
import sys
from contextlib import ExitStack
from dataclasses import dataclass

from .camera_events import CameraEvent
from .camera_status import CameraStatus
from .camera_talk import CameraTalk
from .cameras import CameraRun, watch
from .errors import RoadmaskError
from .frames import VideoInfo
from .live_view import LiveView
from .model import Model
from .segment import SegmentSettings
from .stop import Stop
from .view_address import parse_address

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Views:
    """Where a run of cameras is looked at."""

    address: str | None = None  # of the page in a browser
    token: str | None = None  # that the page asks for
    window: bool = False


def watch_cameras(
    jobs: list[SegmentSettings], model: Model, *, views: Views, stop: Stop, quiet: bool, is_json: bool
) -> int:
    """Run all until they end or `stop` is set; returns the exit code.

    Raises:
        RoadmaskError: the page cannot be served.
    """
    talk = CameraTalk(table=not quiet and not is_json and sys.stderr.isatty())
    with ExitStack() as stack:
        page = _page(views, model)
        if page:
            log.info("live view at %s", stack.enter_context(page).url)

        def tell(event: CameraEvent) -> None:
            talk.event(event)
            if page:
                page.tell(event)

        runs = []
        for job in jobs:
            status = CameraStatus(job.name, tell)
            runs.append(CameraRun(job, status, also=[page.add(status)] if page else []))
        stack.enter_context(talk)
        watch(runs, model, stop=stop, on_open=_tell, on_look=lambda: talk.look([run.status for run in runs]))
    return _tell_ends(runs, stop)


def _page(views: Views, model: Model) -> LiveView | None:
    if views.address is None:
        return None
    return LiveView(parse_address(views.address), model.spec.classes, token=views.token)


def _tell(run: CameraRun, info: VideoInfo) -> None:
    outputs = ", ".join(str(output) for output in run.settings.outputs)
    log.info("%s: %dx%d %s, to %s", run.status.name, info.width, info.height, info.codec, outputs or "no file")


def _tell_ends(runs: list[CameraRun], stop: Stop) -> int:
    failed = 0
    for run in runs:
        if run.report is not None:
            log.info("%s: %s", run.status.name, run.report)
        problem = run.error or (run.report and run.report.failure)
        if problem:
            failed += 1
            log.error("%s", problem if isinstance(problem, RoadmaskError) else f"{run.status.name}: {problem}")
    if failed:
        return 1
    return 130 if stop.by == signal.SIGINT else 0
