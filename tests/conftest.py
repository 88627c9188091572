"""Fixtures of tests in several modules."""

from __future__ import annotations

import pytest


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is lost is tried again soon."""
    monkeypatch.setattr("roadmask.stream.camera.lost.FIRST_S", 0.1)
