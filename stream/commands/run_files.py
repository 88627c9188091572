"""`roadmask run` for files: one or thousands, talk, a table, a summary, and with which code to leave."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cluster.cluster_settings import ClusterSettings
from ..errors import DeviceError, OutputError
from ..files.batch import run_batch
from ..files.declared_frames import declared_frames
from ..files.done_before import only_missing
from ..files.files_talk import FilesTalk, ProgressKind
from ..files.outcome import Outcome, RunJob, is_disk_full
from ..files.outcome_table import counts, outcome_table
from ..files.remote import run_remote
from ..files.summary import Summary, open_summary, record_run
from ..files.workload import Workload
from ..frames import VideoInfo
from ..network.model import Model
from ..process.machine import usable_cores
from ..process.stop import Stop
from ..segment import batch_size, network_size, process_video
from ..segment_settings import Report, SegmentSettings
from ..watch.views import Views

if TYPE_CHECKING:
    from ..cluster.cluster import Cluster

log = logging.getLogger(__name__)

_MOST_AT_ONCE = 8  # where the user does not say; each has frames of its own in memory
_NOT_SETTINGS = ("source", "overlay", "masks", "stats", "segment_s", "keep_s", "remote", "resume", "overwrite")


@dataclass(frozen=True, slots=True)
class FilesSettings:
    """How files are run."""

    many: bool  # whatever becomes of one, the others go on; otherwise there is one, and its failure is the command's
    at_once: int = 1
    summary: Path | None = None  # where to write down what became of each; without it none is left out
    record: Path | None = None  # of one file: where to write down what became of it
    progress: ProgressKind = "auto"
    quiet: bool = False
    as_json: bool = False  # what is said
    cluster: ClusterSettings | None = None  # to run them on; otherwise here


def run_files(jobs: Sequence[SegmentSettings], model: Model, views: Views, stop: Stop, settings: FilesSettings) -> int:
    """Run all, or what is missing of them; returns the exit code.

    Raises:
        RoadmaskError: what is wrong with the one file, or with the summary.
    """
    workload = Workload(jobs)
    talk = FilesTalk(
        workload, total=settings.many, kind=settings.progress, quiet=settings.quiet, as_json=settings.as_json
    )
    facts = _facts(jobs[0], model)
    with ExitStack() as stack:
        shared = stack.enter_context(model.shared(1 if settings.cluster else settings.at_once, together=False))
        summary = settings.summary and stack.enter_context(open_summary(settings.summary, facts))
        if talk.shows_time_left and settings.many:
            stack.enter_context(workload.looking_ahead())
        stack.enter_context(talk)

        def run_here(job: SegmentSettings) -> Report:
            if job.remote:
                return run_remote(job, lambda local: process(local, job))
            return process(job, job)

        def process(job: SegmentSettings, planned: SegmentSettings) -> Report:
            return process_video(
                job,
                shared,
                stop=stop,
                also=views.sinks(job, shared, stop),
                on_open=lambda info: opened(planned, info),
                on_frame=lambda frames: workload.written(planned, frames),
            )

        def opened(job: SegmentSettings, info: VideoInfo) -> None:
            workload.opened(job, info)
            if not settings.many:
                talk.say(_about(job, info, model))
            if info.streams > 1 and job.stream is None:
                talk.say(
                    f"{job.name}: has {info.streams} video streams; number {info.stream}, "
                    f"{info.width}x{info.height}, is taken (--stream N takes another)"
                )

        at_once = settings.at_once
        run_job: RunJob = run_here
        if settings.cluster:
            at_once, run_job = _on_cluster(stack.enter_context(open_cluster(model, settings.cluster)), workload, stop)
        record = partial(record_run, settings.record, facts) if settings.record else None
        ends = _Ends(workload, talk, summary or None, record, stop, many=settings.many)
        run_batch(
            jobs,
            only_missing(summary, shared, run_job) if summary else run_job,
            at_once=at_once,
            stop=stop,
            on_end=ends.note,
            on_look=talk.look,
        )
    if settings.many:
        ends.tell(len(jobs), settings)
    return ends.exit_code(stop)


def open_cluster(model: Model, settings: ClusterSettings) -> AbstractContextManager[Cluster]:
    """See `cluster`, which needs an extra."""
    try:
        from ..cluster.cluster import open_cluster as opened
    except ModuleNotFoundError as exc:
        raise DeviceError(f"--ray needs {exc.name}: pip install 'roadmask[ray]'") from exc
    return opened(model, settings)


def _on_cluster(cluster: Cluster, workload: Workload, stop: Stop) -> tuple[int, RunJob]:
    """How many jobs at a time, and what runs one."""

    def run_job(job: SegmentSettings) -> Report:
        workload.begun(job, declared_frames(job))
        return cluster.run(job, stop, lambda frames: workload.written(job, frames))

    return cluster.workers, run_job


class _Ends:
    """Takes note of what became of each job."""

    def __init__(
        self,
        workload: Workload,
        talk: FilesTalk,
        summary: Summary | None,
        record: Callable[[Outcome], None] | None,
        stop: Stop,
        *,
        many: bool,
    ) -> None:
        self._workload = workload
        self._talk = talk
        self._summary = summary
        self._record = record
        self._stop = stop
        self._many = many
        self._started = time.monotonic()
        self._outcomes: list[Outcome] = []
        self._is_disk_full = False

    def note(self, outcome: Outcome) -> None:
        self._outcomes.append(outcome)
        self._workload.ended(outcome)
        if outcome.error is not None and not self._many:
            self._record_failure(outcome)
            raise outcome.error
        if outcome.error is not None:
            self._tell_failure(outcome)
        self._talk.result(outcome)
        if self._summary is not None:
            self._write(self._summary, outcome)
        if self._record is not None:
            self._record(outcome)

    def _record_failure(self, outcome: Outcome) -> None:
        if self._record is not None:
            with suppress(OutputError):  # the failure itself is what is told
                self._record(outcome)

    def _tell_failure(self, outcome: Outcome) -> None:
        if outcome.is_disk_full and self._is_disk_full:
            return  # all that were at work say the same
        self._is_disk_full |= outcome.is_disk_full
        log.error("%s", f"{outcome.job.file}: {outcome.reason}" if outcome.is_fault else outcome.reason)
        if outcome.is_fault:
            log.debug("%s", outcome.traceback)

    def _write(self, summary: Summary, outcome: Outcome) -> None:
        try:
            summary.end(outcome)
        except OutputError as exc:
            self._stop.set()  # what is done unnoted would be in the way of the next call
            if not (is_disk_full(exc) and self._is_disk_full):
                log.error("%s", exc)  # noqa: TRY400 - a line is what the user needs
            self._is_disk_full |= is_disk_full(exc)

    def tell(self, files: int, settings: FilesSettings) -> None:
        """At the end, what became of all."""
        seconds = time.monotonic() - self._started
        if settings.progress != "json":
            self._talk.show(outcome_table(self._outcomes, files=files, seconds=seconds, summary=settings.summary))
        line = counts(self._outcomes, files=files, seconds=seconds)
        if self._is_disk_full:
            again = " with --resume" if settings.summary else ""
            log.error("the disk is full, so nothing more was begun; free some space, and run the same again%s", again)
        if self._failed and settings.quiet:
            log.error("%s", line)
        elif settings.as_json:
            log.info("%s", line)

    @property
    def _failed(self) -> int:
        return sum(outcome.state == "failed" for outcome in self._outcomes)

    def exit_code(self, stop: Stop) -> int:
        """0 all complete, 1 all failed, 3 some failed or are partial, 130 interrupted."""
        if stop.by:
            return 130
        if self._failed == len(self._outcomes):
            return 1
        is_partial = any(outcome.state == "partial" for outcome in self._outcomes)
        return 3 if self._failed or is_partial else 0  # where a window was closed, or nobody reads any more, too


def jobs_at_once(model: Model, wanted: int, files: int) -> int:
    """How many files to run at a time; `wanted` of 0 leaves it to the device.

    On a CPU the network takes all cores for one file already; a second one uses them while the first is opened and
    closed. What is quicker waits for decoders and encoders, which take a core or two a file.
    """
    automatic = 2 if model.device == "cpu" else min(max(usable_cores() // 2, 2), _MOST_AT_ONCE)
    return max(min(wanted or automatic, files), 1)


def _about(job: SegmentSettings, info: VideoInfo, model: Model) -> str:
    height, width = network_size(model, info)
    return (
        f"{job.name}: {info.width}x{info.height}; {model.path.stem} on {model.device}, "
        f"network {width}x{height}, batch {batch_size(model, job.batch)}"
        + (", smoothed over time" if job.smooth else "")
        + (", masks of still pictures reused" if job.reuse else "")
    )


def _facts(job: SegmentSettings, model: Model) -> Mapping[str, Any]:
    """What a summary says of a call."""
    settings = {name: value for name, value in asdict(job).items() if name not in _NOT_SETTINGS}
    return {
        "roadmask": version("roadmask"),
        "model": {"file": model.path.name, "sha256": model.sha256(), "device": model.device},
        "settings": {name: str(value) if isinstance(value, Fraction) else value for name, value in settings.items()},
    }
