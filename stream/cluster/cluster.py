"""Many machines: videos go to the workers of a Ray cluster, each of which holds one model.

Files are read and written where their names point to, so every machine must see them under the same names; or they
have URLs, see `remote`. Long videos are cut: each worker makes a stretch at a time, and this process joins them. A
worker that dies, alone or with its machine, costs its stretch; of a video that is not cut, the seconds since its last
sync.
"""

from __future__ import annotations

import logging
import os
import pickle
import queue
import signal
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import pairwise, takewhile
from pathlib import Path
from threading import Event
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing leaves the machine

import cv2
import ray
from ray.exceptions import RayActorError, RayError

from ..batch.remote import run_remote
from ..errors import DeviceError, RoadmaskError, first_line
from ..network.model import Model, bundled_models
from ..run.outputs import refuse_bad_outputs
from ..run.progress import has_state
from ..run.segment import open_video, process_video
from ..run.settings import ClusterSettings, Report, SegmentSettings
from .stretch import NotAsPlanned, Stretch, run_stretch, stretch_count, stretches, wanted_frames
from .stretch_join import StretchFolder, join

log = logging.getLogger(__name__)

_LOOK_S = 0.5  # between two questions to a worker how far it is
_MOST_DEATHS = 3  # of workers, by one video: it is then the video that kills them


class Worker:
    """Makes one video at a time, or a stretch of one, in a process of its own on some machine."""

    def __init__(self, model: str | None, device: str, cpus: int, size: str = "auto") -> None:
        self._load = partial(Model.load, model, device=device, threads=cpus, workers=cpus, size=size)
        self._stop = Event()
        self._frames = 0
        cv2.setNumThreads(1)  # as in `roadmask run`: it would take as many as the machine has cores

    @cached_property
    def _model(self) -> Model:
        """Loaded in the first call, which can say why not."""
        return self._load()

    def run(self, job: SegmentSettings) -> Report | Failure:
        """What became of it."""
        self._begin()

        def process(local: SegmentSettings) -> Report:
            return process_video(local, self._model, stop=self._stop, on_frame=self._count)

        try:
            return run_remote(job, process) if job.remote else process(job)
        except Exception as exc:  # noqa: BLE001 - raised where the command is
            return Failure.of(exc)

    def run_stretch(self, job: SegmentSettings, stretch: Stretch, folder: Path) -> bool | Failure:
        """As `run`: whether it was finished."""
        self._begin()
        try:
            return run_stretch(job, self._model, stretch, folder, stop=self._stop, on_frame=self._count)
        except Exception as exc:  # noqa: BLE001 - as above
            return Failure.of(exc)

    def frames(self) -> int:
        """Written so far; asked while it runs."""
        return self._frames

    def stop(self) -> None:
        """Finish the outputs at the frame that was reached."""
        self._stop.set()

    def _begin(self) -> None:
        self._stop.clear()
        self._frames = 0

    def _count(self, frames: int) -> None:
        self._frames = frames


