"""What is left out of a picture: told by its sides, or painted in a PNG of any size that has its shape."""

from __future__ import annotations

import pickle
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from roadmask.stream.errors import RoadmaskError
from roadmask.stream.frames import SegmentedFrame
from roadmask.stream.masks.deciding import Deciding
from roadmask.stream.masks.flicker import FlickerMeter
from roadmask.stream.masks.ignore import Painted, Side, ignored_by_source, parse_ignored
from roadmask.stream.spec import NO_CLASS
from tests.support.clips import result_of
from tests.support.moving_scene import texture

HEIGHT, WIDTH = 6, 8


def write(path: Path, picture: NDArray[np.generic]) -> Path:
    assert cv2.imwrite(str(path), picture)
    return path


def bottom(height: int = HEIGHT, width: int = WIDTH, *, rows: int = 2) -> NDArray[np.uint8]:
    mask = np.zeros((height, width), np.uint8)
    mask[-rows:] = 255
    return mask


@pytest.mark.parametrize(
    ("word", "rows", "columns"),
    [
        ("top:50%", slice(0, 3), slice(None)),
        ("bottom:2px", slice(4, 6), slice(None)),
        ("left:25%", slice(None), slice(0, 2)),
        ("right:12.5%", slice(None), slice(7, 8)),
        ("bottom:0.1%", slice(5, 6), slice(None)),
    ],
)
def test_a_side_is_left_out_by_percent_or_pixels_and_never_less_than_a_row(
    word: str, rows: slice, columns: slice
) -> None:
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[rows, columns] = NO_CLASS
    np.testing.assert_array_equal(parse_ignored(word).pixels(HEIGHT, WIDTH), expected)


def test_several_are_left_out_together_in_whatever_order(tmp_path: Path) -> None:
    mask = write(tmp_path / "mask.png", bottom())
    both = parse_ignored("left:1px,top:1px") | parse_ignored(str(mask))
    pixels = both.pixels(HEIGHT, WIDTH)
    assert (pixels > 0).tolist() == [[y in (0, 4, 5) or x == 0 for x in range(WIDTH)] for y in range(HEIGHT)]
    assert str(both) == str(parse_ignored(str(mask)) | parse_ignored("top:1px,left:1px,top:1px"))


PAINTED = {
    "gray": bottom(),
    "of 0 and 1": bottom() // 255,
    "of 16 bits": bottom().astype(np.uint16) * 257,
    "in a colour": np.stack([np.zeros_like(bottom()), np.zeros_like(bottom()), bottom()], axis=2),
    "on a transparent layer, black": np.stack([np.zeros_like(bottom())] * 3 + [bottom()], axis=2),
    "opaque, with a layer for transparency": np.stack([bottom()] * 3 + [np.full_like(bottom(), 255)], axis=2),
    "twice as large": bottom(2 * HEIGHT, 2 * WIDTH, rows=4),
    "a third as large": bottom(HEIGHT // 2, WIDTH // 2, rows=1),
}


@pytest.mark.parametrize("kind", PAINTED)
def test_a_mask_may_be_painted(tmp_path: Path, kind: str) -> None:
    ignored = parse_ignored(str(write(tmp_path / "mask.png", PAINTED[kind])))
    ignored.refuse_misfit("drive.mp4", HEIGHT, WIDTH)
    np.testing.assert_array_equal(ignored.pixels(HEIGHT, WIDTH), bottom())


def test_a_mask_is_known_by_its_pixels_and_not_by_its_file(tmp_path: Path) -> None:
    first, copy = (parse_ignored(str(write(tmp_path / name, bottom()))) for name in ("a.png", "b.png"))
    other = parse_ignored(str(write(tmp_path / "a.png", bottom(rows=3))))
    assert str(first) == str(copy) != str(other)


def test_a_mask_goes_along_with_its_pixels_to_where_its_file_is_not(tmp_path: Path) -> None:
    path = write(tmp_path / "mask.png", bottom())
    there = pickle.dumps(parse_ignored(str(path)))
    path.unlink()
    np.testing.assert_array_equal(pickle.loads(there).pixels(HEIGHT, WIDTH), bottom())


@pytest.mark.parametrize(
    ("height", "width", "fits"),
    [
        (1080, 1920, True),
        (480, 854, True),
        (270, 480, True),
        (1080, 1440, False),
        (1920, 1080, False),
        (720, 1290, False),
    ],
)
def test_a_mask_fits_pictures_of_its_shape_up_to_rounding(height: int, width: int, *, fits: bool) -> None:
    assert Painted("mask.png", 1080, 1920, b"").fits(height, width) is fits


def test_a_mask_may_have_the_shape_of_the_pixels_or_of_the_picture_that_is_shown(tmp_path: Path) -> None:
    """Of 8x6 pixels, each twice as wide as it is high."""
    shown = parse_ignored(str(write(tmp_path / "mask.png", bottom(HEIGHT, 2 * WIDTH))))
    shown.refuse_misfit("drive.mp4", HEIGHT, WIDTH, 2 * WIDTH)
    np.testing.assert_array_equal(shown.pixels(HEIGHT, WIDTH), bottom())
    with pytest.raises(RoadmaskError, match=r"its pictures are 8x6, and the mask mask\.png is 16x6, another shape"):
        shown.refuse_misfit("drive.mp4", HEIGHT, WIDTH)


def test_a_mask_is_a_file(tmp_path: Path) -> None:
    with pytest.raises(RoadmaskError, match=r"cannot be read \(not a regular file\); name a PNG"):
        parse_ignored(str(tmp_path))


def test_nothing_may_not_be_left_of_a_picture() -> None:
    with pytest.raises(RoadmaskError, match=r"drive\.mp4: --ignore bottom:50%, top:50% leaves nothing"):
        parse_ignored("top:50%,bottom:50%").refuse_misfit("drive.mp4", HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("bottom:12", "a side is written bottom:12% or left:40px"),
        ("bottom=12%", "a side is written"),
        ("bottom:12%,mask.png", "a side is written"),
        ("top:100%", "100% is no part of a picture"),
        ("top:0px", "0px is no part of a picture"),
        ("nowhere.png", "nowhere.png: no such file; name a PNG, or a side as in bottom:12%"),
    ],
)
def test_a_word_that_leaves_nothing_out_is_refused(word: str, told: str) -> None:
    with pytest.raises(RoadmaskError, match=told):
        parse_ignored(word)


