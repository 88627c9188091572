"""The examples in the docstrings of the public Python API run as they stand."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

import roadmask
from tests.support.clips import cfr, make_clip

# Exceptions and plain data, of which the examples of others show what there is to show.
WITHOUT_EXAMPLE = {
    "ArchiveError",
    "Camera",
    "CameraSettings",
    "DeviceError",
    "Frame",
    "ModelError",
    "ModelSpec",
    "OutputError",
    "PixelClass",
    "Report",
    "RoadmaskError",
    "SegmentSettings",
    "SegmentedFrame",
    "SourceError",
    "VideoInfo",
}


@pytest.fixture
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `drive.mp4` and `masks.zip` are, as in the examples: three frames at 25 a second."""
    make_clip(tmp_path / "drive.mp4", cfr(3), size=(96, 128))
    settings = roadmask.SegmentSettings(tmp_path / "drive.mp4", masks=tmp_path / "masks.zip")
    roadmask.process_video(settings, roadmask.Model.load("camvid-lite0-int8"))
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