class Cluster:
    """Workers to run jobs on; from `open_cluster`. Any thread may call `run`."""

    def __init__(self, model: Model, settings: ClusterSettings, workers: int, threads: Executor) -> None:
        """`threads` are as many, to wait for the workers."""
        self.workers = workers
        self._model = model
        self._threads = threads
        # The last one that worked is taken first, so that those that are not needed are never started.
        self._idle: queue.LifoQueue[Any] = queue.LifoQueue()
        gpus = 1 if model.device.partition(":")[0] in ("cuda", "tensorrt") else 0
        # Two calls at a time: one runs a video, the other asks how far it is.
        actor: Any = ray.remote(num_cpus=settings.cpus, num_gpus=gpus, max_concurrency=2)(Worker)
        # A model in the box is found by its name, wherever a machine has it.
        path = model.path.absolute()
        word = path.stem if bundled_models().get(path.stem) == path else str(path)
        self._new: Callable[[], Any] = lambda: actor.remote(word, model.device, settings.cpus, model.spec.size)
        for _ in range(workers):
            self._idle.put(None)

    def run(self, job: SegmentSettings, stop: Event, on_frame: Callable[[int], None]) -> Report:
        """As `process_video`, on some machine; a long video on all of them.

        Raises:
            RoadmaskError: as there; or the cluster is lost, or the job has killed several workers.
        """
        refuse_bad_outputs(job)
        job = _absolute(job)
        try:
            if (report := self._run_in_stretches(job, stop, on_frame)) is not None:
                return report
        except NotAsPlanned as exc:
            # What was joined so far has been told to be not finished.
            log.warning("%s: one worker makes all of it anew, as %s", job.name, exc)

        def start(worker: Any, deaths: int) -> Any:
            return worker.run.remote(replace(job, resume=True) if deaths else job)

        result = self._on_some_worker(job, start, stop.is_set, on_frame)
        assert not isinstance(result, bool)
        return result or Report(0, 0, 0, 0.0, interrupted=True)

    def _run_in_stretches(self, job: SegmentSettings, stop: Event, on_frame: Callable[[int], None]) -> Report | None:
        """`None` for a video that is not worth it, or does not tell its frames."""
        if job.file is None or job.picture or job.remote or not job.outputs or (job.resume and has_state(job.outputs)):
            return None
        if self.workers < 2 or (wanted := wanted_frames(job)) is None:
            return None
        folder = StretchFolder(job, self._model)
        if not (count := folder.count() or stretch_count(len(wanted), self.workers)):
            return None
        cut, written, given_up = list(stretches(wanted, count)), Counter[str](), Event()

        def make(stretch: Stretch) -> bool:
            if folder.has(stretch):
                return True

            def note(frames: int) -> None:
                written[stretch.name] = frames
                on_frame(kept + written.total())

            return self._make(job, stretch, folder.path, lambda: stop.is_set() or given_up.is_set(), note)

        with open_video(job, self._model) as source, folder:
            if job.ignore:
                job.ignore.refuse_misfitting(source.info, job.name)
            kept = sum(stretch.end - stretch.begin for stretch in cut if folder.has(stretch))
            waiting = [self._threads.submit(make, stretch) for stretch in cut]
            try:
                made = takewhile(lambda pair: pair[1].result(), zip(cut, waiting, strict=True))
                report = join(job, source.info, self._model, folder, (stretch for stretch, _ in made), len(wanted))
            finally:
                given_up.set()
                wait(waiting)
        return replace(report, resumed=kept)

    def _make(
        self,
        job: SegmentSettings,
        stretch: Stretch,
        folder: Path,
        is_over: Callable[[], bool],
        on_frame: Callable[[int], None],
    ) -> bool:
        if is_over():
            return False

        def start(worker: Any, _: int) -> Any:
            return worker.run_stretch.remote(job, stretch, folder)

        return bool(self._on_some_worker(job, start, is_over, on_frame))

    def _on_some_worker(
        self,
        job: SegmentSettings,
        start: Callable[[Any, int], Any],
        is_over: Callable[[], bool],
        on_frame: Callable[[int], None],
    ) -> Report | bool | None:
        """What a call returns that `start` makes, given a worker and how many have died of it.

        `None` where it is over before the worker has begun, as others have all cores.
        """
        for deaths in range(_MOST_DEATHS):
            worker = self._idle.get() or self._new()
            try:
                result = _result_of(worker, start(worker, deaths), is_over, on_frame)
                if result is None:
                    worker = None
            except RayActorError:
                log.warning("%s: a worker has died; another one goes on", job.name)
                worker = None
            except RayError as exc:
                raise DeviceError(f"{job.name}: the cluster is lost ({first_line(exc)}); --resume goes on") from exc
            else:
                if isinstance(result, Failure):
                    raise result.error
                return result
            finally:
                self._idle.put(worker)
        raise DeviceError(f"{job.name}: {_MOST_DEATHS} workers have died of it; is their memory too small?")


