"""`roadmask run` for cameras and pipes: plan, watch, tell, and say with which code to leave."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import typer

from ..batch.jobs import plan
from ..camera.camera import Camera
from ..camera.status import CameraEvent, CameraStatus
from ..errors import RoadmaskError
from ..frames import VideoInfo
from ..live.cameras import CameraRun, CameraTalk, watch
from ..live.views import Views
from ..network.model import Model
from ..run.outputs import refuse_bad_outputs
from ..run.settings import SegmentSettings
from ..spec import select_classes
from ..system.stop import Stop, stop_on_signal

log = logging.getLogger(__name__)


def run_cameras(
    cameras: Sequence[Camera],
    output: str | None,
    template: SegmentSettings,
    load: Callable[[], Model],
    views: Views,
    *,
    quiet: bool,
    is_json: bool,
) -> int:
    """Run all until they end or a signal says so; returns the exit code.

    Raises:
        RoadmaskError: what is wrong with the request, or the page cannot be served.
    """
    jobs = plan(cameras, output, template, default_overlay=False)
    views.refuse_bad(jobs)
    for job in jobs:
        refuse_bad_outputs(job)
    if not jobs[0].outputs and not views.any:
        raise typer.BadParameter("say what to make of it: -o DIR/ or -o FILE.mp4 records, --serve 127.0.0.1:8080 shows")
    model = load()
    select_classes(model.spec.classes, only=template.classes, exclude=template.exclude)
    with stop_on_signal() as stop:
        return _watch(jobs, model, views, stop, quiet=quiet, is_json=is_json)


def _watch(
    jobs: Sequence[SegmentSettings], model: Model, views: Views, stop: Stop, *, quiet: bool, is_json: bool
) -> int:
    talk = CameraTalk(table=not quiet and not is_json and sys.stderr.isatty())
    with ExitStack() as stack:
        page = stack.enter_context(views.page(model))
        if page:
            log.info("live view at %s", page.url)

        def tell(event: CameraEvent) -> None:
            talk.event(event)
            if page:
                page.tell(event)

        runs = []
        for job in jobs:
            status = CameraStatus(job.name, tell)
            also = [*views.sinks(job, model, stop), *([page.add(status)] if page else [])]
            runs.append(CameraRun(job, status, also=also))
        stack.enter_context(talk)
        watch(runs, model, stop=stop, on_open=_tell, on_look=lambda: talk.look([run.status for run in runs]))
    return _tell_ends(runs, stop)


def _tell(run: CameraRun, info: VideoInfo) -> None:
    outputs = ", ".join(str(output) for output in run.settings.outputs)
    if outputs:
        log.info("%s: writing %s%s", run.status.name, outputs, ", in parts" if info.live else "")


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