BAD_PNGS = {
    "black": (np.zeros((4, 4), np.uint8), "would leave nothing out; paint white what is to be left out"),
    "white": (np.full((4, 4), 255, np.uint8), "would leave everything out"),
    "a photo": (texture(40, 60), "is a picture with many shades, and no mask"),
    "a mask of classes": (np.arange(16, dtype=np.uint8).reshape(4, 4) % 5, "is a picture with many shades"),
}


@pytest.mark.parametrize("kind", BAD_PNGS)
def test_a_picture_that_is_no_mask_is_refused(tmp_path: Path, kind: str) -> None:
    picture, told = BAD_PNGS[kind]
    with pytest.raises(RoadmaskError, match=told):
        parse_ignored(str(write(tmp_path / "mask.png", picture)))


@pytest.mark.parametrize("kept", [0, 7, 40, -5])
def test_a_png_that_is_cut_off_is_refused(tmp_path: Path, kept: int) -> None:
    path = write(tmp_path / "mask.png", bottom())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(RoadmaskError, match=r"mask\.png: no whole PNG"):
        parse_ignored(str(path))


def test_a_name_before_it_tells_whose_pictures_are_meant() -> None:
    words = ["front=bottom:12%", "*_rear.mp4=top:5%", "left:3px"]
    found = ignored_by_source(words, ["front", "drive_rear.mp4", "drive.mp4"])
    assert list(map(str, found)) == ["bottom:12%, left:3px", "left:3px, top:5%", "left:3px"]
    assert list(map(str, ignored_by_source(["front=none"], ["front", "rear"]))) == ["", "None"]


def test_a_name_that_no_source_has_is_refused() -> None:
    with pytest.raises(RoadmaskError, match=r"--ignore rear=\.\.\.: no source is called so; there are front, left"):
        ignored_by_source(["rear=top:5%"], ["front", "left"])


@given(st.sampled_from(["top", "bottom", "left", "right"]), st.fractions(1, 99), st.integers(1, 90), st.integers(1, 90))
def test_a_side_and_the_rest_of_the_picture_are_all_of_it(side: str, size: Fraction, height: int, width: int) -> None:
    pixels = np.zeros((height, width), np.uint8)
    Side(side, size, "%").paint(pixels)
    rows_or_columns = height if side in ("top", "bottom") else width
    expected = max(round(rows_or_columns * size / 100), 1) * (height * width // rows_or_columns)
    assert np.count_nonzero(pixels) == expected


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 100))
def test_shares_are_of_what_is_not_left_out(height: int, width: int, seed: int) -> None:
    mask = np.random.default_rng(seed).choice([0, 1, 2, NO_CLASS], (height, width)).astype(np.uint8)
    shares = SegmentedFrame(result_of(mask).frame, mask, ignores=True).shares(3)
    rest = mask[mask != NO_CLASS]
    expected = np.bincount(rest, minlength=3) / max(len(rest), 1)
    np.testing.assert_allclose(shares, expected, atol=1e-12)


def test_of_a_camera_that_changes_its_size_as_much_is_left_out() -> None:
    scores = np.zeros((2, 4, 4), np.float32)
    frames = [result_of(np.zeros(size, np.uint8)).frame for size in ((48, 64), (24, 32))]
    decided = Deciding(2, smooth=False, ignored=parse_ignored("bottom:25%")).results(
        [[(item, scores) for item in frames]]
    )
    assert [np.count_nonzero(item.result.mask == NO_CLASS) for item in decided] == [48 * 64 // 4, 24 * 32 // 4]


def test_what_is_left_out_does_not_count_as_steady() -> None:
    """Half of the picture is followed, and all of that changes its class."""
    picture = texture(64, 96)
    mask = np.zeros((64, 96), np.uint8)
    mask[:, 48:] = NO_CLASS
    meter = FlickerMeter()
    meter.add(picture, mask)
    meter.add(picture, np.where(mask == NO_CLASS, NO_CLASS, 1).astype(np.uint8))
    assert meter.rate == 1
