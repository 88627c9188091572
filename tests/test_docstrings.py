"""The examples in the docstrings of the public Python API run as they stand."""

from __future__ import annotations

import doctest
import re
import shutil
from pathlib import Path

import pytest

import roadmask
from tests.support.clips import cfr, make_clip

WITHOUT_EXAMPLE = {"ArchiveError", "DeviceError", "ModelError", "OutputError", "SourceError"}  # that of RoadmaskError


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `drive.mp4` and `masks.zip`, as in the examples: three frames at 25 a second."""
    folder = tmp_path_factory.mktemp("examples")
    make_clip(folder / "drive.mp4", cfr(3), size=(96, 128))
    settings = roadmask.SegmentSettings(folder / "drive.mp4", masks=folder / "masks.zip")
    roadmask.process_video(settings, roadmask.Model.load("camvid-lite0-int8"))
    return folder


@pytest.fixture
def _folder(drive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(drive, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_folder")
@pytest.mark.parametrize("name", sorted(set(roadmask.__all__) - WITHOUT_EXAMPLE))
def test_the_example_runs(name: str) -> None:
    found = [
        test
        for test in doctest.DocTestFinder(recurse=True).find(getattr(roadmask, name), name, globs={})
        if test.examples
    ]
    assert found, f"{name} has no example"
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for test in found:
        report: list[str] = []
        assert runner.run(test, out=report.append, clear_globs=True).failed == 0, "".join(report)


@pytest.mark.parametrize("name", roadmask.__all__)
def test_every_public_name_says_what_it_is(name: str) -> None:
    assert getattr(roadmask, name).__doc__


def test_the_package_has_a_version_and_offers_public_names_alone() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", roadmask.__version__)
    assert dir(roadmask) == roadmask.__all__
    assert not [name for name in dir(roadmask) if name.startswith("_")]
    assert "roadmask.load()" in str(roadmask.__doc__)
