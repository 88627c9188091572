"""A legend that can be read on any picture, where it hides least."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from roadmask.stream.decode.pixels import planes_of
from roadmask.stream.encode.legend import CORNERS, Corner, legend_picture, quietest_corner
from roadmask.stream.encode.overlay import Overlay
from roadmask.stream.errors import RoadmaskError
from roadmask.stream.frames import Frame, SegmentedFrame
from roadmask.stream.spec import PixelClass
from tests.support.clips import video_info

NAMES = [
    "Sky",
    "Building",
    "Column_Pole",
    "Road",
    "Sidewalk",
    "Tree",
    "SignSymbol",
    "Fence",
    "Car",
    "Pedestrian",
    "Bicyclist",
]
CLASSES = tuple(PixelClass(name, (20 * number, 255 - 20 * number, 99)) for number, name in enumerate(NAMES))
SIZES = [(180, 320), (360, 640), (480, 640), (720, 1280), (1080, 1920), (2160, 3840), (1280, 720)]
QUARTERS: dict[Corner, tuple[slice, slice]] = {
    "top-left": (np.s_[:180], np.s_[:320]),
    "top-right": (np.s_[:180], np.s_[320:]),
    "bottom-left": (np.s_[180:], np.s_[:320]),
    "bottom-right": (np.s_[180:], np.s_[320:]),
}


def letters(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return (picture[..., :3] > 150).all(axis=2) & (picture[..., 3] > 200)


def heights_of_lines(picture: NDArray[np.uint8]) -> list[int]:
    """Of the stretches of rows that have letters in them."""
    rows = np.flatnonzero(np.diff(np.concatenate([[False], letters(picture).any(axis=1), [False]]).astype(int)))
    return (rows[1::2] - rows[::2]).tolist()


@pytest.mark.parametrize("size", SIZES)
def test_names_can_be_read_at_any_size_of_the_picture(size: tuple[int, int]) -> None:
    plain = [PixelClass("EHX", item.color) for item in CLASSES]  # no letter of which goes below the line
    picture = legend_picture(plain, *size)
    heights = heights_of_lines(picture)
    assert len(heights) in (4, 6, 11)  # one, two or three columns
    assert min(heights) >= max(7, 0.015 * min(size))
    assert picture.shape[0] * picture.shape[1] <= (0.3 if size == (180, 320) else 0.11) * size[0] * size[1]


@pytest.mark.parametrize("size", SIZES)
def test_all_classes_are_shown_in_their_colours(size: tuple[int, int]) -> None:
    picture = legend_picture(CLASSES, *size)
    assert picture.shape[0] <= size[0] * 0.5 + 2
    for item in CLASSES:
        assert ((picture[..., :3] == item.color).all(axis=2) & (picture[..., 3] == 255)).any(), item.name


@pytest.mark.parametrize("count", [0, 1, 32, 255])
@pytest.mark.parametrize("size", [(8, 8), (16, 16), (64, 30), (96, 128), *SIZES])
def test_any_number_of_classes_fits_any_picture(count: int, size: tuple[int, int]) -> None:
    classes = [PixelClass(f"a class with a long name {number}", (number, 0, 0)) for number in range(count)]
    height, width = legend_picture(classes, *size).shape[:2]
    assert height % 2 == width % 2 == 0
    assert 2 <= height <= size[0]
    assert 2 <= width <= size[1]


def noisy(rng: np.random.Generator, *, but: Sequence[Corner] = ()) -> NDArray[np.uint8]:
    """(360, 640, 3) gray noise but in some corners."""
    picture = rng.integers(60, 200, (360, 640, 1), np.uint8).repeat(3, axis=2)
    for corner in but:
        picture[QUARTERS[corner]] = 120
    return picture


def result(picture: NDArray[np.uint8]) -> SegmentedFrame:
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
    frame.pts, frame.time_base = 0, Fraction(1, 25)
    mask = np.zeros(picture.shape[:2], np.uint8)
    return SegmentedFrame(Frame(0, 0, Fraction(1, 25), frame, np.zeros((2, 2, 3), np.uint8), video_info()), mask)


def where(drawn: av.VideoFrame, plain: av.VideoFrame) -> set[Corner]:
    """The quarters of a picture in which two differ."""
    differs = planes_of(drawn)[0] != planes_of(plain)[0]
    return {corner for corner, quarter in QUARTERS.items() if differs[quarter].any()}


@pytest.mark.parametrize("corner", CORNERS)
def test_a_legend_stands_in_its_corner_and_nowhere_else(corner: Corner) -> None:
    seen = result(noisy(np.random.default_rng(0)))
    assert where(Overlay(CLASSES, legend=corner).render(seen), Overlay(CLASSES).render(seen)) == {corner}


@pytest.mark.parametrize("corner", CORNERS)
def test_by_itself_it_goes_where_the_picture_has_least_to_see_and_stays_there(corner: Corner) -> None:
    rng = np.random.default_rng(0)
    overlay, plain = Overlay(CLASSES, legend="auto"), Overlay(CLASSES)
    first = result(noisy(rng, but=[corner]))
    assert where(overlay.render(first), plain.render(first)) == {corner}
    later = result(noisy(rng, but=[other for other in CORNERS if other != corner]))
    assert where(overlay.render(later), plain.render(later)) == {corner}


def test_a_road_that_is_as_quiet_as_the_sky_is_left_free() -> None:
    for corners in (CORNERS, ("bottom-right", "top-right"), ("bottom-left", "top-right")):
        luma = planes_of(result(noisy(np.random.default_rng(0), but=corners)).frame.picture)[0]
        assert quietest_corner(luma, CLASSES) == ("top-left" if corners is CORNERS else "top-right")


def test_who_goes_on_in_the_middle_lets_the_first_picture_decide() -> None:
    rng = np.random.default_rng(0)
    overlay, plain = Overlay(CLASSES, legend="auto"), Overlay(CLASSES)
    overlay.place_legend(result(noisy(rng, but=["top-right"])).frame.picture)
    later = result(noisy(rng, but=["top-left"]))
    assert where(overlay.render(later), plain.render(later)) == {"top-right"}


def test_only_what_is_drawn_is_in_the_legend() -> None:
    seen = result(np.zeros((360, 640, 3), np.uint8))
    few = Overlay(CLASSES, legend="top-left", drawn=[number < 2 for number in range(11)]).render(seen)
    rows = np.flatnonzero((planes_of(few)[0] != planes_of(Overlay(CLASSES).render(seen))[0]).any(axis=1))
    assert rows.max() < 60
    none = Overlay(CLASSES, legend="top-left", drawn=[False] * 11).render(seen)
    np.testing.assert_array_equal(planes_of(none)[0], planes_of(seen.frame.picture)[0])


def test_a_place_that_is_none_is_refused() -> None:
    with pytest.raises(RoadmaskError, match="'middle' is none of off, auto, top-left"):
        Overlay(CLASSES, legend="middle")  # type: ignore[arg-type]
