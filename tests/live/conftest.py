"""Fixtures of several modules: live views."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from roadmask.stream.live.live_view import LiveView
from tests.support.clips import SPEC
from tests.support.live_results import ANYWHERE, camera, striped


@pytest.fixture
def view() -> Iterator[LiveView]:
    with LiveView(ANYWHERE, SPEC.classes) as view:
        yield view


@pytest.fixture(scope="module")
def running() -> Iterator[LiveView]:
    """For tests that change nothing: one camera, which has a picture."""
    with LiveView(ANYWHERE, SPEC.classes) as view:
        camera(view).write(striped())
        yield view
