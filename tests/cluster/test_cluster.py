"""Many machines: two nodes of a real Ray cluster, in processes of this machine."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import pytest

from roadmask.stream.batch.batch import is_disk_full
from roadmask.stream.commands.run_files import open_cluster
from roadmask.stream.errors import DeviceError, ModelError, OutputError, SourceError
from roadmask.stream.network.model import Model
from roadmask.stream.run.settings import ClusterSettings, SegmentSettings
from roadmask.stream.system.stop import Stop
from roadmask.stream.system.talk import install_command
from tests.support.awkward_files import streams
from tests.support.clips import cfr, make_clip
from tests.support.color_model import halves
from tests.support.file_content import pictures_of
from tests.support.full_disk import full_disk
from tests.support.run_command import run

pytest.importorskip("ray", reason="needs the extra ray")
import ray

from roadmask.stream.cluster.cluster import Cluster, Failure, Worker

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Ray has no clusters there"),
    pytest.mark.timeout(300),  # processes of several workers are started
    # Ray leaves pipes and sockets of the processes it ends to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning"),
]

LONG = 2000


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """Two, of one core each."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # or a busy machine gives them no time
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        cluster.add_node(num_cpus=1)
        yield cluster
        cluster.shutdown()


@pytest.fixture
def address(nodes: Any) -> str:
    return str(nodes.address)


