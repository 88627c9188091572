"""The page of the live view, in a real browser."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from roadmask.stream.camera.status import CameraState, CameraStatus
from roadmask.stream.decode.source import open_source
from roadmask.stream.frames import SegmentedFrame
from roadmask.stream.live.feed import CameraFeed
from roadmask.stream.live.live_view import Address, LiveView
from tests.support.clips import SPEC, cfr, make_clip, result_of
from tests.support.waiting import eventually

HEIGHT, WIDTH = 48, 66  # not a multiple of 4, and not the default size of anything


@pytest.fixture
def page(browser: webdriver.Chrome) -> webdriver.Chrome:
    """Each test has a server of its own, on a port of its own, which to a browser is another site."""
    return browser


@pytest.fixture
def view() -> Iterator[LiveView]:
    with LiveView(Address("127.0.0.1", 0), SPEC.classes) as view:
        yield view


def camera(view: LiveView, name: str = "front") -> CameraFeed:
    status = CameraStatus(name, on_event=view.tell)
    feed = view.add(status)
    status.change(CameraState.RUNNING)
    return feed


def result(index: int = 0, grey: int = 100) -> SegmentedFrame:
    """A grey picture and a mask that no regularity could make right by chance."""
    made = result_of(np.random.default_rng(7).integers(0, 3, (HEIGHT, WIDTH), np.uint8), index)
    luma = round(16 + grey * 219 / 255)
    for plane, value in zip(made.frame.picture.planes, (luma, 128, 128), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    return made


def shows(page: webdriver.Chrome, index: int, name: str = "front") -> bool:
    return bool(
        page.execute_script(
            "return [...document.querySelectorAll('.camera')].some(card => card.querySelector('h2').textContent === "
            "arguments[0] && card.dataset.index === arguments[1])",
            name,
            str(index),
        )
    )


def canvas(page: webdriver.Chrome) -> NDArray[np.int16]:
    """(height, width, 3) RGB of what the first camera's canvas holds."""
    values = page.execute_script(
        "const c = document.querySelector('.picture');"
        "return Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)"
    )
    return np.array(values, np.int16).reshape(-1, WIDTH, 4)[..., :3]


def slide(page: webdriver.Chrome, percent: int) -> None:
    page.execute_script(
        "const o = document.getElementById('opacity'); o.value = arguments[0]; o.dispatchEvent(new Event('input'))",
        percent,
    )


def text_of(page: webdriver.Chrome, selector: str) -> str:
    return page.find_element(By.CSS_SELECTOR, selector).text


def open_page(page: webdriver.Chrome, view: LiveView, index: int = 0) -> None:
    page.get(view.url)
    eventually(lambda: shows(page, index))


COLORS = np.array([item.color for item in SPEC.classes], np.int16)


def test_every_id_of_the_mask_arrives_exactly(page: webdriver.Chrome, view: LiveView) -> None:
    camera(view).write(result())
    open_page(page, view)
    slide(page, 100)
    assert (canvas(page) == COLORS[result().mask]).all()


def test_the_picture_changes_as_it_happens(page: webdriver.Chrome, view: LiveView, tmp_path: Path) -> None:
    feed = camera(view)
    clip = make_clip(tmp_path / "a.mp4", cfr(5), size=(HEIGHT, WIDTH))
    greys = []
    page.get(view.url)
    with open_source(clip) as source:
        for frame in source.frames(lambda _: (32, 32)):
            feed.write(SegmentedFrame(frame, np.zeros((HEIGHT, WIDTH), np.uint8)))
            eventually(lambda: shows(page, frame.index))  # noqa: B023 - called at once
            slide(page, 0)
            greys.append(float(canvas(page).mean()))
    assert np.abs(np.diff(greys) - 2).max() <= 1  # each frame of `make_clip` is 2 levels brighter
    assert [entry for entry in page.get_log("browser") if entry["source"] == "javascript"] == []


