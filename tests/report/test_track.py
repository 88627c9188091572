"""The way of a drive in a report: drawn to scale, coloured by speed, of statistics or of the video."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.decode.gps import read_gps
from roadmask.stream.report.run import _way_of, scan_masks
from roadmask.stream.report.track import Way, track_section, way_of
from roadmask.stream.stats.stats import open_stats_sink, read_shares
from tests.report.test_report import bands, report, save
from tests.support.browser import IS_MISSING, WHY_MISSING, browsing
from tests.support.clips import SPEC, result_of
from tests.support.drives import RATE, Timed, make_drive

NAN = (np.nan, np.nan, np.nan)


def way(places: list[tuple[float, float, float]]) -> Way:
    return Way(np.arange(len(places)), np.array(places))


def lines(section: str) -> list[tuple[str, NDArray[np.float64]]]:
    """Colour and points of each piece of the way."""
    return [
        (color, np.array([[float(number) for number in place.split()] for place in path.split("L")]))
        for color, path in re.findall(r"<path stroke='(#\w+)' d='M([^']+)'", section)
    ]


def test_a_way_is_drawn_to_scale_with_north_above_and_its_length_is_told() -> None:
    """A kilometre north, then one east, at 60 degrees: there a degree of longitude is half as long."""
    degree = 1000 / 111_195
    section = track_section(way([(60, 10, 20), (60 + degree, 10, 20), (60 + degree, 10 + 2 * degree, 20)]), "run-1", [])
    ((_, points),) = lines(section)
    (right, up), (east, north) = np.diff(points, axis=0)
    assert (right, north) == pytest.approx((0, 0))
    assert up == pytest.approx(-east, rel=0.01)
    assert "2.0 km, 20 km/h on average, 20 at most, from 60.00000, 10.00000 to 60.00899, 10.01799" in section
    assert ">500 m</span>" in section
    (bar,) = re.findall(r"class='bar' d='M[\d. ]+h([\d.]+)'", section)
    assert float(bar) == pytest.approx(east / 2, rel=0.01)


def test_it_is_coloured_by_speed_and_has_gaps_where_nothing_is_known() -> None:
    places = [(51 + n / 1000, 7, speed) for n, speed in enumerate((5, 5, 5, 45, 45))]
    section = track_section(way([*places, NAN, (51.01, 7, np.nan), (51.011, 7, np.nan)]), "run-1", [])
    assert [len(points) for _, points in lines(section)] == [3, 3, 2]
    assert len({color for color, _ in lines(section)}) == 3
    assert "40 to 50" in section
    assert "km/h" not in track_section(way([(51, 7, np.nan), (51.01, 7, np.nan)]), "run-1", [])


def test_somebody_who_stands_still_is_a_place_and_not_a_scrawl() -> None:
    section = track_section(way([(51 + n % 2 * 1e-6, 7, 0) for n in range(50)]), "run-1", [])
    ((_, points),) = lines(section)
    assert np.ptp(points, axis=0).max() < 5


def test_pictures_are_marked_where_they_are_from_as_far_as_there_is_room() -> None:
    places = [(51 + n / 1000, 7, 20.0) for n in range(10)] + [(51.009, 7, 0.0)] * 10
    section = track_section(way([*places, *[NAN] * 30]), "run-1", [0, 5, 12, 15, 45])
    assert re.findall(r"<a href='#run-1-(\d)'", section) == ["1", "2", "3"]


def test_marks_lie_on_the_way_however_flat_that_is() -> None:
    section = track_section(way([(51, 7 + n / 1000, 20.0) for n in range(10)]), "run-1", [4])
    ((_, points),) = lines(section)
    (height,) = re.findall(r"viewBox='0 0 1000 (\d+)'", section)
    ((left, top),) = re.findall(r"<a href='#run-1-1' style='left:([\d.]+)%;top:([\d.]+)%'", section)
    assert (float(left) * 10, float(top) * int(height) / 100) == pytest.approx(points[4], abs=0.2)


def test_statistics_of_some_frames_tell_where_these_were_and_no_others(tmp_path: Path) -> None:
    masks, _, stats = run_of(tmp_path)
    head, *rows = stats.read_text().splitlines()
    stats.write_text("\n".join([head, *rows[RATE:], ""]))
    with open_masks(masks) as archive:
        scan = scan_masks(archive)
    found = _way_of(scan, read_shares(stats, [item.name for item in SPEC.classes]), None)
    assert found is not None
    assert np.isfinite(found.places[:, 0]).tolist() == [False] * RATE + [True] * RATE


def test_a_way_of_which_nothing_is_known_is_none() -> None:
    times = np.arange(3.0)
    assert way_of(times, None, None) is None
    assert way_of(times, np.full((3, 3), np.nan), None) is None
    assert way_of(np.empty(0), np.empty((0, 3)), None) is None


def test_long_drives_are_drawn_in_as_many_points_as_one_can_see() -> None:
    table = np.stack([np.linspace(51, 52, 100_000), np.full(100_000, 7.0), np.full(100_000, 50.0)], axis=1)
    drawn = way_of(np.arange(100_000) / 25, table, None)
    assert drawn is not None
    assert len(drawn.positions) == 1000
    assert drawn.positions[[0, -1]].tolist() == [0, 99_999]


def run_of(folder: Path) -> tuple[Path, Path, Path]:
    """Masks, video and statistics of a drive of two seconds that tells where it was."""
    texts = [Timed(n / 2, 0.5, f"51.5{n}0000 N 7.{n}00000 E {20 * n} km/h") for n in range(4)]
    video = make_drive(folder / "drive.mp4", seconds=2, texts=texts)
    masks = [bands(10 + number // 5) for number in range(2 * RATE)]
    stats = folder / "shares.csv"
    with open_stats_sink(stats, SPEC, track=read_gps(video)) as sink:
        for index, mask in enumerate(masks):
            sink.write(result_of(mask, index))
    return save(folder / "masks", masks), video, stats


@pytest.mark.parametrize("option", ["--video", "--stats"])
def test_a_report_draws_the_way_that_video_or_statistics_tell(option: str, tmp_path: Path) -> None:
    masks, video, stats = run_of(tmp_path)
    page = tmp_path / "page.html"
    assert report(masks, option, video if option == "--video" else stats, "-o", page) == 0
    text = page.read_text(encoding="utf-8")
    assert "Where it was" in text
    assert "from 51.50000, 7.00000 to" in text
    assert "http" not in re.sub(r"http-equiv", "", text)
    assert report(masks, "-o", page, "--overwrite") == 0
    assert "Where it was" not in page.read_text(encoding="utf-8")


@pytest.mark.skipif(IS_MISSING, reason=WHY_MISSING)
def test_in_a_browser_the_way_fills_its_card_and_its_marks_lead_to_the_pictures(tmp_path: Path) -> None:
    masks, _, stats = run_of(tmp_path)
    assert report(masks, "--stats", stats, "-o", tmp_path / "page.html") == 0
    with browsing() as page:
        page.get((tmp_path / "page.html").as_uri())
        run: Callable[..., object] = page.execute_script
        width, drawn = run(
            "const box = (name) => document.querySelector(name).getBoundingClientRect();"
            "return [box('.track').width, box('.track .under').width]"
        )  # type: ignore[misc]
        assert 0.5 * width < drawn < width
        run("document.querySelector('.track a').click()")
        assert run("return document.querySelector('figure:target figcaption b').innerText") == "1"
        assert page.get_log("browser") == []  # type: ignore[no-untyped-call]
