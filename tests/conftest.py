"""Fixtures of tests in several modules."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.color_model import write_color_model


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is lost is tried again soon."""
    monkeypatch.setattr("roadmask.stream.camera.lost.FIRST_S", 0.1)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a model that gives each pixel the class of the nearest colour."""
    return write_color_model(tmp_path_factory.mktemp("model") / "colors.onnx")