def test_the_slider_acts_at_once_and_for_this_viewer_alone(page: webdriver.Chrome, view: LiveView) -> None:
    feed = camera(view)
    feed.write(result(grey=100))
    open_page(page, view)
    colors = COLORS[result().mask]
    for percent in (0, 30, 80):
        slide(page, percent)  # no new picture has come since
        mix = 100 + (colors - 100) * percent / 100
        assert np.abs(canvas(page) - mix).max() <= 2
        assert text_of(page, "#opacity-value") == f"{percent} %"
    assert feed.pictures.made[0] == 1


def test_a_class_is_switched_off_at_once(page: webdriver.Chrome, view: LiveView) -> None:
    camera(view).write(result(grey=100))
    open_page(page, view)
    slide(page, 100)
    page.find_elements(By.CSS_SELECTOR, "#legend input")[1].send_keys(Keys.SPACE)
    pixels, is_car = canvas(page), result().mask == 1
    assert np.abs(pixels[is_car] - 100).max() <= 2
    assert (pixels[~is_car] == COLORS[result().mask][~is_car]).all()
    page.refresh()  # and stays off
    eventually(lambda: shows(page, 0))
    assert np.abs(canvas(page)[is_car] - 100).max() <= 2
    page.find_element(By.ID, "classes-none").click()
    assert np.abs(canvas(page) - 100).max() <= 2
    page.find_element(By.ID, "classes-all").click()
    assert (canvas(page) == COLORS[result().mask]).all()


def test_areas_or_lines_are_drawn_as_the_run_says_until_a_viewer_chooses(page: webdriver.Chrome) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[10:30, 20:50] = 1
    edge = np.any([mask != np.roll(mask, by, axis) for by in (-1, 1) for axis in (0, 1)], axis=0)
    with LiveView(Address("127.0.0.1", 0), SPEC.classes, style="outline") as view:
        camera(view).write(replace(result(grey=100), mask=mask))
        open_page(page, view)
        slide(page, 50)
        lines = np.where(edge[..., None], COLORS[mask], 100)
        assert np.abs(canvas(page) - lines).max() <= 2
        mixed = (COLORS[mask] + 100) / 2
        for style, expected in (("fill", mixed), ("fill+outline", np.where(edge[..., None], COLORS[mask], mixed))):
            page.find_element(By.CSS_SELECTOR, f"#style [value='{style}']").click()
            assert np.abs(canvas(page) - expected).max() <= 2
        page.refresh()  # and stays so
        eventually(lambda: shows(page, 0))
        assert np.abs(canvas(page) - expected).max() <= 2
        slide(page, 0)
        assert np.abs(canvas(page) - 100).max() <= 2


def test_numbers_and_shares_are_read_as_text(page: webdriver.Chrome, view: LiveView) -> None:
    feed = camera(view)
    feed.status.count(received=1250, dropped=1234, reconnects=2)
    feed.write(replace(result(), mask=np.repeat(np.array([[0, 2], [2, 2]], np.uint8), 24, 0).repeat(33, 1)))
    open_page(page, view)
    assert eventually(lambda: text_of(page, ".dropped") == "1,234")
    assert text_of(page, ".reconnects") == "2"
    arrived = time.monotonic() - 0.2
    feed.status.count_written(arrived)
    feed.status.count_written(arrived)
    most = time.monotonic() - arrived
    eventually(lambda: text_of(page, ".latency").endswith(" ms"))
    assert 200 <= int(text_of(page, ".latency").removesuffix(" ms")) <= round(1000 * most)
    assert eventually(lambda: float(text_of(page, ".fps")) > 0)
    feed.status.count(received=1)
    assert eventually(lambda: re.fullmatch(r"of [\d.]+", text_of(page, ".of"))), "what comes, where some is dropped"
    rows = eventually(lambda: "25.0 %" in text_of(page, "#legend") and text_of(page, "#legend")).split("\n")
    assert rows == ["road", "25.0 %", "car", "0.0 %", "sky", "75.0 %"]
    assert text_of(page, "#summary") == "Camera running"
    label = page.find_element(By.CSS_SELECTOR, ".chart").get_attribute("aria-label")
    assert label == "Share of each class over the last 5 minutes; now sky 75 %, road 25 %, car 0 %"


