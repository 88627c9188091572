"""Which worker makes what, and what is done where one fails: workers that are in this process, without a cluster."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from roadmask.stream.errors import DeviceError
from roadmask.stream.network.model import Model
from roadmask.stream.run.segment import process_video
from roadmask.stream.run.settings import ClusterSettings, SegmentSettings
from tests.cluster.test_stretches import FRAMES, job_for, outputs
from tests.support.clips import cfr, make_clip
from tests.support.color_model import write_color_model
from tests.support.short_pieces import shorten_pieces

pytest.importorskip("ray", reason="needs the extra ray")
from ray.exceptions import RayActorError, RayError

from roadmask.stream.cluster import cluster as cluster_module
from roadmask.stream.cluster.cluster import Cluster, Worker

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Ray has no clusters there"),
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning"),
]
Fault = Callable[[str, SegmentSettings], None]  # raises as Ray does, or not: what is called, and for which job


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model.load(write_color_model(tmp_path_factory.mktemp("model") / "colors.onnx"), device="cpu")


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SegmentSettings:
    """Long enough to be cut."""
    shorten_pieces(monkeypatch)
    monkeypatch.setattr("roadmask.stream.cluster.stretch._FEWEST_PIECES", 1)
    return job_for(make_clip(tmp_path / "drive.mp4", cfr(FRAMES), size=(32, 48), sound_s=[FRAMES / 25]), tmp_path)


class Workers:
    """Begins them as a cluster does."""

    def __init__(self, model: Model, fault: Fault) -> None:
        self.calls: list[str] = []
        self._model = model
        self._fault = fault

    def begin(self) -> SimpleNamespace:
        worker = Worker(str(self._model.path), "cpu", 1)
        return SimpleNamespace(run=self._remote(worker.run), run_stretch=self._remote(worker.run_stretch))

    def _remote(self, call: Callable[..., Any]) -> SimpleNamespace:
        def remote(job: SegmentSettings, *more: Any) -> Any:
            self.calls.append(call.__name__)
            self._fault(call.__name__, job)
            return call(job, *more)

        return SimpleNamespace(remote=remote)


@pytest.fixture
def made(model: Model, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[Any, list[str]]]]:
    """What two workers make of a job, and what was asked of them."""
    monkeypatch.setattr(cluster_module, "_result_of", lambda _, result, *__: result)
    with ThreadPoolExecutor(2) as threads:

        def make(job: SegmentSettings, fault: Fault = lambda *_: None) -> tuple[Any, list[str]]:
            cluster, workers = Cluster(model, ClusterSettings("local"), 2, threads), Workers(model, fault)
            cluster._new = workers.begin
            return cluster.run(job, Event(), lambda _: None), workers.calls

        yield make


def alone(job: SegmentSettings, model: Model, folder: Path) -> dict[str, Any]:
    assert job.file is not None
    folder.mkdir()
    job = job_for(job.file, folder)
    process_video(job, model)
    return outputs(job)


def test_a_video_that_turns_out_to_be_none_to_be_cut_is_made_by_one_worker(
    made: Any,
    job: SegmentSettings,
    model: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    looks = count()  # where it is jumped into it gives other pictures
    monkeypatch.setattr("roadmask.stream.cluster.stretch.look_of", lambda _: next(looks))
    report, calls = made(job)
    assert calls[0] == "run_stretch"
    assert calls.count("run") == 1
    assert report.frames == FRAMES
    words = "drive.mp4: one worker makes all of it anew, as where it is jumped into it gives other pictures"
    assert caplog.messages[-1] == words
    assert outputs(job) == alone(job, model, tmp_path / "alone")
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".") or "partial" in path.name]


def test_of_a_stretch_whose_worker_dies_another_makes_the_same(
    made: Any, job: SegmentSettings, model: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deaths = iter([RayActorError(), RayActorError()])

    def die(*_: object) -> None:
        for death in deaths:
            raise death

    report, calls = made(job, die)
    assert report.frames == FRAMES
    assert "run" not in calls
    assert caplog.messages.count("drive.mp4: a worker has died; another one goes on") == 2
    assert outputs(job) == alone(job, model, tmp_path / "alone")


def test_a_video_that_three_workers_have_died_of_is_given_up_and_each_went_on_with_what_was_there(
    made: Any, tmp_path: Path
) -> None:
    short, resumed = job_for(make_clip(tmp_path / "drive.mp4", cfr(5), size=(32, 48)), tmp_path), list[bool]()

    def die(_: str, job: SegmentSettings) -> None:
        resumed.append(job.resume)
        raise RayActorError

    with pytest.raises(DeviceError, match=r"^drive\.mp4: 3 workers have died of it; is their memory too small\?$"):
        made(short, die)
    assert resumed == [False, True, True]


def test_a_cluster_that_is_lost_is_told_with_how_to_go_on(made: Any, job: SegmentSettings) -> None:
    def lose(*_: object) -> None:
        raise RayError("the head is gone\nand more")

    with pytest.raises(DeviceError, match=r"^drive\.mp4: the cluster is lost \(the head is gone\); --resume goes on$"):
        made(job, lose)
    assert not [path for path in job.outputs if path.exists()]
