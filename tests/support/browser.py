"""A browser without a window, on machines that have one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selenium import webdriver

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CHROMEDRIVER = shutil.which("chromedriver")
IS_MISSING = not (CHROMIUM and CHROMEDRIVER)
WHY_MISSING = "needs chromium and chromedriver (Debian: chromium-driver)"


@contextmanager
def browsing(*arguments: str) -> Iterator[webdriver.Chrome]:
    """One that keeps what its pages log."""
    from selenium import webdriver  # half a second that tests without a browser should not pay
    from selenium.webdriver.chrome.service import Service

    assert CHROMIUM
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *arguments):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(CHROMEDRIVER))
    try:
        yield chrome
    finally:
        chrome.quit()
