"""What `roadmask doctor` says of versions, the machine and its disks."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import tomllib
from importlib import metadata
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest
import typer

import roadmask
from roadmask.stream.doctor import machine as doctor_machine
from roadmask.stream.system.talk import install_command
from tests.support.findings import broken, by_name
from tests.support.own_process import ROOT


def test_the_extras_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {name: lines for name, lines in project["optional-dependencies"].items() if name != "dev"}
    assert set(doctor_machine.EXTRAS) == set(extras)
    base = {re.split("[>=]", line)[0] for line in project["dependencies"]}
    assert base == set(doctor_machine.MODULES.values())
    declared = {name: {re.split("[>=]", line)[0] for line in lines} for name, lines in extras.items()}
    installed = doctor_machine._wanted_versions()
    assert {name: set(installed[name]) for name in extras} == declared
    assert set(installed[""]) == base


def fake_versions(monkeypatch: pytest.MonkeyPatch, **changes: str | None) -> None:
    versions = {name.replace("_", "-"): found for name, found in changes.items()}

    def version(name: str) -> str:
        if (found := versions.get(name, "as it is")) is None:
            raise PackageNotFoundError(name)
        return metadata.version(name) if found == "as it is" else found

    monkeypatch.setattr(doctor_machine, "version", version)


def fake_packages(monkeypatch: pytest.MonkeyPatch, **changes: list[str]) -> None:
    """What packages bring modules of these names."""
    usual = {module: [package] for module, package in doctor_machine.MODULES.items()}
    monkeypatch.setattr(doctor_machine, "packages_distributions", lambda: usual | changes)


def test_the_version_is_that_of_the_code_whatever_an_older_install_has_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_versions(monkeypatch, roadmask="0.9")
    assert by_name(doctor_machine.versions())["roadmask"].found.startswith(f"{roadmask.__version__}, Python 3.")


def test_a_missing_extra_is_no_fault_and_says_what_it_would_give(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_versions(monkeypatch, ray=None, torch=None)
    found = by_name(doctor_machine.versions())
    assert found["[ray]"].state == found["[train]"].state == "ok"
    assert found["[ray]"].found == "not installed: no ray"
    assert found["[ray]"].advice == f"for --ray, a cluster of machines: {install_command('ray')}"


def test_an_extra_that_is_too_old_is_a_warning_and_says_what_does_not_go(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_versions(monkeypatch, ray="1.13.0")
    found = by_name(doctor_machine.versions())["[ray]"]
    assert (found.state, found.found) == ("warning", "not for --ray, a cluster of machines: ray 1.13.0 is too old")
    assert found.advice == f"{install_command('ray')} --upgrade"


def test_a_library_that_is_broken_missing_too_old_or_too_new_is_a_problem_with_the_command_that_cures_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = ["numpy>=1.26", "av<19,>=18.1", "rich>=13.8", "typer<0.29,>=0.26.8", "opencv-python-headless>=4.9"]
    monkeypatch.setattr(doctor_machine, "requires", lambda _: [*told, "ray>=2.30; extra == 'ray'"])
    fake_packages(monkeypatch, rich=[])
    fake_versions(monkeypatch, rich=None)
    monkeypatch.setattr(np, "__version__", "1.25.2")
    monkeypatch.setattr(typer, "__version__", "0.30.0")
    for module in ("cv2", "rich"):
        monkeypatch.setitem(sys.modules, module, None)
    found = by_name(doctor_machine.versions())
    assert {found[name].state for name in ("numpy", "opencv", "rich", "typer")} == {"problem"}
    assert found["numpy"].found == "1.25.2 is too old: >=1.26 is needed"
    assert found["numpy"].advice == "pip install 'numpy>=1.26'"
    assert found["typer"].found == "0.30.0 is too new: >=0.26.8,<0.29 is needed"
    assert found["typer"].advice == "pip install 'typer>=0.26.8,<0.29'"
    assert found["opencv"].advice == "pip install --force-reinstall 'opencv-python-headless>=4.9'"
    assert found["rich"].advice == "pip install 'rich>=13.8'"
    assert found["av"].state == "ok"


def test_of_a_library_that_wraps_what_is_wrong_with_it_the_root_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "av.py").write_text(
        "try:\n    raise ImportError('libm.so: no such file')\n"
        "except ImportError as exc:\n    raise ImportError('\\n\\nIMPORTANT: A PAGE OF ADVICE') from exc\n"
    )
    monkeypatch.delitem(sys.modules, "av")
    monkeypatch.syspath_prepend(tmp_path)
    assert by_name(doctor_machine.versions())["av"].found.endswith("cannot be imported: libm.so: no such file")


def test_a_library_that_wants_a_display_may_be_replaced_by_one_that_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_packages(monkeypatch, cv2=["opencv-python"])
    monkeypatch.setitem(sys.modules, "cv2", None)
    advice = by_name(doctor_machine.versions())["opencv"].advice
    assert "pip uninstall opencv-python, then pip install 'opencv-python-headless" in advice


def test_two_packages_of_one_library_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    opencv = ["opencv-python-headless", "opencv-python"]
    fake_packages(monkeypatch, onnxruntime=["onnxruntime-gpu", "onnxruntime"], cv2=opencv)
    found = by_name(doctor_machine.versions())
    assert found["onnxruntime"].state == found["opencv"].state == "warning"
    assert "onnxruntime and onnxruntime-gpu overwrite each other's files" in found["onnxruntime"].found
    assert found["opencv"].advice.startswith("pip uninstall opencv-python opencv-python-headless;")


@pytest.mark.parametrize(
    ("version", "numbers"),
    [("2.6.0+cpu", (2, 6, 0)), ("2.6", (2, 6)), ("19.0.0rc1", (19, 0, 0)), ("of unknown version", ())],
)
def test_versions_are_compared_by_their_releases(version: str, numbers: tuple[int, ...]) -> None:
    assert doctor_machine._numbers(version) == numbers


@pytest.mark.parametrize(("free", "state"), [(4_000_000, "ok"), (700_000, "warning"), (300_000, "problem")])
def test_memory_of_the_machine_is_judged_by_what_is_free(tmp_path: Path, free: int, state: str) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal:       8000000 kB\nMemFree: 1 kB\nMemAvailable:  {free} kB\n")
    assert doctor_machine.memory(meminfo, tmp_path).state == state


def test_a_container_s_limit_counts_and_its_cache_of_files_does_not(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("2000000000\n")
    (tmp_path / "memory.current").write_text("1900000000\n")
    (tmp_path / "memory.stat").write_text("inactive_file 400000000\n")
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 8000000 kB\nMemAvailable: 4000000 kB\n")
    finding = doctor_machine.memory(meminfo, tmp_path)
    assert (finding.state, finding.found) == ("warning", "500.0 MB of the container's 2.0 GB are free")
    assert finding.advice


def test_where_the_system_tells_no_memory_that_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    assert doctor_machine.memory(tmp_path / "none", tmp_path).found == "not known on this system"


def test_fewer_cores_than_the_machine_has_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_machine, "usable_cores", lambda: 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    assert by_name(doctor_machine.machine())["cores"].found.startswith("2 of 16:")


def test_a_cache_that_cannot_be_written_to_is_a_warning_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(doctor_machine, "cache_folder", lambda: tmp_path / "file" / "roadmask")
    finding = by_name(doctor_machine.disk())["cache"]
    assert finding.state == "warning"
    assert "cannot be written to" in finding.found
    assert finding.advice
    monkeypatch.setattr(doctor_machine, "cache_folder", lambda: tmp_path / "new" / "roadmask")
    assert by_name(doctor_machine.disk())["cache"].state == "ok"
    assert list((tmp_path / "new" / "roadmask").iterdir()) == []


def test_a_temporary_folder_that_cannot_be_written_to_is_a_problem_and_the_working_folder_is_only_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor_machine, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(doctor_machine, "_ROOM", (0, 0))
    monkeypatch.setattr(tempfile, "TemporaryFile", broken)
    found = by_name(doctor_machine.disk())
    assert (found["temporary"].state, found["here"].state) == ("problem", "ok")
    assert found["temporary"].found.endswith("cannot be written to (Permission denied)")
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert by_name(doctor_machine.disk())["here"].state == "warning"


def test_a_working_folder_that_was_removed_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "cwd", lambda: (tmp_path / "gone").stat())
    assert by_name(doctor_machine.disk())["here"].state == "warning"


@pytest.mark.parametrize(("free", "state"), [(10**11, "ok"), (10**9, "warning"), (10**6, "problem")])
def test_room_on_the_disk_is_judged(free: int, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_machine.shutil, "disk_usage", lambda _: type("Usage", (), {"free": free}))
    assert by_name(doctor_machine.disk())["here"].state == state
