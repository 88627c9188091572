"""What holds for every test, and fixtures of tests in several modules."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from roadmask.stream.system.machine import usable_cores
from tests.support.color_model import write_color_model
from tests.support.own_process import end_processes

# Tests start hundreds of processes, each of which would compile the package again.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# A process of tests a core: threads of torch beyond that wait for each other, at full load.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# No test loses its power, and to wait for the disk would be a large part of the time of those that write.
os.fsync = lambda _: None
# How long an example takes says something of the machine, and of what else it does.
settings.register_profile("roadmask", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("roadmask")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: a third of the tests' time is waiting, for cameras and for other processes."""
    return usable_cores() + 1


# Files that take longest are begun first, or a worker would be alone with one in the end.
_LONGEST = (
    *("instants", "cluster", "openvino", "live_loss", "resume", "training_run", "budget", "corpus", "guide_commands"),
    *("publish", "gpu_check", "watch_folders", "several_data_sets", "signals", "live_page", "stretches", "same_masks"),
    "training_tools",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {f"test_{name}.py": place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Threads that tests left inside libraries: C++ that comes back while Python is taken down aborts the worker."""
    until = time.monotonic() + 5
    for thread in threading.enumerate():
        if thread.daemon and thread.name.startswith(
            ("decode", "infer", "decide", "network", "limited", "job", "camera")
        ):
            thread.join(max(until - time.monotonic(), 0))


@pytest.fixture(autouse=True)
def _no_error_is_logged(request: pytest.FixtureRequest) -> Iterator[None]:
    """An error that a thread, a library or we have only logged fails the test, unless it is marked `logs_errors`.

    Records are noted as they are made: the command sets up its own handlers in place of those that are there.
    """
    errors: list[logging.LogRecord] = []
    make = logging.getLogRecordFactory()

    def make_and_note(*arguments: Any, **named: Any) -> logging.LogRecord:
        record = make(*arguments, **named)
        if record.levelno >= logging.ERROR:
            errors.append(record)
        return record

    logging.setLogRecordFactory(make_and_note)
    yield
    logging.setLogRecordFactory(make)
    if request.node.get_closest_marker("logs_errors"):
        assert errors, "no error was logged: it is marked in vain"
    else:
        assert not errors, [f"{record.name}: {record.getMessage()}" for record in errors]


@pytest.fixture(autouse=True)
def _processes_end() -> Iterator[None]:
    yield
    end_processes()


@pytest.fixture(autouse=True)
def _logs_begin_anew() -> None:
    """`run` sets up the logs of its process: what it writes to, and from which level on, would stay for later tests."""
    root = logging.getLogger()
    root.setLevel(logging.WARNING)
    for handler in [handler for handler in root.handlers if type(handler).__module__.startswith("roadmask.")]:
        root.removeHandler(handler)


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is lost is tried again soon."""
    monkeypatch.setattr("roadmask.stream.camera.lost.FIRST_S", 0.1)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a model that gives each pixel the class of the nearest colour."""
    return write_color_model(tmp_path_factory.mktemp("model") / "colors.onnx")
