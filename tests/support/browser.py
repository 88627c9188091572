"""A browser without a window, on machines that have one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

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


def on_laptop_and_phone(
    chrome: webdriver.Chrome, height: int, show: Callable[[webdriver.Chrome, str], None]
) -> NDArray[np.uint8]:
    """One picture (height, width, 3) in BGR, of a page on either screen; `show` opens it, and waits for it."""
    shown = []
    for name, width, high in (("laptop", 1224, height), ("phone", 390, 843)):
        screen = {"width": width, "height": high, "deviceScaleFactor": 1, "mobile": name == "phone"}
        chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        chrome.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": name == "phone"})
        show(chrome, name)
        page = cv2.imdecode(np.frombuffer(chrome.get_screenshot_as_png(), np.uint8), cv2.IMREAD_COLOR)
        shown.append(cv2.resize(page, (round(width * height / high), height), interpolation=cv2.INTER_AREA))
    between = np.full((height, 8, 3), 110, np.uint8)  # a gray for light and dark pages
    return np.asarray(np.hstack([shown[0], between, shown[1]]), np.uint8)
