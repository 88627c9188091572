"""`roadmask run` for cameras and pipes: plan, watch, tell, and say with which code to leave."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

import typer

from ..batch.jobs import plan
from ..camera.camera import Camera
from ..camera.defaults import defaults_path, save_ignored, saved_ignored
from ..camera.status import CameraEvent, CameraStatus
from ..errors import RoadmaskError
from ..frames import VideoInfo
from ..live.cameras import CameraRun, CameraTalk, watch
from ..live.views import Views
from ..masks.ignore import ignored_by_source
from ..network.model import Model
from ..run.outputs import refuse_bad_outputs, refuse_unknown_classes
from ..run.settings import SegmentSettings
from ..system.stop import Stop, stop_on_signal
from .run_files import about

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CamerasRequest:
    """What the command asks for."""

    cameras: Sequence[Camera]
    output: str | None  # a file, or a folder for all recordings
    template: SegmentSettings  # of each
    ignore: Sequence[str] = ()  # what is left out: see `ignored_by_source`
    save_ignore: bool = False  # as the default of their names
    quiet: bool = False
    as_json: bool = False  # what is said


def run_cameras(request: CamerasRequest, load: Callable[[None], Model], views: Views) -> int:
    """Run all until they end or a signal says so; returns the exit code.

    Raises:
        RoadmaskError: what is wrong with the request, or the page cannot be served.
    """
    template = request.template
    jobs = _ignoring(plan(request.cameras, request.output, template, default_overlay=False), request)
    views.refuse_bad(jobs)
    for job in jobs:
        refuse_bad_outputs(job)
    if not jobs[0].outputs and not views.any:
        raise typer.BadParameter("say what to make of it: -o DIR/ or -o FILE.mp4 records, --serve 127.0.0.1:8080 shows")
    model = load(None)
    refuse_unknown_classes(jobs[0], model, counted=jobs[0].stats is not None)
    with stop_on_signal() as stop:
        return _watch(jobs, model, views, stop, quiet=request.quiet, is_json=request.as_json)


def _ignoring(jobs: Sequence[SegmentSettings], request: CamerasRequest) -> list[SegmentSettings]:
    """The jobs, each with what is left out of it: as the command says, else as was saved with its name."""
    found = ignored_by_source(request.ignore, [job.name for job in jobs])
    if request.save_ignore:
        save_ignored({job.name: ignored for job, ignored in zip(jobs, found, strict=True) if ignored is not None})
    saved = saved_ignored()
    for job, ignored in zip(jobs, found, strict=True):
        if ignored is None and job.name in saved:
            log.info("%s: leaves out %s, as is saved in %s", job.name, saved[job.name], defaults_path())
    chosen = [saved.get(job.name) if ignored is None else ignored for job, ignored in zip(jobs, found, strict=True)]
    return [replace(job, ignore=ignored or None) for job, ignored in zip(jobs, chosen, strict=True)]


def _watch(
    jobs: Sequence[SegmentSettings], model: Model, views: Views, stop: Stop, *, quiet: bool, is_json: bool
) -> int:
    table = not quiet and not is_json and sys.stderr.isatty()
    talk = CameraTalk(table=table, every_event=is_json, remedy=_remedy(jobs[0], model))
    with ExitStack() as stack:
        page = stack.enter_context(views.page(jobs[0], model))
        if page:
            log.info("%s", page.invitation)

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
        watch(
            runs,
            model,
            stop=stop,
            on_open=partial(_tell, model),
            on_look=lambda: talk.look([run.status for run in runs]),
        )
    return _tell_ends(runs, stop)


def _remedy(settings: SegmentSettings, model: Model) -> str:
    """What is quicker than this, for who has a camera that sends more than can be done."""
    could_see_less = model.spec.size == "default" and not model.spec.fixed
    more = [*([] if settings.every else ["--fast"]), *(["--size small"] if could_see_less else [])]
    return f"quicker: {', '.join(more)}" if more else "quicker: a smaller stream, if the camera has a second one"


def _tell(model: Model, run: CameraRun, info: VideoInfo) -> None:
    camera = run.settings.source
    assert isinstance(camera, Camera)
    late = "" if camera.every_frame else ", what comes faster is dropped"
    log.info("%s%s", about(run.settings, info, model), late)
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
