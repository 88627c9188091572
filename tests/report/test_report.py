"""`roadmask report`: what it finds in masks, and the page it makes of it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from roadmask.stream.archive.archive import open_masks
from roadmask.stream.cli import main
from roadmask.stream.encode.palette import load_palette
from roadmask.stream.report.pictures import choose_keyframes
from roadmask.stream.report.run import MaskScan, clock, curve_of, problems_of, scan_masks
from roadmask.stream.report.sections import round_times
from roadmask.stream.spec import ModelSpec
from roadmask.stream.stats.stats import open_stats_sink, read_shares
from tests.support.browser import IS_MISSING, WHY_MISSING, browsing
from tests.support.clips import SPEC, cfr, make_clip, open_archive_sink, result_of, video_info

ROAD, CAR, SKY = 0, 1, 2
HEIGHT, WIDTH = 48, 64


def bands(sky: int, car: int = 0) -> NDArray[np.uint8]:
    """Rows of sky above the road, and a car of some columns on it."""
    mask = np.full((HEIGHT, WIDTH), ROAD, np.uint8)
    mask[:sky] = SKY
    mask[sky:, :car] = CAR
    return mask


def save(
    path: Path,
    masks: Sequence[NDArray[np.uint8]],
    *,
    indices: Sequence[int] | None = None,
    pts: Sequence[int] | None = None,
    source: str = "drive.mp4",
    spec: ModelSpec = SPEC,
) -> Path:
    height, width = masks[0].shape if masks else (HEIGHT, WIDTH)
    with open_archive_sink(
        path, video_info(width, height), spec, source=source, model="m.onnx", model_sha256="0a" * 32, smoothed=True
    ) as sink:
        for number, mask in enumerate(masks):
            index = indices[number] if indices else number
            sink.write(result_of(mask, index, pts[number] if pts else None))
    return path


def scan_of(path: Path) -> MaskScan:
    with open_masks(path) as masks:
        return scan_masks(masks)


def scan_with(shares: NDArray[np.float32], times: NDArray[np.float64] | None = None) -> MaskScan:
    """As if masks with such shares had been read."""
    count = len(shares)
    return MaskScan(
        indices=np.arange(count),
        times=np.arange(count) / 25 if times is None else times,
        step=1,
        shares=shares,
        changed=np.zeros(count, np.float32),
    )


def report(*arguments: object) -> int:
    return main(["report", *map(str, arguments)])


def test_shares_and_changes_are_those_worked_out_by_hand(tmp_path: Path) -> None:
    first = np.array([[0, 0, 1, 2], [0, 0, 1, 1]], np.uint8)
    second = np.array([[0, 1, 1, 2], [0, 0, 2, 2]], np.uint8)
    scan = scan_of(save(tmp_path / "masks", [first, second]))
    assert scan.shares.tolist() == [[0.5, 0.375, 0.125], [0.375, 0.25, 0.375]]
    assert np.isnan(scan.changed[0])
    assert scan.changed[1] == scan.changed_share == 3 / 8


def test_masks_that_do_not_follow_each_other_make_no_change(tmp_path: Path) -> None:
    masks = [bands(10), bands(10), bands(40), bands(40)]
    scan = scan_of(save(tmp_path / "masks", masks, indices=[0, 3, 9, 12]))
    assert scan.step == 3
    assert scan.changed_share == 0
    assert np.isnan(scan.changed).tolist() == [True, False, True, False]


def test_a_curve_of_many_masks_has_few_columns_that_are_their_means() -> None:
    shares = np.zeros((10_000, 2), np.float32)
    shares[:5000, 0] = shares[5000:, 1] = 1
    curve = curve_of(scan_with(shares), 100)
    assert len(curve.edges) == 101
    assert curve.indices.tolist() == list(range(0, 10_000, 100))
    np.testing.assert_allclose(curve.shares[:, 0], [1] * 50 + [0] * 50)


def test_a_curve_is_empty_where_time_has_a_gap_and_damaged_masks_are_covered_by_those_before() -> None:
    shares = np.ones((100, 1), np.float32)
    shares[7] = np.nan
    times = np.arange(100) / 25
    times[60:] += 30
    curve = curve_of(scan_with(shares, times), 600)
    begins = curve.edges[:-1]
    is_empty = (begins > times[59] + 0.2) & (begins < times[60] - 0.4)  # a column is 0.34 s wide
    assert np.count_nonzero(is_empty) > 80
    assert not curve.shares[is_empty].any()
    assert (curve.shares[(begins < times[59]) | (begins >= times[60])] == 1).all()
    assert curve_of(scan_with(shares[:10]), 600).shares.tolist() == [[1]] * 9


def choose(shares: NDArray[np.float32]) -> list[int]:
    return choose_keyframes(shares, np.arange(len(shares)), 12)


def test_keyframes_show_every_scene_and_leave_no_long_stretch_out() -> None:
    rng = np.random.default_rng(0)
    shares = np.repeat(rng.dirichlet([1, 1, 1], 5), [300, 100, 500, 120, 480], axis=0).astype(np.float32)
    positions = choose(shares)
    assert positions == sorted(set(positions))
    assert len(positions) == 12
    assert {300, 400, 900, 1020} <= set(positions)
    assert max(np.diff([0, *positions, 1499])) < 300


@pytest.mark.parametrize("count", [1, 2, 5, 11, 12, 13, 60])
def test_keyframes_of_an_unchanging_run_are_even_and_of_a_short_one_all(count: int) -> None:
    chosen = choose(np.ones((count, 1), np.float32))
    assert len(chosen) == min(count, 12)
    assert max(np.diff(chosen), default=0) <= -(-count // 12) + 1


def test_what_is_missing_damaged_or_shifted_is_told_with_frame_numbers(tmp_path: Path) -> None:
    pts = [512 * index for index in (0, 1, 2, 3, 6, 7, 8)]
    pts[6] += 512 * 40
    path = save(tmp_path / "masks", [bands(10)] * 7, indices=[0, 1, 2, 3, 6, 7, 8], pts=pts)
    next(path.glob("*1.png")).unlink()
    texts = [(item.text, item.is_serious) for item in problems_of(scan_of(path))]
    assert texts == [
        ("No masks between frames 3 and 6, where masks are in a row otherwise.", True),
        ("1 mask missing or damaged: frame 1.", True),
        (
            "A gap of 1.64 s after frame 7 at 0:00.3; 0.040 s is usual. The video may have one there too.",
            False,
        ),
    ]


def test_a_manifest_that_is_out_of_order_is_told() -> None:
    scan = replace(scan_with(np.ones((4, 1), np.float32)), indices=np.array([0, 1, 5, 4]))
    assert [item.text for item in problems_of(scan) if "order" in item.text] == [
        "The mask of frame 4 comes after that of frame 5: the manifest is out of order."
    ]


def test_masks_of_no_class_are_told(tmp_path: Path) -> None:
    mask = bands(10)
    mask[0, 0] = 255
    assert [item.text for item in problems_of(scan_of(save(tmp_path / "masks", [bands(10), mask])))] == [
        "1 mask with pixels of no class: frame 1."
    ]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_statistics_of_the_same_run_agree_and_those_of_another_are_told(suffix: str, tmp_path: Path) -> None:
    masks = [bands(sky) for sky in range(3, 9)]
    path, stats = save(tmp_path / "masks", masks), tmp_path / f"shares{suffix}"
    with open_stats_sink(stats, SPEC) as sink:
        for index, mask in enumerate(masks):
            sink.write(result_of(mask, index))
    scan = scan_of(path)
    assert problems_of(scan, read_shares(stats, SPEC.class_names)) == []
    with open_stats_sink(stats, SPEC, overwrite=True) as sink:
        for index in (0, 1, 2, 4, 7):
            sink.write(result_of(bands(30) if index == 2 else bands(3 + index), index))
    assert [item.text for item in problems_of(scan, read_shares(stats, SPEC.class_names))] == [
        f"2 masks without a row in shares{suffix}: frames 3, 5.",
        f"1 mask whose shares are others in shares{suffix}: frame 2.",
        f"shares{suffix} has 1 rows of frames without a mask: frame 7.",
    ]


def test_the_page_is_whole_in_itself_and_tells_no_path(tmp_path: Path) -> None:
    masks = [bands(10 + number // 4, 8) for number in range(40)]
    path = save(tmp_path / "private" / "drive_masks.zip", masks)
    page = tmp_path / "page.html"
    assert report(path, "-o", page) == 0
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"(?:src|href)=['\"](?!data:image/jpeg;base64,|#)", text) == []
    assert "http" not in text.replace("http-equiv", "")
    assert str(tmp_path) not in text
    assert "private" not in text
    assert text.count("data:image/jpeg") == 12
    for told in ("drive.mp4", "drive_masks.zip", "m.onnx", "0a0a0a0a0a0a", "40 masks", "64x48", "Files whole"):
        assert told in text


def test_the_same_masks_make_the_same_page(tmp_path: Path) -> None:
    path = save(tmp_path / "masks.mkv", [bands(number) for number in range(5, 20)])
    for name in ("a.html", "b.html"):
        assert report(path, "-o", tmp_path / name, "-q") == 0
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_names_from_an_archive_are_text_and_never_markup(tmp_path: Path) -> None:
    path = save(tmp_path / "masks", [bands(10), bands(11)], source="<script>alert(1)</script>.mp4")
    header = json.loads((path / "classes.json").read_text())
    header["classes"][0]["name"] = "</script><img src=x onerror=alert(2)>"
    (path / "classes.json").write_text(json.dumps(header))
    assert report(path, "-o", tmp_path / "page.html") == 0
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "<img src=x" not in text


def test_with_the_video_keyframes_are_overlays_and_flicker_is_measured(tmp_path: Path) -> None:
    clip = make_clip(
        tmp_path / "drive.mp4",
        cfr(30),
        size=(HEIGHT, WIDTH),
        picture=np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8),
    )
    flickering = [bands(10, 16 * (number % 2)) for number in range(30)]  # in a scene that stands still
    path, page = save(tmp_path / "masks", flickering), tmp_path / "page.html"
    assert report(path, "--video", clip, "-o", page) == 0
    text = page.read_text(encoding="utf-8")
    found = re.search(r"<dt>Flicker</dt><dd><b>([\d.]+) %</b>", text)
    assert found
    assert float(found[1]) == pytest.approx(100 * 16 / 64 * 38 / 48, abs=4)  # borders are not followed
    assert "With <code>--video</code>" not in text
    (tmp_path / "plain.html").unlink(missing_ok=True)
    assert report(path, "-o", tmp_path / "plain.html") == 0
    pictures = [re.findall(r"base64,(\S+)'", (tmp_path / name).read_text()) for name in ("page.html", "plain.html")]
    assert len(pictures[0]) == len(pictures[1]) == 12
    assert pictures[0] != pictures[1]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])  # in the second, times are in other units: no jump finds a frame
def test_with_the_video_a_mask_that_cannot_be_read_is_told_and_the_others_are_shown(
    suffix: str, tmp_path: Path
) -> None:
    clip = make_clip(tmp_path / f"drive{suffix}", cfr(40), size=(HEIGHT, WIDTH))
    path, page = save(tmp_path / "masks", [bands(10)] * 40), tmp_path / "page.html"
    for number in (0, 7, 20):
        (path / f"frame_{number:06d}.png").unlink()
    assert report(path, "--video", clip, "-o", page) == 0
    text = page.read_text(encoding="utf-8")
    assert "3 masks missing or damaged: frames 0, 7, 20." in text
    assert text.count("data:image/jpeg") == 12
    assert "<dt>Flicker</dt>" in text


def test_another_video_is_refused_and_no_page_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = make_clip(tmp_path / "other.mp4", [*cfr(20), *cfr(20, first=21 * 512)], size=(HEIGHT, WIDTH))
    path = save(tmp_path / "masks", [bands(10)] * 40)
    assert report(path, "--video", clip, "-o", tmp_path / "page.html") == 1
    assert "it is another video" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


def test_a_folder_of_runs_is_one_page_with_a_table_of_all(tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    for name, sky in (("a_masks", 10), ("b_masks.zip", 20), ("c_masks.mkv", 30)):
        save(results / name, [bands(sky)] * 3, source=f"{name[0]}.mp4")
    for name in ("a_overlay.mp4", "a_stats.csv", "c_overlay.mkv", "notes.zip", "a_masks.partial.zip"):
        (results / name).write_bytes(b"something else")
    clip = make_clip(tmp_path / "b.mp4", cfr(3), size=(HEIGHT, WIDTH))
    page = tmp_path / "page.html"
    assert report(results, "--video", clip.parent, "-o", page) == 0
    text = page.read_text(encoding="utf-8")
    assert "3 runs" in text
    assert re.findall("<a href='#(run-\\d-[a-c]-masks)'>", text) == re.findall("id='(run-\\d-[a-c]-masks)'", text)
    assert len(re.findall("<article", text)) == 3
    assert text.count("With <code>--video</code>") == 2, "one of the three videos is there"


def test_masks_of_which_nothing_can_be_read_still_make_a_page(tmp_path: Path) -> None:
    path = save(tmp_path / "masks", [bands(10)] * 2)
    for picture in path.glob("*.png"):
        picture.write_bytes(b"")
    (tmp_path / "none").mkdir()
    shutil.copy(path / "classes.json", tmp_path / "none")
    (tmp_path / "none" / "manifest.jsonl").touch()
    assert report(path, "-o", tmp_path / "damaged.html") == 0
    assert report(tmp_path / "none", "-o", tmp_path / "none.html") == 0
    assert "2 masks missing or damaged: frames 0, 1." in (tmp_path / "damaged.html").read_text()
    assert "The archive holds no masks." in (tmp_path / "none.html").read_text()


def test_bad_arguments_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path / "masks.zip", [bands(10)])
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.csv").write_text("index,time,lawn\n0,0.0,1.0\n")
    (tmp_path / "broken.csv").write_text("index,time,road,car,sky\n0,0.0,1.0,x,y\n")
    (tmp_path / "there.html").touch()
    (tmp_path / "same.html").symlink_to(path)
    for arguments, message in (
        ([tmp_path / "empty"], "is no mask archive, and holds none"),
        ([tmp_path / "none"], "no such file or folder"),
        ([path, "-o", tmp_path / "there.html"], "exists; pass --overwrite"),
        ([path, "--overwrite", "-o", tmp_path / "same.html"], "is one of the inputs"),
        ([path, "-o", tmp_path / "page.png"], "a report is a page; give it the suffix .html"),
        (
            [path, "--stats", tmp_path / "other.csv"],
            "its columns are index, time, lawn; these masks have road, car, sky",
        ),
        ([path, "--stats", tmp_path / "broken.csv"], "statistics that cannot be read"),
        ([path, "--stats", tmp_path / "none.csv"], "statistics that cannot be read"),
        ([path, "--video", tmp_path / "none.mp4"], "no such file"),
        ([path, save(tmp_path / "b", [bands(1)]), "--stats", tmp_path / "other.csv"], "statistics of one run"),
        ([path, tmp_path / "b", "--video", tmp_path / "other.csv"], "a video of one run, but 2 archives were named"),
    ):
        output = [] if "-o" in arguments else ["-o", tmp_path / "page.html"]
        assert report(*arguments, *output) == (2 if "suffix" in message else 1)
        *_, last = capsys.readouterr().err.splitlines()
        assert message in last
        assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00.0"), (59.97, "1:00.0"), (83.46, "1:23.5"), (3723.4, "1:02:03.4"), (-2, "-0:02.0")]
)
def test_times_are_told_as_players_do(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("begin", "duration", "times"),
    [
        (-1e-6, 8.84, [0, 2, 4, 6, 8]),
        (61.3, 8, [62, 64, 66, 68]),
        (0, 0.04, [0]),
        (0.5, 7 * 3600, [7200, 14400, 21600]),
        (-3, 6, [-3, -2, -1, 0, 1, 2, 3]),
    ],
)
def test_the_times_below_a_chart_are_round(begin: float, duration: float, times: list[float]) -> None:
    assert round_times(begin, duration) == times


@pytest.mark.skipif(IS_MISSING, reason=WHY_MISSING)
def test_in_a_browser_values_follow_the_pointer_and_the_keys_and_classes_can_be_picked(tmp_path: Path) -> None:
    save(tmp_path / "masks", [bands(12, 16)] * 10 + [bands(36)] * 11)
    assert report(tmp_path / "masks", "-o", tmp_path / "page.html") == 0
    with browsing() as page:
        page.get((tmp_path / "page.html").as_uri())
        run: Callable[..., object] = page.execute_script
        point = (
            "const plot = document.querySelector('.plot'), box = plot.getBoundingClientRect();"
            "plot.dispatchEvent(new PointerEvent('pointermove', { clientX: box.left + box.width * arguments[0] }));"
            "return plot.querySelector('.tip').innerText"
        )
        assert str(run(point, 0.0)).split("\n") == [
            "0:00.0 · frame 0",
            "road",
            "56.3 %",
            "sky",
            "25.0 %",
            "car",
            "18.8 %",
        ]
        assert str(run(point, 1.0)).split("\n") == ["0:00.8 · frame 20", "sky", "75.0 %", "road", "25.0 %"]
        key = (
            "const plot = document.querySelector('.plot');"
            "plot.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowLeft' }));"
            "return plot.querySelector('.tip b').textContent"
        )
        assert run(key) == "0:00.8 · frame 19"
        pick = (
            "document.querySelector('[data-class=\"0\"][aria-pressed]').click();"
            "const areas = [...document.querySelectorAll('.plot path')];"
            "return areas.map((area) => getComputedStyle(area).fill)"
        )
        run("for (const area of document.querySelectorAll('.plot path')) area.style.transition = 'none'")
        road, car, sky = run(pick)  # type: ignore[misc]
        drawn_road, _, drawn_sky = load_palette("clear").colored(SPEC.classes)
        assert road == f"rgb{drawn_road.color}"
        assert car == sky != f"rgb{drawn_sky.color}"
        assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        assert page.get_log("browser") == []  # type: ignore[no-untyped-call]
