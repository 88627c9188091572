"""The page of a run of files, in a real browser; and what programs are told of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from selenium import webdriver
from selenium.webdriver.common.by import By

from roadmask.stream.batch.workload import Workload
from roadmask.stream.camera.status import CameraState
from roadmask.stream.live.live_view import LiveView
from roadmask.stream.live.views import Places
from roadmask.stream.run.settings import SegmentSettings
from tests.support.clips import SPEC
from tests.support.live_client import Viewer, get
from tests.support.live_results import ANYWHERE, striped
from tests.support.waiting import eventually


def running(name: str = "drive.mp4", *, place: str = "1", still_s: float = 0.0) -> dict[str, Any]:
    return {"name": name, "frames": 900, "expected": 1200, "place": place, "still_s": still_s}


def ended(name: str, state: str, reason: str = "", frames: int | None = 300) -> dict[str, Any]:
    return {"name": name, "state": state, "reason": reason, "frames": frames, "ended": "2026-11-18T12:26:40.000Z"}


@pytest.fixture
def run() -> dict[str, Any]:
    """A run that has begun, as its page asks for it; tests change it."""
    return Workload([SegmentSettings(Path("drive.mp4"))]).in_json()


@pytest.fixture
def view(run: dict[str, Any]) -> Iterator[LiveView]:
    with LiveView(ANYWHERE, SPEC.classes, run=lambda: dict(run)) as view:
        yield view


def texts(page: webdriver.Chrome, selector: str) -> list[str]:
    """What can be seen of all such, at one moment."""
    found: list[str] = page.execute_script(
        "return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility()).map(e => e.innerText)",
        selector,
    )
    return found


def rows(page: webdriver.Chrome) -> list[str]:
    return [" | ".join(row.splitlines()) for row in texts(page, "#files li")]


def test_the_page_shows_what_runs_what_waits_and_what_became_of_the_others(
    browser: webdriver.Chrome, view: LiveView, run: dict[str, Any]
) -> None:
    places = Places(view, 1)
    run |= {"running": [running()], "waiting": 7, "queue": [f"{number}.mp4" for number in range(7)], "done": 1200}
    run |= {"failed": 1, "fps": 31.04, "seconds_left": 125.0, "share": 0.25}
    run |= {"ended": [ended("bad.mp4", "failed", "not a video, but text", None), ended("good.mp4", "done")]}
    browser.get(view.url)
    with places.taken("drive.mp4") as place:
        assert place is not None
        place.status.change(CameraState.RUNNING, "drive.mp4")
        place.write(striped())
        eventually(lambda: texts(browser, ".camera h2") == ["drive.mp4"])
        eventually(lambda: browser.find_element(By.CSS_SELECTOR, ".camera").get_attribute("data-index") == "0")
        assert eventually(lambda: texts(browser, ".camera .state")) == ["Running"]
        assert texts(browser, ".numbers dt") == ["Frames/s", "Frames"], "files have no latency, and are not reconnected"
        assert texts(browser, ".frames") == ["900 of 1,200"]
        assert texts(browser, "#summary") == ["1 running · 7 waiting · 1,200 done · 1 failed"]
        assert texts(browser, "#files .counts")[0].endswith(" · 31.0 frames/s · 0:02:05 left")
        assert float(browser.find_element(By.CSS_SELECTOR, ".share-done").get_attribute("value") or 0) == 0.75
        told = rows(browser)
    assert told[:7] == [
        "drive.mp4 | 900 of 1,200",
        *(f"{number}.mp4 | waiting" for number in range(5)),
        "and 2 more | waiting",
    ]
    assert told[7].startswith("bad.mp4 | failed · ")
    assert told[7].endswith(" | not a video, but text")
    assert told[8].startswith("good.mp4 | done · 300 frames · ")
    run |= {"running": [], "waiting": 0, "queue": []}
    eventually(lambda: texts(browser, ".notice") == ["Waiting for the next file"])
    eventually(lambda: texts(browser, "#summary") == ["None running · 1,200 done · 1 failed"])
    assert [entry for entry in browser.get_log("browser") if entry["source"] == "javascript"] == []


def test_a_folder_that_is_lost_is_told_on_the_page_and_to_programs(
    browser: webdriver.Chrome, view: LiveView, run: dict[str, Any]
) -> None:
    browser.get(view.url)
    assert get(view, "/healthz")[0] == 200
    run["folders"] = [{"folder": "front", "problem": "its disk is not mounted"}, {"folder": "rear", "problem": ""}]
    eventually(lambda: texts(browser, "#files .problem") == ["front: its disk is not mounted"])
    assert browser.find_element(By.ID, "summary").get_attribute("data-state") == "waiting"
    status, _, body = get(view, "/healthz")
    assert status == 503
    assert b'"problems":["front: its disk is not mounted"]' in body
    run["folders"] = []
    run["running"] = [running(still_s=119.0)]
    assert get(view, "/healthz")[0] == 200
    run["running"] = [running(still_s=121.0)]
    assert b'"problems":["drive.mp4: no frame for 121 s"]' in get(view, "/healthz")[2]


def test_names_and_reasons_are_text_and_never_markup(
    browser: webdriver.Chrome, view: LiveView, run: dict[str, Any]
) -> None:
    name = "<img src=x onerror=alert(1)>.mp4"
    run |= {"running": [running(name)], "queue": [name], "waiting": 1, "ended": [ended(name, "failed", name)]}
    run["folders"] = [{"folder": name, "problem": name}]
    Places(view, 1)
    browser.get(view.url)
    assert eventually(lambda: texts(browser, "#files .file")) == [name] * 3
    assert texts(browser, ".camera h2") == [name]
    assert browser.find_elements(By.CSS_SELECTOR, "main img") == []


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_the_page_fits_its_screen(
    browser: webdriver.Chrome, view: LiveView, run: dict[str, Any], width: int, height: int
) -> None:
    long = f"{'dashcam_' * 12}.mp4"
    run |= {"running": [running(long)], "queue": [long], "waiting": 1, "ended": [ended(long, "failed", "why " * 40)]}
    Places(view, 1)
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    try:
        browser.get(view.url)
        eventually(lambda: len(rows(browser)) == 3)
        assert browser.execute_script("const e = document.documentElement; return e.scrollWidth - e.clientWidth") == 0
        for selector in ("#files", ".camera", ".panel"):
            box = browser.find_element(By.CSS_SELECTOR, selector).rect
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_place_is_a_stable_address_for_players_whatever_file_is_in_it(view: LiveView) -> None:
    places = Places(view, 2)
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        with places.taken(name) as place:
            assert place is not None
            place.write(striped())
    for number in (1, 2):
        assert get(view, f"/cameras/{number}/snapshot.jpg")[0] == 200
    with Viewer(view, "/events") as viewer:
        _, hello = viewer.event()
    assert [camera["camera"] for camera in hello["cameras"]] == ["1", "2"]
    assert hello["run"]["files"] == 1


def test_metrics_count_files_and_name_none(view: LiveView, run: dict[str, Any]) -> None:
    run |= {"done": 12, "failed": 2, "waiting": 3, "frames": 4000, "fps": 30.5, "running": [running()]}
    run["folders"] = [{"folder": "front", "problem": "gone"}]
    text = get(view, "/metrics")[2].decode()
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert values["roadmask_files_total", "done"] == 12
    assert values["roadmask_files_total", "failed"] == 2
    assert values["roadmask_files_waiting",] == 3
    assert values["roadmask_files_running",] == 1
    assert values["roadmask_folders_lost",] == 1
    assert values["roadmask_frames_written_total",] == 4000
    assert values["roadmask_fps",] == 30.5
    assert "drive.mp4" not in text
