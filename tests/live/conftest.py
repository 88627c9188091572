"""Fixtures of several modules: live views, and a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from roadmask.stream.live.live_view import LiveView
from tests.support.browser import IS_MISSING, WHY_MISSING, browsing
from tests.support.clips import SPEC
from tests.support.live_results import ANYWHERE, camera, striped

if TYPE_CHECKING:
    from selenium import webdriver


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


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(downloads: Path) -> Iterator[webdriver.Chrome]:
    if IS_MISSING:
        pytest.skip(WHY_MISSING)
    # With one process for all pages it is quicker to the next than with one for each.
    with browsing("--no-first-run", "--renderer-process-limit=1") as chrome:
        chrome.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)})
        yield chrome