def _absolute(job: SegmentSettings) -> SegmentSettings:
    """The job with names that mean the same in a worker's working folder."""
    assert job.file is not None
    overlay, masks, stats = (path and path.absolute() for path in (job.overlay, job.masks, job.stats))
    return replace(job, source=job.file.absolute(), overlay=overlay, masks=masks, stats=stats)


@contextmanager
def open_cluster(model: Model, settings: ClusterSettings) -> Iterator[Cluster]:
    """Connect to a cluster, or begin one on this machine, and have workers, which load the model on the same device.

    Raises:
        DeviceError: there is no such cluster, or it has no room for a single worker.
    """
    with ExitStack() as stack:
        if not ray.is_initialized():  # by a program that uses it for more
            _connect(settings)
            stack.callback(ray.shutdown)
        workers = _room(settings)
        threads = stack.enter_context(ThreadPoolExecutor(workers))
        yield Cluster(model, settings, workers, threads)


def _connect(settings: ClusterSettings) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if settings.address in ("local", ""):
        options |= {"include_dashboard": False}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(settings.address or None, **options)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, RayError) as exc:
        raise DeviceError(
            f"--ray {settings.address or os.environ.get('RAY_ADDRESS', '')}: no cluster there ({first_line(exc)}); "
            "start one with `ray start --head`, "
            "or begin one on this machine with --ray local"
        ) from exc
    finally:
        for number, handler in handlers.items():  # Ray puts its own in their place
            signal.signal(number, handler)


def _room(settings: ClusterSettings) -> int:
    """For how many workers."""
    cpus = int(ray.cluster_resources().get("CPU", 0))
    room = cpus // settings.cpus
    if not room:
        raise DeviceError(f"the cluster has {cpus} CPUs, and a worker is to have {settings.cpus}; lower --ray-cpus")
    return min(settings.workers or room, room)


def _result_of(
    worker: Any, result: Any, is_over: Callable[[], bool], on_frame: Callable[[int], None]
) -> Report | bool | Failure | None:
    asked, has_begun, is_told = worker.frames.remote(), False, False
    while not ray.wait([result], timeout=_LOOK_S)[0]:
        if ray.wait([asked], timeout=0)[0]:  # a worker that waits for a core answers nothing
            has_begun = True
            if frames := ray.get(asked):
                on_frame(frames)
            asked = worker.frames.remote()
        if is_over() and not is_told:
            if not has_begun:
                ray.kill(worker)
                return None
            worker.stop.remote()
            is_told = True
    outcome: Report | bool | Failure = ray.get(result)
    return outcome


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception on its way from another process, as what it is: with its causes, which tell whether a disk is full.

    Pickled alone, it forgets them; raised in a worker, it comes back as one of Ray's.
    """

    chain: tuple[BaseException, ...]  # it and what it came from

    @classmethod
    def of(cls, exc: BaseException) -> Failure:
        if not isinstance(exc, RoadmaskError):
            exc.add_note("In a worker:\n" + "".join(traceback.format_exception(exc)))
        chain = [exc]
        while cause := chain[-1].__cause__:
            chain.append(cause)
        return cls(tuple(map(_able_to_cross, chain)))

    @property
    def error(self) -> BaseException:
        """The exception, to be raised here."""
        for exc, cause in pairwise(self.chain):
            exc.__cause__ = cause
        return self.chain[0]


def _able_to_cross(exc: BaseException) -> BaseException:
    """The same, or for a library's that cannot be pickled what it says."""
    try:
        pickle.loads(pickle.dumps(exc))  # noqa: S301 - our own
    except Exception:  # noqa: BLE001 - whatever its class does then
        number, words = getattr(exc, "errno", None), f"{type(exc).__name__}: {exc}"
        return RuntimeError(words) if number is None else OSError(number, words)
    return exc
