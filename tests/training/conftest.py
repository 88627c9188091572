"""Fixtures of several modules: a data set, and one whose labels are sets of its classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.datasets import make_coarse, make_fastai


@pytest.fixture
def fine(tmp_path: Path) -> Path:
    return make_fastai(tmp_path / "fine")


@pytest.fixture
def coarse(tmp_path: Path) -> tuple[Path, Path]:
    return make_coarse(tmp_path / "coarse")
