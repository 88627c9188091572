"""`roadmask run` for files, one or thousands: which, with what, and what is said of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .. import __version__
from ..archive.manifest import refuse_other_classes, write_classes
from ..batch.batch import Outcome, RunJob, run_batch
from ..batch.ends import Ends
from ..batch.footage import Kind
from ..batch.jobs import (
    EarlierChoice,
    earlier_choice,
    folder_of_each,
    ignoring,
    masks_folder,
    only_missing,
    plan,
    record_path,
    results_folder,
    table_path,
)
from ..batch.ledger import Ledger
from ..batch.remote import open_depot, run_remote
from ..batch.summary import SUMMARY_NAME, Summary, open_summary, record_run, refuse_other_file
from ..batch.talk import FilesTalk, ProgressKind
from ..batch.video_files import by_stream, find_sources, some_pictures
from ..batch.watched import Watch, watched_folders
from ..batch.workload import Workload, declared_frames
from ..camera.camera import Camera
from ..camera.status import CameraState
from ..decode.opening import open_file
from ..errors import DeviceError, OutputError
from ..frames import VideoInfo
from ..live.views import Places, Views
from ..masks.ignore import ignore_rules
from ..network.model import Model
from ..run.claim import claimed
from ..run.outputs import refuse_bad_outputs, refuse_unknown_classes
from ..run.segment import process_video
from ..run.settings import ClusterSettings, Report, SegmentSettings, in_json
from ..run.stages import batch_size, network_size
from ..stats.stats import PictureRow, refuse_other_table, write_picture_table
from ..system.hold import Taken
from ..system.machine import usable_cores
from ..system.stop import Stop, stop_on_signal
from ..system.talk import install_command, number_of

if TYPE_CHECKING:
    from ..cluster.cluster import Cluster
    from ..live.feed import CameraFeed

Load = Callable[[EarlierChoice | None], Model]  # where the user has left it open, as an earlier call has chosen

_MOST_AT_ONCE = 8  # where the user does not say; each has frames of its own in memory
_CATCH_UP_S, _CATCH_UP_SHARE = 10.0, 0.01  # between two times that a summary is written while nothing is at work
_NOT_SETTINGS = (
    *("source", "label", "picture", "overlay", "masks", "stats", "segment_s", "keep_s", "remote", "resume"),
    *("overwrite", "keep_times", "held", "noted"),
)
_OPTION_OF = {"renamed": "map", "picture_rate": "input_rate"}  # where a setting is called otherwise


@dataclass(frozen=True, slots=True)
class FilesRequest:
    """What the command asks for."""

    words: list[str]  # that name videos and pictures
    output: str | None  # a file, or a folder for all results
    template: SegmentSettings  # of every job
    ignore: Sequence[str] = ()  # what is left out: see `ignored_by_source`
    summary: Path | None = None  # where to write down what became of each
    at_once: int = 1  # 0 leaves it to the device
    watch_s: float | None = None  # folders are watched, in which a file is whole when it has been still for so long
    progress: ProgressKind = "auto"
    cluster: ClusterSettings | None = None  # to run them on; otherwise here
    kind: Kind = "auto"  # what pictures are taken for
    stream: int | Literal["all"] | None = None  # which of a file's; `None` for the default one
    quiet: bool = False
    as_json: bool = False  # what is said


def run_files(request: FilesRequest, load: Load, views: Views) -> int:
    """Run all, or what is missing of them; returns the exit code.

    Raises:
        RoadmaskError: what is wrong with the request, with the one file, or with the summary.
    """
    if request.watch_s is not None:
        return watch_folders(request, load, views)
    template = request.template
    named = (template.overlay, template.masks, template.stats, request.summary)
    with open_depot(request.words, request.output, named) as depot, ExitStack() as stack:
        output = depot.output if depot else request.output
        folder = results_folder(output) or folder_of_each(output, template)
        kind = request.kind
        files = depot.find(request.words, kind) if depot else find_sources(request.words, folder, kind)
        files = some_pictures(files, template.stride, template.max_frames)
        if request.stream is not None:
            files = by_stream(files, request.stream, depot.opened if depot else open_file)
        # Of many, each may fail while the others go on; of one, its failure is the command's.
        apart = folder is not None and (template.resume or request.cluster is not None or depot is not None)
        many = len(files) > 1 or not files[0].named or request.summary is not None or apart
        summary = request.summary or (folder / SUMMARY_NAME if many and folder else None)
        jobs = ignoring(plan(files, output, template, default_overlay=not views.are_enough), request.ignore)
        table, listed = table_path(jobs, output, template), masks_folder(jobs, output, template)
        if depot:
            jobs = depot.attached(jobs)
        views.refuse_bad(jobs)
        record = None if many or folder is None else record_path(jobs[0])
        if record and not template.overwrite:
            refuse_other_file(record)
        if not many:  # before the model is loaded
            jobs = [stack.enter_context(claimed(job)) for job in jobs]
            for job in jobs:
                refuse_bad_outputs(job)
        if table:
            refuse_other_table(table, overwrite=template.overwrite, goes_on=summary is not None or template.resume)
        model = load(earlier_choice(jobs, summary))
        refuse_unknown_classes(jobs[0], model, counted=table is not None or any(job.stats for job in jobs))
        if listed:
            refuse_other_classes(listed, model.spec.classes, overwrite=template.overwrite)
        with depot.notes() if depot else nullcontext(), stop_on_signal() as stop:
            code = _run(request, jobs, model, views, stop, many=many, summary=summary, record=record, table=table)
            if listed and any(job.picture and (job.remote or (job.masks and job.masks.exists())) for job in jobs):
                write_classes(listed, model.spec.classes)
            return code


def _run(
    request: FilesRequest,
    jobs: Sequence[SegmentSettings],
    model: Model,
    views: Views,
    stop: Stop,
    *,
    many: bool,
    summary: Path | None,
    record: Path | None,
    table: Path | None,
) -> int:
    workload = Workload(jobs)
    talk = FilesTalk(workload, total=many, kind=request.progress, quiet=request.quiet, as_json=request.as_json)
    facts = _facts(jobs[0], model, request.stream)
    at_once = max(jobs_at_once(model, request.at_once, len(jobs)), _together(jobs, model))
    with ExitStack() as stack:
        shared = stack.enter_context(model.shared(1 if request.cluster else at_once, together=False))
        # Before the summary, whose folder is made: there may be no cluster, and nothing to connect to one with.
        cluster = stack.enter_context(open_cluster(model, request.cluster)) if request.cluster else None
        places = stack.enter_context(views.places(jobs[0], model, workload.in_json, at_once))
        noted = summary and stack.enter_context(open_summary(summary, facts))
        if talk.shows_time_left and many:
            stack.enter_context(workload.looking_ahead())
        stack.enter_context(talk)
        if many:
            talk.say(f"{number_of(len(jobs), 'file')}; {model.path.stem} on {model.device}")
        run_job: RunJob = _Here(workload, talk, shared, views, places, stop, is_told=not many)
        if cluster:
            at_once, run_job = _on_cluster(cluster, workload, stop)
        noted_alone = partial(record_run, record, facts, model) if record else None
        ends = Ends(workload, talk, noted or None, noted_alone, stop, many=many)
        run_batch(
            jobs,
            only_missing(noted, shared, run_job) if noted else run_job,
            at_once=at_once,
            stop=stop,
            on_end=ends.note,
            on_look=talk.look,
        )
        if table and (rows := list(_rows(jobs, noted or None, ends.pictures))):
            write_picture_table(table, rows, model.spec, request.template.renamed)
            talk.made(table)
    if many:
        ends.tell(len(jobs), summary)
    return ends.exit_code(stop)


def watch_folders(request: FilesRequest, load: Load, views: Views) -> int:
    """Run the videos of folders as they come and are whole, until a signal says so; returns the exit code.

    Raises:
        RoadmaskError: what is wrong with the request, or with the summary.
    """
    assert request.watch_s is not None
    folders, results = watched_folders(request.words), results_folder(request.output)
    if results is None:
        raise OutputError("--watch needs a folder for what it makes: -o DIR/", usage=True)
    if request.stream == "all":
        raise OutputError("--watch does not go with --stream all: one stream of each file, --stream N", usage=True)
    template = replace(request.template, resume=True, stream=request.stream)
    ignore = ignore_rules(request.ignore)
    views.refuse_bad(())
    path = request.summary or results / SUMMARY_NAME
    model = load(earlier_choice((), path))
    refuse_unknown_classes(template, model, counted=True)
    at_once = jobs_at_once(model, request.at_once, files=max(request.at_once, _MOST_AT_ONCE))
    with stop_on_signal() as stop, ExitStack() as stack:
        shared = stack.enter_context(model.shared(at_once, together=False))
        summary = stack.enter_context(open_summary(path, _facts(template, model, request.stream)))
        ledger = Ledger(summary, model, template, results, folders, ignore)
        watch = Watch(
            folders,
            results,
            settle_s=request.watch_s,
            is_done=ledger.is_done,
            on_new=lambda path, what: talk.tell(path, "waiting", what),
        )
        workload = Workload((), watch)
        talk = FilesTalk(workload, total=True, kind=request.progress, quiet=request.quiet, as_json=request.as_json)
        places = stack.enter_context(views.places(template, model, workload.in_json, at_once))
        stack.enter_context(talk)
        stack.enter_context(watch)
        ends = Ends(workload, talk, summary, None, stop, many=True, for_ever=True)
        run_batch(
            map(ledger.begin, watch.files(stop)),
            ledger.run(_Here(workload, talk, shared, views, places, stop, is_told=True)),
            at_once=at_once,
            stop=stop,
            on_end=partial(_note_turn, watch, ends, talk),
            on_look=_looking(watch, workload, talk, summary),
        )
    ends.tell(None, path)
    return ends.exit_code(stop)


def _note_turn(watch: Watch, ends: Ends, talk: FilesTalk, outcome: Outcome) -> None:
    assert outcome.job.file is not None
    is_taken = outcome.error is not None and isinstance(outcome.error.__cause__, Taken)
    watch.ended(outcome.job.file, "waiting" if is_taken else "failed" if outcome.state == "failed" else "over")
    if is_taken:
        talk.tell(outcome.job.file, "waiting", "another run is writing its results")
    else:
        ends.note(outcome)


def _looking(watch: Watch, workload: Workload, talk: FilesTalk, summary: Summary) -> Callable[[], None]:
    """What is to be called several times a second; the summary is written while nothing is at work, but seldom."""
    due = 0.0

    def look() -> None:
        nonlocal due
        watch.check()
        talk.look()
        began = time.monotonic()
        if workload.is_idle and began >= due:
            summary.catch_up()
            ended = time.monotonic()
            due = ended + max(_CATCH_UP_S, (ended - began) / _CATCH_UP_SHARE)

    return look


@dataclass(frozen=True, slots=True, eq=False)
class _Here:
    """Runs a job on this machine."""

    workload: Workload  # is told how far each is
    talk: FilesTalk  # is told what each is, where `is_told`, and of what was chosen for the user
    model: Model  # for all
    views: Views  # where each is shown while it runs
    places: Places  # likewise, on the page
    stop: Stop  # ends it
    is_told: bool

    def __call__(self, job: SegmentSettings) -> Report:
        if job.remote:
            return run_remote(job, lambda local: self._process(local, job))
        return self._process(job, job)

    def _process(self, job: SegmentSettings, planned: SegmentSettings) -> Report:
        """`job` is `planned` with what is elsewhere fetched."""
        with self.places.taken(planned.title) as place:
            self.workload.begun(planned, None, place.name if place else "")
            return process_video(
                job,
                self.model,
                stop=self.stop,
                status=place.status if place else None,
                also=[*self.views.sinks(job, self.model, self.stop), *([place] if place else [])],
                on_open=lambda info: self._opened(planned, info, place),
                on_frame=lambda frames: self.workload.written(planned, frames),
            )

    def _opened(self, job: SegmentSettings, info: VideoInfo, place: CameraFeed | None) -> None:
        self.workload.opened(job, info)
        if place:
            place.status.change(CameraState.RUNNING, job.name)
        if self.is_told:
            self.talk.say(about(job, info, self.model), self.talk.event(job.address, "running"))
        if info.streams > 1 and job.stream is None:
            self.talk.say(
                f"{job.name}: has {info.streams} video streams; number {info.stream}, "
                f"{info.width}x{info.height}, is taken (--stream all takes each, --stream N another)"
            )


def open_cluster(model: Model, settings: ClusterSettings) -> AbstractContextManager[Cluster]:
    """See `cluster`, which needs an extra."""
    try:
        from ..cluster.cluster import open_cluster as opened
    except ModuleNotFoundError as exc:
        raise DeviceError(f"--ray needs {exc.name}: {install_command('ray')}") from exc
    return opened(model, settings)


def _on_cluster(cluster: Cluster, workload: Workload, stop: Stop) -> tuple[int, RunJob]:
    """How many jobs at a time, and what runs one."""

    def run_job(job: SegmentSettings) -> Report:
        workload.begun(job, declared_frames(job))
        return cluster.run(job, stop, lambda frames: workload.written(job, frames))

    return cluster.workers, run_job


def jobs_at_once(model: Model, wanted: int, files: int) -> int:
    """How many files to run at a time; `wanted` of 0 leaves it to the device.

    On a CPU the network takes all cores for one file already; a second one uses them while the first is opened and
    closed. What is quicker waits for decoders and encoders, which take a core or two a file.
    """
    automatic = 2 if model.placement.is_cpu else min(max(usable_cores() // 2, 2), _MOST_AT_ONCE)
    return max(min(wanted or automatic, files), 1)


def _together(jobs: Sequence[SegmentSettings], model: Model) -> int:
    """How many go best at a time: all streams of a file, so that it is read once; pictures, which are one call each."""
    streams = Counter(job.source for job in jobs if not job.picture)
    pictures = sum(job.picture for job in jobs)
    return max(min(pictures, model.workers), *streams.values(), 1)


def _rows(
    jobs: Sequence[SegmentSettings], noted: Summary | None, made: Mapping[Path | Camera, PictureRow]
) -> Iterator[tuple[str, PictureRow]]:
    """Of each picture that is done, by this call or an earlier one, its name and what the table tells of it."""
    for job in jobs:
        row = made.get(job.source)
        if row is None and job.picture and noted and (entry := noted.entry(job)) and entry.picture:
            row = PictureRow(**entry.picture)
        if row is not None:
            yield job.address, row


def about(job: SegmentSettings, info: VideoInfo, model: Model) -> str:
    """The first line of a run: of what, on what, and how."""
    height, width = network_size(model, info)
    return (
        f"{job.title}: {info.width}x{info.height}; {model.path.stem} on {model.device}, network {width}x{height}"
        + ("" if job.picture or info.live else f", batch {batch_size(model, job.batch)}")
        + (", smoothed over time" if job.smooth else "")
        + (", masks of still pictures reused" if job.reuse else "")
        + (f", the network every {job.every}" if job.every else "")
        + (f", {job.ignore.refuse_misfitting(info, job.name):.1%} left out" if job.ignore else "")
    )


def _facts(job: SegmentSettings, model: Model, stream: int | str | None) -> Mapping[str, Any]:
    """What a summary says of a call."""
    names = [item.name for item in fields(job) if item.name not in _NOT_SETTINGS]
    settings = {_OPTION_OF.get(name, name): getattr(job, name) for name in names} | {"stream": stream}
    return {
        "roadmask": __version__,
        "model": {"file": model.path.name, "sha256": model.sha256, "device": model.device, "size": model.spec.size},
        "settings": {name: in_json(value) for name, value in settings.items()},
    }