def test_a_lost_camera_keeps_its_last_picture_and_says_why(page: webdriver.Chrome, view: LiveView) -> None:
    feed = camera(view)
    feed.write(result())
    open_page(page, view)
    feed.status.change(CameraState.RECONNECTING, "no frame for 10 s", retry_s=30)
    notice = eventually(lambda: text_of(page, ".notice"))
    assert notice.startswith("Reconnecting\nno frame for 10 s · next try in ")
    assert text_of(page, "#summary") == "Camera reconnecting"
    assert eventually(lambda: {text_of(page, name) for name in (".fps", ".latency")} == {"\N{EN DASH}"})
    assert canvas(page).std() > 10
    assert float(page.find_element(By.CSS_SELECTOR, ".picture").value_of_css_property("opacity")) < 1
    feed.status.change(CameraState.RUNNING)
    feed.write(result(index=1))
    eventually(lambda: shows(page, 1) and not text_of(page, ".notice"))


def test_the_page_finds_back_to_a_server_that_was_gone(page: webdriver.Chrome) -> None:
    with LiveView(Address("127.0.0.1", 0), SPEC.classes) as view:
        camera(view).write(result())
        open_page(page, view)
        port = view._address.port
    assert eventually(lambda: text_of(page, "#gone")) == "No connection to roadmask. Trying again…"
    with LiveView(Address("127.0.0.1", port), SPEC.classes) as view:
        camera(view).write(result(index=5))
        eventually(lambda: shows(page, 5) and not text_of(page, "#gone"))


def test_a_snapshot_is_saved_at_full_size_under_a_good_name(
    page: webdriver.Chrome, view: LiveView, downloads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roadmask.stream.live.feed._WIDTH", WIDTH // 2)
    camera(view, "front door/1").write(result())
    page.get(view.url)
    eventually(lambda: shows(page, 0, "front door/1"))
    slide(page, 100)
    page.find_element(By.CSS_SELECTOR, ".snapshot").click()
    # The name is taken, empty, before the picture has it.
    [path] = eventually(lambda: [path for path in downloads.glob("*.jpg") if path.stat().st_size])
    saved = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert eventually(lambda: text_of(page, "#toast")) == f"Saved {path.name}"
    assert path.name.startswith("roadmask_front_door_1_20")
    assert saved.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(saved.mean(axis=(0, 1))[::-1] - COLORS[result().mask].mean(axis=(0, 1))).max() < 4


def test_several_cameras_and_one_of_them_by_mouse_and_keyboard(page: webdriver.Chrome, view: LiveView) -> None:
    for name in ("front", "rear"):
        camera(view, name).write(result())
    page.get(view.url)
    eventually(lambda: shows(page, 0, "front") and shows(page, 0, "rear"))
    assert text_of(page, "#summary") == "All 2 cameras running"

    def seen() -> list[str]:
        return [card.text for card in page.find_elements(By.CSS_SELECTOR, ".camera h2") if card.is_displayed()]

    body = page.find_element(By.TAG_NAME, "body")
    page.find_element(By.XPATH, "//nav/button[.='rear']").click()
    eventually(lambda: seen() == ["rear"])
    assert page.title == "rear · roadmask"
    body.send_keys("1")
    eventually(lambda: seen() == ["front"])
    body.send_keys(Keys.ESCAPE)
    eventually(lambda: seen() == ["front", "rear"])
    body.send_keys("o")
    assert text_of(page, "#opacity-value") == "0 %"


def test_a_camera_that_is_added_appears(page: webdriver.Chrome, view: LiveView) -> None:
    page.get(view.url)
    eventually(lambda: text_of(page, "#summary") == "No camera yet")
    camera(view).write(result(index=3))
    eventually(lambda: shows(page, 3))


def test_names_are_text_and_never_markup(page: webdriver.Chrome, view: LiveView) -> None:
    name = "<script>document.title = 'owned'</script><img src=x onerror=alert(1)>"
    camera(view, name).write(result())
    camera(view, "other")
    page.get(view.url)
    eventually(lambda: shows(page, 0, name))
    assert text_of(page, ".camera h2") == name
    assert page.find_elements(By.CSS_SELECTOR, ".camera img, .camera script, nav img") == []
    assert page.title == "roadmask"


def test_a_token_in_the_address_opens_the_page_and_is_gone(page: webdriver.Chrome) -> None:
    with LiveView(Address("127.0.0.1", 0), SPEC.classes, token="correct horse") as view:
        camera(view).write(result())
        page.get(view.url)
        assert "needs its token" in text_of(page, "body")
        page.get(f"{view.url}?token=correct+horse")
        eventually(lambda: shows(page, 0))
        assert page.current_url == view.url
        assert "correct" not in page.execute_script("return document.cookie")


def rests(feed: CameraFeed, numbers: Iterator[int]) -> bool:
    """Whether a new frame is encoded neither at once nor by the time that the view's second has looked at it."""
    made, samples = feed.pictures.made[0], len(feed.history())
    feed.write(result(next(numbers)))
    eventually(lambda: len(feed.history()) > samples)
    return feed.pictures.made[0] == made


def test_nothing_is_encoded_for_a_page_that_is_hidden(page: webdriver.Chrome, view: LiveView) -> None:
    feed = camera(view)
    numbers = itertools.count()
    feed.write(result(next(numbers)))
    open_page(page, view)
    first = page.current_window_handle
    assert not rests(feed, numbers)
    page.switch_to.new_window("tab")
    try:
        eventually(lambda: rests(feed, numbers))  # what the page had asked for before is still made
        assert rests(feed, numbers)
    finally:
        page.close()
        page.switch_to.window(first)
    last = next(numbers)
    feed.write(result(last))
    eventually(lambda: shows(page, last))


@contextmanager
def screen(page: webdriver.Chrome, width: int, height: int) -> Iterator[None]:
    """Of that size; a small one is a phone's, with thumbs."""
    is_phone = min(width, height) < 600
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": is_phone})
    try:
        yield
    finally:
        page.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844), (844, 390)])
