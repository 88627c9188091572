"""Fixtures of several modules: data sets, and a network that is soon trained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from roadmask.training import encoder
from tests.support.datasets import make_coarse, make_fastai


@pytest.fixture
def fine(tmp_path: Path) -> Path:
    return make_fastai(tmp_path / "fine")


@pytest.fixture
def coarse(tmp_path: Path) -> tuple[Path, Path]:
    return make_coarse(tmp_path / "coarse")


@pytest.fixture(scope="module")
def thin_encoder() -> Iterator[None]:
    """All encoders with an eighth of their channels, and half the blocks: nothing that a run promises needs more."""
    with pytest.MonkeyPatch.context() as patch:
        for name in encoder._WIDTH_AND_DEPTH:
            patch.setitem(encoder._WIDTH_AND_DEPTH, name, (1 / 8, 1 / 8))
        yield


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take most of the time of a tiny run, and have tests of their own."""
    monkeypatch.setattr("roadmask.training.session._draw", lambda _run, _talk: [])
