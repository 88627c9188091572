"""What the page of `roadmask report` promises, and how its pictures are looked at in a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from roadmask.stream.archive.manifest import ENDING_NAME
from roadmask.stream.cli import main
from roadmask.stream.frames import Ending
from tests.support.browser import IS_MISSING, WHY_MISSING, browsing
from tests.support.clips import SPEC, open_archive_sink, result_of, video_info
from tests.support.waiting import until

HEIGHT, WIDTH, MASKS = 480, 640, 6


def save(path: Path, *, ending: Ending | None = None, source: str = "drive.mp4") -> Path:
    """Masks of a horizon that falls."""
    with open_archive_sink(path, video_info(WIDTH, HEIGHT), SPEC, source=source) as sink:
        for index in range(MASKS):
            mask: NDArray[np.uint8] = np.zeros((HEIGHT, WIDTH), np.uint8)
            mask[: 60 * index] = 2
            sink.write(result_of(mask, index))
        if ending:
            sink.tell(ending)
    return path


def page_of(*masks: Path, capsys: pytest.CaptureFixture[str] | None = None) -> tuple[str, str]:
    """The page, and what was said of it."""
    page = masks[0].parent / "page.html"
    assert main(["report", *map(str, masks), "-o", str(page), "--overwrite"]) == 0
    return page.read_text(encoding="utf-8"), capsys.readouterr().err if capsys else ""


def test_whole_files_are_called_whole_and_never_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, said = page_of(save(tmp_path / "masks", ending=Ending("done", MASKS)), capsys=capsys)
    assert "<b>Files whole</b>" in text
    assert "Whether the masks are right is for you to see." in text
    assert "masks: 6 masks, files whole\n" in said
    assert "no problems" not in (text + said).lower()


def test_masks_that_were_taken_again_and_carried_along_are_counted_each(tmp_path: Path) -> None:
    manifest = save(tmp_path / "masks") / "manifest.jsonl"
    marks = ("", ', "reused": true', *[', "carried": true'] * 2, "", "")
    lines = zip(manifest.read_text().splitlines(), marks, strict=True)
    manifest.write_text("".join(line.removesuffix("}") + mark + "}\n" for line, mark in lines))
    text, _ = page_of(tmp_path / "masks")
    assert "<b>1</b> as the picture had not changed" in text
    assert "<b>2</b> of frames that the network has not seen" in text


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        (Ending("partial", MASKS, undecodable=3, lost="3 undecodable packets"), "in full: 3 undecodable packets."),
        (Ending("interrupted", MASKS), "The run was stopped before the end of the video."),
        (Ending("done", MASKS + 2), "The run wrote 8 masks, and the manifest tells of 6."),
    ],
)
def test_what_the_run_lost_is_a_problem_on_the_page_though_its_files_are_whole(
    ending: Ending, told: str, tmp_path: Path
) -> None:
    text, _ = page_of(save(tmp_path / "masks.zip", ending=ending))
    assert told in text
    assert "Files whole" not in text


def test_how_a_run_ended_that_cannot_be_read_is_a_problem_on_the_page(tmp_path: Path) -> None:
    path = save(tmp_path / "masks", ending=Ending("done", MASKS))
    (path / ENDING_NAME).write_text("{")
    assert "How the run ended is not known: " in page_of(path)[0]


def test_a_drive_unlike_what_the_model_knows_is_told_once_and_a_familiar_one_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    night = save(tmp_path / "night.mkv", ending=Ending("done", MASKS, unlike=0.97))
    text, said = page_of(night, capsys=capsys)
    assert text.count("looks unlike what the model has learnt in 97 % of the frames") == 1
    assert said.count("looks unlike what the model has learnt in 97 % of the frames") == 1
    for name, unlike in (("day", 0.04), ("unknown", None)):  # None: of a model that says nothing of it, and of 1.0.0
        text, said = page_of(save(tmp_path / name, ending=Ending("done", MASKS, unlike=unlike)), capsys=capsys)
        assert "Look at these masks" not in text
        assert "unlike" not in said
        assert ("<dd><b>4 %</b> of the frames looked at</dd>" in text) == (name == "day")


@pytest.fixture(params=[(1280, 800), (390, 844)], ids=["desktop", "phone"])
def browser(request: pytest.FixtureRequest) -> Iterator[webdriver.Chrome]:
    if IS_MISSING:
        pytest.skip(WHY_MISSING)
    width, height = request.param
    with browsing() as page:
        page.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        yield page
        assert page.get_log("browser") == []  # type: ignore[no-untyped-call]


def test_keyframes_enlarge_by_click_and_by_keys_and_the_focus_comes_back(
    browser: webdriver.Chrome, tmp_path: Path
) -> None:
    page_of(save(tmp_path / "a_masks", source="a.mp4"), save(tmp_path / "b_masks", source="b.mp4"))
    browser.get((tmp_path / "page.html").as_uri())
    run: Callable[..., object] = browser.execute_script
    first, *_, last = browser.find_elements(By.CSS_SELECTOR, "#run-1-a-masks .pictures button")
    viewer, place = (browser.find_element(By.CSS_SELECTOR, f".viewer{inner}") for inner in ("", " p"))
    assert first.accessible_name == "Keyframe 1: 0:00.0 · frame 0"
    assert not viewer.is_displayed()

    run("arguments[0].scrollIntoView({ block: 'center', behavior: 'instant' })", first)
    first.click()
    image = viewer.find_element(By.TAG_NAME, "img")
    assert image.size["width"] > 0.9 * int(str(run("return innerWidth")))
    assert image.size["height"] > 0.8 * int(str(run("return innerHeight")))
    assert image.get_attribute("src") == first.find_element(By.TAG_NAME, "img").get_attribute("src")
    assert place.text == "Keyframe 1: 0:00.0 · frame 0"
    assert run("return document.activeElement.ariaLabel") == "Close"

    keys = browser.switch_to.active_element
    keys.send_keys(Keys.ARROW_RIGHT)
    assert place.text == "Keyframe 2: 0:00.0 · frame 1"
    keys.send_keys(Keys.END)
    assert place.text == "Keyframe 6: 0:00.2 · frame 5", "the last of this run, not of the page"
    keys.send_keys(Keys.ESCAPE)
    assert not viewer.is_displayed()
    # Where one was. A browser tells a page that its dialog is closed a while after it is.
    until(lambda: browser.switch_to.active_element == last)

    last.send_keys(Keys.ENTER)
    viewer.find_element(By.CSS_SELECTOR, "[data-step='1']").click()
    assert place.text == "Keyframe 1: 0:00.0 · frame 0", "behind the last comes the first"
    image.click()
    assert not viewer.is_displayed()
    assert run("return document.documentElement.scrollWidth <= innerWidth")


def test_the_table_of_classes_is_seen_whole(browser: webdriver.Chrome, tmp_path: Path) -> None:
    page_of(save(tmp_path / "a_masks", source="a.mp4"))
    browser.get((tmp_path / "page.html").as_uri())
    width, room = browser.execute_script(
        "const table = document.querySelector('.scroll'); return [table.scrollWidth, table.clientWidth]"
    )
    assert width <= room