def test_the_page_fits_its_screen(page: webdriver.Chrome, view: LiveView, width: int, height: int) -> None:
    camera(view).write(result())
    with screen(page, width, height):
        open_page(page, view)
        assert page.execute_script("return document.documentElement.scrollWidth") == width
        for selector in (".picture", "#opacity", *([] if width > 2 * height else [".chart"])):
            box = page.find_element(By.CSS_SELECTOR, selector).rect
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
            assert box["y"] + box["height"] <= height
        unnamed = page.execute_script(
            "return [...document.querySelectorAll('button, input')]"
            ".filter(e => !(e.ariaLabel || e.textContent.trim() || e.labels?.length)).length"
        )
        assert unnamed == 0


def test_whatever_there_is_to_press_is_large_enough_for_a_thumb(page: webdriver.Chrome, view: LiveView) -> None:
    for name in ("front", "rear", "a camera with a long name", "another one with a longer name"):
        camera(view, name).write(result())
    with screen(page, 390, 844):
        page.get(view.url)
        eventually(lambda: shows(page, 0, "front"))
        least = page.execute_script(
            "return Math.min(...[...document.querySelectorAll('button, #opacity, .legend label')]"
            ".filter(e => e.offsetParent).map(e => e.getBoundingClientRect()).flatMap(b => [b.width, b.height]))"
        )
        hidden = page.execute_script(
            "return [...document.querySelectorAll('button')].filter(e => e.scrollWidth > e.clientWidth).length"
        )
    assert least >= 44  # pixels of CSS, about 9 mm
    assert hidden == 0, "of their words"


def test_a_picture_is_paused_for_one_viewer_and_nothing_is_sent_meanwhile(
    page: webdriver.Chrome, view: LiveView
) -> None:
    feed, numbers = camera(view), itertools.count()
    feed.write(result(next(numbers)))
    open_page(page, view)
    body = page.find_element(By.TAG_NAME, "body")
    body.send_keys("p")
    assert text_of(page, ".state") == "Paused"
    eventually(lambda: rests(feed, numbers))
    assert rests(feed, numbers)
    assert shows(page, 0)
    body.send_keys("p")
    last = next(numbers)
    feed.write(result(last))
    eventually(lambda: shows(page, last))
    assert text_of(page, ".state") == "Running"
