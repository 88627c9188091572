"""Many machines: videos go to the workers of a Ray cluster, each of which holds one model.

Files are read and written where their names point to, so every machine must see them under the same names. A worker
that dies, alone or with its machine, costs the seconds since its last sync: another one goes on inside the video.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing leaves the machine

import ray
from ray.exceptions import RayActorError, RayError

from .cluster_settings import ClusterSettings
from .errors import DeviceError, RoadmaskError
from .model import Model
from .outputs import refuse_bad_outputs
from .segment import process_video
from .segment_settings import Report, SegmentSettings

log = logging.getLogger(__name__)

_LOOK_S = 0.5  # between two questions to a worker how far it is
_MOST_DEATHS = 3  # of workers, by one video: it is then the video that kills them


class Worker:
    """Runs one video at a time, in a process of its own on some machine."""

    def __init__(self, model: str | None, device: str, cpus: int) -> None:
        self._model = Model.load(model, device=device, threads=cpus, workers=cpus)
        self._stop = Event()
        self._frames = 0

    def ready(self) -> None:
        """Returns when the model is loaded."""

    def run(self, job: SegmentSettings) -> Report | RoadmaskError:
        """What became of it: an error that is raised would come back with this machine's traceback in its words."""
        self._stop.clear()
        self._frames = 0
        try:
            return process_video(job, self._model, stop=self._stop, on_frame=self._count)
        except RoadmaskError as exc:
            return exc

    def frames(self) -> int:
        """Written so far; asked while it runs."""
        return self._frames

    def stop(self) -> None:
        """Finish the outputs at the frame that was reached."""
        self._stop.set()

    def _count(self, frames: int) -> None:
        self._frames = frames


class Cluster:
    """Workers to run jobs on; from `open_cluster`. Any thread may call `run`."""

    def __init__(self, model: Path, device: str, settings: ClusterSettings, workers: int) -> None:
        self.workers = workers
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        gpus = 1 if device.partition(":")[0] in ("cuda", "tensorrt") else 0
        # Two calls at a time: one runs a video, the other asks how far it is.
        actor: Any = ray.remote(num_cpus=settings.cpus, num_gpus=gpus, max_concurrency=2)(Worker)
        # A model in the box is found by its name, wherever a machine has it.
        word = model.stem if model.parent == Path(__file__).parent / "models" else str(model)
        self._new: Callable[[], Any] = lambda: actor.remote(word, device, settings.cpus)
        for _ in range(workers):
            self._idle.put(self._new())

    def run(self, job: SegmentSettings, stop: Event, on_frame: Callable[[int], None]) -> Report:
        """As `process_video`, on some machine.

        Raises:
            RoadmaskError: as there; or the cluster is lost, or the job has killed several workers.
        """
        refuse_bad_outputs(job)
        for _ in range(_MOST_DEATHS):
            worker = self._idle.get()
            try:
                result = _run_on(worker, job, stop, on_frame)
            except RayActorError:
                log.warning("%s: a worker has died; another one goes on", job.name)
                worker = self._new()
                job = replace(job, resume=True)
            except RayError as exc:
                raise DeviceError(f"{job.name}: the cluster is lost ({_first_line(exc)})") from exc
            else:
                if isinstance(result, RoadmaskError):
                    raise result
                return result
            finally:
                self._idle.put(worker)
        raise DeviceError(f"{job.name}: {_MOST_DEATHS} workers have died of it; is their memory too small?")


@contextmanager
def open_cluster(model: Model, settings: ClusterSettings, jobs: int) -> Iterator[Cluster]:
    """Connect to a cluster, or begin one on this machine, and have workers for so many jobs.

    Args:
        model: that the workers are to load, on the same device.
        settings: which cluster.
        jobs: more workers than that are of no use.

    Raises:
        DeviceError: there is no such cluster, or it has no room for a single worker.
    """
    device = str(model.placement)
    if ray.is_initialized():  # by a program that uses it for more
        yield _staffed(model, device, settings, jobs)
        return
    _connect(settings)
    try:
        yield _staffed(model, device, settings, jobs)
    finally:
        ray.shutdown()


def _connect(settings: ClusterSettings) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if settings.address == "local":
        options |= {"include_dashboard": False}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(settings.address, **options)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, RayError) as exc:
        raise DeviceError(
            f"--ray {settings.address}: no cluster there ({_first_line(exc)}); start one with `ray start --head`, "
            "or begin one on this machine with --ray local"
        ) from exc
    finally:
        for number, handler in handlers.items():  # Ray puts its own in their place
            signal.signal(number, handler)


def _staffed(model: Model, device: str, settings: ClusterSettings, jobs: int) -> Cluster:
    cpus = int(ray.cluster_resources().get("CPU", 0))
    room = cpus // settings.cpus
    if not room:
        raise DeviceError(f"the cluster has {cpus} CPUs, and a worker is to have {settings.cpus}; lower --ray-cpus")
    return Cluster(model.path, device, settings, min(settings.workers or room, jobs))


def _run_on(worker: Any, job: SegmentSettings, stop: Event, on_frame: Callable[[int], None]) -> Report | RoadmaskError:
    result = worker.run.remote(job)
    told = False
    while True:
        ready, _ = ray.wait([result], timeout=_LOOK_S)
        if ready:
            outcome: Report | RoadmaskError = ray.get(result)
            return outcome
        if stop.is_set() and not told:
            worker.stop.remote()
            told = True
        if frames := ray.get(worker.frames.remote()):
            on_frame(frames)


def _first_line(exc: BaseException) -> str:
    return str(exc).strip().partition("\n")[0] or type(exc).__name__