@pytest.fixture(scope="module")
def drives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One video takes a while, the others are short."""
    folder = tmp_path_factory.mktemp("drives")
    make_clip(folder / "long.mp4", cfr(LONG), size=(32, 32))
    short = make_clip(folder / "a.mp4", cfr(12), size=(48, 64))
    shutil.copy(short, folder / "b.mp4")
    return folder


def results(out: Path) -> dict[str, object]:
    """Masks and statistics byte for byte, overlays picture for picture."""
    paths = (path for path in sorted(out.rglob("*")) if path.is_file() and "summary" not in path.name)
    return {
        path.relative_to(out).as_posix(): pictures_of(path) if path.suffix == ".mp4" else path.read_bytes()
        for path in paths
    }


def summary(out: Path) -> dict[str, Any]:
    entries = json.loads((out / "summary.json").read_text(encoding="utf-8"))["sources"]
    return {Path(entry["source"]).stem: entry for entry in entries}


def worker_pids(nodes: Any) -> list[int]:
    """Of the processes that each node's raylet has started for our actors, and nobody else's."""
    raylets = [started.process.pid for node in nodes.list_all_nodes() for started in node.all_processes["raylet"]]
    command = ["pgrep", "-P", ",".join(map(str, raylets)), "-f", "ray::Worker"]
    return [int(word) for word in subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()]


def test_a_cluster_makes_what_one_machine_makes_even_if_a_worker_is_killed(
    nodes: Any, address: str, drives: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    killed = threading.Event()

    def kill() -> None:
        while not killed.wait(0.01):
            if list((tmp_path / "many").glob(".long*.progress/stretches/*.partial.mp4")):
                for pid in worker_pids(nodes):
                    os.kill(pid, signal.SIGKILL)
                    killed.set()

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        assert run(drives, "-o", f"{tmp_path}/many/", "--ray", address, model=model) == 0
    finally:
        was_killed = killed.is_set()
        killed.set()
        thread.join()
    assert was_killed
    assert "long.mp4: a worker has died; another one goes on" in capsys.readouterr().err
    assert run(drives, "-o", f"{tmp_path}/one/", model=model) == 0
    assert results(tmp_path / "many") == results(tmp_path / "one")


def test_pictures_and_every_stream_of_a_file_are_made_as_on_one_machine(
    address: str, model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    streams((48, 64), (32, 48))(folder / "drive.mkv")
    for name in ("a.png", "b.png"):
        assert cv2.imwrite(str(folder / name), halves())
    for out, more in (("many", ["--ray", address]), ("one", [])):
        assert run(folder, "-o", f"{tmp_path}/{out}/", "--stream", "all", *more, model=model) == 0
    assert {"drive_stream0_stats.csv", "drive_stream1_stats.csv", "a_mask.png", "pictures_stats.csv"} <= {
        path.name for path in (tmp_path / "many").iterdir()
    }
    assert results(tmp_path / "many") == results(tmp_path / "one")


@pytest.mark.logs_errors
def test_a_bad_file_fails_alone_and_says_why_in_a_line(
    address: str,
    drives: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(drives / "a.mp4", folder)
    (folder / "bad.mp4").write_bytes(b"\xfe junk")
    monkeypatch.chdir(tmp_path)  # names from here mean the same to the workers, who are elsewhere
    assert run("in", "-o", "out/", "--ray", address, model=model) == 3
    assert {name: entry["state"] for name, entry in summary(tmp_path / "out").items()} == {"a": "done", "bad": "failed"}
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("roadmask: ")]
    assert lines == [
        f"roadmask: {folder}/bad.mp4: not a video that can be read (Invalid data found when processing "
        "input); is the file complete?"
    ]


def test_videos_and_results_by_url_need_no_disk_in_common(
    address: str, drives: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)  # which --ray alone takes
    arguments = [f"file://{drives}/[ab].mp4", "-o", f"file://{tmp_path}/out/", "--ray", "--progress", "none"]
    assert run(*arguments, model=model) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "summary.json",
        *(f"{name}_{kind}" for name in "ab" for kind in ("overlay.mp4", "masks.zip", "stats.csv")),
    }
    assert {entry["source"] for entry in summary(tmp_path / "out").values()} == {
        f"file://{drives}/{name}.mp4" for name in "ab"
    }


def test_a_run_on_a_cluster_that_is_stopped_finishes_its_files(
    address: str, drives: Path, model: Path, tmp_path: Path
) -> None:
    stop, loaded = Stop(), Model.load(model)
    with open_cluster(loaded, ClusterSettings(address, workers=1)) as cluster:
        assert cluster.workers == 1
        job = SegmentSettings(drives / "long.mp4", masks=tmp_path / "masks.zip")
        report = cluster.run(job, stop, lambda _: stop.set())
        with pytest.raises(SourceError, match=r"gone\.mp4: no such file"):
            cluster.run(SegmentSettings(tmp_path / "gone.mp4", masks=tmp_path / "gone.zip"), Stop(), lambda _: None)
    assert report.interrupted
    assert 0 < report.frames < LONG
    assert (tmp_path / "masks.zip").exists()


@pytest.mark.logs_errors
def test_a_full_disk_of_a_worker_ends_all_as_on_one_machine(
    address: str, drives: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import ray

    def fill_disk() -> None:
        """In each worker: what it writes to an output does not fit."""
        import errno

        from roadmask.stream.system.disk import AppendedFile

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        AppendedFile._write = full  # type: ignore[method-assign]

    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a", "b", "c", "d", "e", "f"):
        shutil.copy(drives / "a.mp4", folder / f"{name}.mp4")
    environment = {"worker_process_setup_hook": fill_disk}
    ray.init(address, runtime_env=environment, log_to_driver=False)
    try:
        assert run(folder, "-o", f"{tmp_path}/out/", "--ray", address, "--ray-workers", 1, model=model) == 1
    finally:
        ray.shutdown()
    assert "the disk is full, so nothing more was begun; free some space" in capsys.readouterr().err
    assert {name: entry["state"] for name, entry in summary(tmp_path / "out").items()} == {"a": "failed"}


def test_a_stop_is_seen_while_workers_wait_for_cores(address: str, drives: Path, model: Path, tmp_path: Path) -> None:
    import ray

    @ray.remote(num_cpus=1)
    class Other:
        def works(self) -> bool:
            return True

    stop, reports, loaded = Stop(), [], Model.load(model)
    with open_cluster(loaded, ClusterSettings(address)) as cluster:
        others = [Other.remote() for _ in range(2)]
        assert all(ray.get([other.works.remote() for other in others]))
        job = SegmentSettings(drives / "a.mp4", masks=tmp_path / "masks.zip")
        thread = threading.Thread(target=lambda: reports.append(cluster.run(job, stop, lambda _: None)), daemon=True)
        thread.start()
        stop.set()
        thread.join(60)
        for other in others:
            ray.kill(other)
        assert not thread.is_alive(), "it waits for the cores of others"
    (report,) = reports
    assert report.interrupted
    assert report.frames == 0


def test_what_goes_wrong_in_a_worker_comes_back_as_what_it_is(drives: Path, model: Path, tmp_path: Path) -> None:
    worker = Worker(str(model), "cpu", 1)
    with full_disk(10):
        result = worker.run(SegmentSettings(drives / "a.mp4", masks=tmp_path / "masks.zip"))
    crossed = pickle.loads(pickle.dumps(result)).error
    assert isinstance(crossed, OutputError)
    assert isinstance(crossed.__cause__, OSError)
    assert crossed.__cause__.errno == errno.EFBIG
    missing = pickle.loads(pickle.dumps(Worker("gone.onnx", "cpu", 1).run(SegmentSettings(drives / "a.mp4")))).error
    assert isinstance(missing, ModelError)


def test_a_fault_in_a_worker_keeps_its_traceback_and_what_cannot_cross_its_words_and_number() -> None:
    class OddError(OSError):
        def __init__(self, words: str, *, number: int) -> None:
            super().__init__(number, words)

    fault = ZeroDivisionError("by zero")
    fault.__cause__ = OddError("full", number=errno.ENOSPC)
    with pytest.raises(ZeroDivisionError):
        raise fault
    crossed = pickle.loads(pickle.dumps(Failure.of(fault))).error
    assert type(crossed) is ZeroDivisionError
    assert is_disk_full(crossed)
    assert "in test_a_fault_in_a_worker" in "".join(traceback.format_exception(crossed))


def test_a_worker_takes_one_thread_of_opencv(model: Path) -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(4)
    try:
        Worker(str(model), "cpu", 1)
        assert cv2.getNumThreads() == 1
    finally:
        cv2.setNumThreads(before)


def test_a_worker_loads_the_model_at_the_size_of_the_command_s(
    drives: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[Any, ...]] = []
    monkeypatch.setattr(ray, "remote", lambda **_: lambda _: SimpleNamespace(remote=lambda *args: made.append(args)))
    loaded = Model.load(model, device="cpu", size="64x64")
    with ThreadPoolExecutor(1) as threads:
        Cluster(loaded, ClusterSettings("local"), 1, threads)._new()
    assert made == [(str(model), "cpu", 1, "64x64")]
    worker = Worker(*made[0])
    worker.run(SegmentSettings(drives / "a.mp4"))
    assert worker._model.spec.size == "64x64"


def test_a_worker_runs_what_the_command_has_chosen(model: Path) -> None:
    pytest.importorskip("openvino", reason="the extra [openvino] is not installed")
    chosen = Model.load(model, device="openvino:fp32")
    assert Worker(str(chosen.path), chosen.device, 1, chosen.spec.size)._model.placement == chosen.placement


def test_more_cores_a_worker_than_there_are_is_refused(address: str, drives: Path, model: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(DeviceError, match="the cluster has 2 CPUs, and a worker is to have 3; lower --ray-cpus"),
        open_cluster(Model.load(model), ClusterSettings(address, cpus=3)),
    ):
        pass
    assert run(drives, "-o", f"{tmp_path}/", "--ray", address, "--serve", "127.0.0.1:0", model=model) == 2


def test_without_the_extra_one_line_says_what_to_install(
    drives: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "roadmask.stream.cluster.cluster", raising=False)
    assert run(drives, "-o", f"{tmp_path}/out/", "--ray", "local", model=model) == 1
    assert f"--ray needs ray: {install_command('ray')}" in capsys.readouterr().err
