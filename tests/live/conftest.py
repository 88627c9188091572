"""Fixtures of several modules: live views, and a browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from roadmask.stream.live.live_view import LiveView
from tests.support.clips import SPEC
from tests.support.live_results import ANYWHERE, camera, striped

if TYPE_CHECKING:
    from selenium import webdriver

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CHROMEDRIVER = shutil.which("chromedriver")


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
    if not (CHROMIUM and CHROMEDRIVER):
        pytest.skip("needs chromium and chromedriver (Debian: chromium-driver)")
    from selenium import webdriver  # half a second that tests without a browser should not pay
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"):
        options.add_argument(argument)
    options.add_argument("--renderer-process-limit=1")  # quicker to the next page than a process for each
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(CHROMEDRIVER))
    chrome.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)})
    yield chrome
    chrome.quit()
