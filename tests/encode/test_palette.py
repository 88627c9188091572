"""The colours of classes: apart for all eyes, known names in known colours, and a file of one's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from roadmask.stream.encode.palette import PALETTES, Eyes, Palette, in_lab, load_palette
from roadmask.stream.errors import RoadmaskError
from roadmask.stream.network.model import Model
from roadmask.stream.spec import PixelClass
from tests.bench.palettes import Lab, ciede2000, nearest, over_road, straight

CLASSES = Model.load("camvid-lite0-int8", device="cpu").spec.classes
OTHERS = tuple(PixelClass(f"thing {number}", (1, 2, 3)) for number in range(255))


def colors(palette: str | Palette, *names: str) -> list[tuple[int, int, int]]:
    loaded = load_palette(palette) if isinstance(palette, str) else palette
    return [item.color for item in loaded.colored([PixelClass(name, (1, 2, 3)) for name in names])]


def lab_over_road(palette: str, eyes: Eyes) -> Lab:
    return in_lab(over_road(load_palette(palette).colored(CLASSES), 100, 0.5), eyes)


@pytest.mark.parametrize("measure", [nearest, straight])
@pytest.mark.parametrize("eyes", ["all", "no green", "no red"])
def test_over_a_gray_road_two_classes_are_twice_as_far_apart_as_in_camvids_colours_and_farther_than_in_cityscapes(
    eyes: Eyes, measure: Callable[[Lab], tuple[tuple[int, int], float]]
) -> None:
    clear, camvid, cityscapes = (measure(lab_over_road(name, eyes))[1] for name in ("clear", "camvid", "cityscapes"))
    assert clear >= 2 * camvid
    assert clear > cityscapes


def test_the_difference_of_two_colours_is_that_of_the_paper() -> None:
    """Pairs of table 1 of Sharma, Wu and Dalal (2005), which tell most mistakes."""
    for one, other, difference in [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
        ((50, 2.49, -0.001), (50, -2.49, 0.0011), 7.2195),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((22.7233, 20.0904, -46.694), (23.0331, 14.973, -42.5619), 2.0373),
        ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
    ]:
        assert ciede2000(np.array(one), np.array(other)) == pytest.approx(difference, abs=1e-4)


def test_lab_of_known_colours_is_that_of_tables() -> None:
    known = {(255, 255, 255): (100, 0, 0), (255, 0, 0): (53.24, 80.09, 67.2), (0, 0, 255): (32.3, 79.19, -107.86)}
    for color, lab in known.items():
        assert in_lab(np.array(color, np.uint8)) == pytest.approx(lab, abs=0.02)


def test_names_of_other_data_sets_and_spellings_have_the_same_colours() -> None:
    for palette in ("clear", "cityscapes"):
        ours = colors(palette, "Tree", "Pedestrian", "SignSymbol", "Column_Pole", "Bicyclist", "Sidewalk")
        assert ours == colors(palette, "vegetation", "person", "Traffic Sign", "pole", "bicycle", "PAVEMENT")
    assert colors("cityscapes", "road", "Car", "traffic_light") == [(128, 64, 128), (0, 0, 142), (250, 170, 30)]


def test_camvid_leaves_the_classes_as_they_are() -> None:
    assert load_palette("camvid").colored(CLASSES) == CLASSES


def test_classes_that_no_palette_knows_get_colours_of_their_own_and_the_same_ones_each_time() -> None:
    for palette in ("clear", "cityscapes"):
        given = [item.color for item in load_palette(palette).colored((*CLASSES, *OTHERS[:21]))]
        assert given[: len(CLASSES)] == [item.color for item in load_palette(palette).colored(CLASSES)]
        assert given == [item.color for item in load_palette(palette).colored((*CLASSES, *OTHERS[:21]))]
        others = in_lab(np.array(given[len(CLASSES) :], np.uint8))
        assert min(float(np.linalg.norm(one - other)) for one, other in combinations(others, 2)) > 12
    assert len({item.color for item in load_palette("clear").colored(OTHERS)}) == 255


def test_two_classes_of_one_meaning_have_two_colours() -> None:
    for palette in ("clear", "cityscapes"):
        first, second = colors(palette, "Person", "Pedestrian")
        assert first == colors(palette, "Pedestrian")[0]
        assert second != first


def write(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_file_names_colours_and_leaves_the_others_clear(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.json", {"car": "#00C8ff", "column pole": [1, 2, 3]})
    given = load_palette(str(file)).colored(CLASSES)
    clear = load_palette("clear").colored(CLASSES)
    mine = {"Car": (0, 200, 255), "Column_Pole": (1, 2, 3)}
    assert given == tuple(replace(item, color=mine.get(item.name, item.color)) for item in clear)


def test_a_file_may_give_two_classes_one_colour_and_no_other_class_has_it(tmp_path: Path) -> None:
    red = colors("clear", "Pedestrian")[0]
    file = write(tmp_path / "mine.json", {"Sky": red, "Tree": red})
    sky, tree, pedestrian = colors(load_palette(str(file)), "Sky", "Tree", "Pedestrian")
    assert sky == tree == red
    assert pedestrian != red


def test_palettes_are_told_apart_by_their_colours(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.json", {"Car": "#000000"})
    before = str(load_palette(str(file)))
    assert before.startswith("mine.json (")
    assert str(load_palette(str(write(file, {"Car": [0, 0, 0]})))) == before
    assert str(load_palette(str(write(file, {"Car": "#000001"})))) != before
    assert [str(load_palette(name)) for name in PALETTES] == list(PALETTES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no palette"),
        ("[1]", "it names no class"),
        ("{}", "it names no class"),
        ("[" * 100_000, "no palette"),
        ({"Car": "blue"}, "Car: 'blue' is neither #rrggbb nor three numbers of 0 to 255"),
        ({"Car": "#00gg00"}, "no palette"),
        ({"Car": [0, 0, 256]}, "Car: [0, 0, 256] is neither"),
        ({"Car": [0, 0]}, "Car: [0, 0] is neither"),
        ({"Car": [True, 0, 0]}, "Car: [True, 0, 0] is neither"),
        ({"Car": {"r": 1}}, "Car: {'r': 1} is neither"),
        ({"Car": "#000000", "car": "#ffffff"}, "car stands there twice"),
    ],
)
def test_a_file_that_is_no_palette_is_refused(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(RoadmaskError) as told:
        load_palette(str(write(tmp_path / "mine.json", content)))
    assert told.value.usage
    assert str(told.value).startswith(f"{tmp_path / 'mine.json'}: no palette, as ")
    assert message in str(told.value)


def test_a_palette_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(RoadmaskError, match=r"palette 'cityscape' is none of clear, .*; did you mean cityscapes\?"):
        load_palette("cityscape")
    with pytest.raises(RoadmaskError, match=r"gone.json: cannot be read \(No such file or directory\)"):
        load_palette(str(tmp_path / "gone.json"))


def test_a_class_that_is_none_is_told_with_the_one_that_is_meant(tmp_path: Path) -> None:
    palette = load_palette(str(write(tmp_path / "mine.json", {"Pedestrain": "#ff0000"})))
    with pytest.raises(RoadmaskError, match=r"mine.json: class 'Pedestrain' .*; did you mean Pedestrian\?"):
        palette.colored(CLASSES)
