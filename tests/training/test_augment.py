"""What happens to the picture happens to the mask, except light."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from roadmask.training.augment import augment
from roadmask.training.label_pictures import VOID
from roadmask.training.settings import AugmentSettings
from tests.support.datasets import ID_COLORS, STILL, draw_ids

GEOMETRY = AugmentSettings(brightness=0, contrast=0, saturation=0, hue_degrees=0)
HEIGHT, WIDTH = 120, 160


def augmented(
    settings: AugmentSettings, seed: int, *, height: int = 96, width: int = 128
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A picture whose colours are its mask's ids."""
    ids = draw_ids(3, HEIGHT, WIDTH)
    rng = np.random.default_rng(seed)
    crop, _ = augment(ID_COLORS[ids], ids, height=height, width=width, full_height=HEIGHT, settings=settings, rng=rng)
    return crop


def away_from_edges(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels two away from any other class: shrinking by area and then sampling mixes no farther."""
    square = np.ones((5, 5), np.uint8)
    inner = np.asarray(cv2.erode(mask, square) == cv2.dilate(mask, square))
    inner[[0, 1, -2, -1]] = inner[:, [0, 1, -2, -1]] = False  # their neighbours are not in the crop
    return inner


@pytest.mark.parametrize("seed", range(20))
def test_the_mask_follows_the_picture_exactly(seed: int) -> None:
    picture, mask = augmented(replace(GEOMETRY, scale_min=0.4, scale_max=2.5), seed)
    inner = away_from_edges(mask) & (mask != VOID)
    assert inner.any()
    # One step of 255: lighting multiplies by the unit matrix in floating point even when it changes nothing.
    assert np.abs(picture[inner].astype(int) - ID_COLORS[mask[inner]]).max() <= 1


@pytest.mark.parametrize("seed", range(5))
def test_where_the_picture_ends_the_mask_is_void_and_the_picture_gray(seed: int) -> None:
    picture, mask = augmented(replace(GEOMETRY, scale_min=0.5, scale_max=0.5), seed)
    outside = away_from_edges(mask) & (mask == VOID)
    # Half of 120 x 160 in a crop of 96 x 128; one row and column of tolerance where sampling meets the border.
    assert (mask != VOID).sum() == pytest.approx(60 * 80, abs=60 + 80)
    assert np.abs(picture[outside].astype(int) - 127).max() <= 1


def test_a_flip_is_the_mirror_image() -> None:
    ids = draw_ids(3, HEIGHT, WIDTH)
    picture, mask = augmented(replace(STILL, flip=1), 0, height=HEIGHT, width=WIDTH)
    assert_array_equal(mask, ids[:, ::-1])
    assert_array_equal(picture, ID_COLORS[ids][:, ::-1])


def test_without_changes_the_picture_stays_as_it_is() -> None:
    picture, mask = augmented(STILL, 0, height=HEIGHT, width=WIDTH)
    assert_array_equal(mask, draw_ids(3, HEIGHT, WIDTH))
    assert_array_equal(picture, ID_COLORS[mask])


def test_light_changes_the_picture_and_never_the_mask() -> None:
    light = AugmentSettings(scale_min=1, scale_max=1, flip=0)
    picture, mask = augmented(light, 1, height=HEIGHT, width=WIDTH)
    assert_array_equal(mask, draw_ids(3, HEIGHT, WIDTH))
    assert np.abs(picture.astype(int) - ID_COLORS[mask]).max() > 5


def test_gray_has_no_hue_to_turn_and_no_saturation_to_stretch() -> None:
    gray = np.full((32, 32, 3), 90, np.uint8)
    settings = replace(STILL, saturation=0.9, hue_degrees=90)
    (picture, _), _ = augment(
        gray, gray[..., 0], height=32, width=32, full_height=32, settings=settings, rng=np.random.default_rng(0)
    )
    assert np.abs(picture.astype(int) - 90).max() <= 1  # the published YIQ matrix is rounded to three digits


def test_the_same_generator_gives_the_same_crop() -> None:
    assert_array_equal(augmented(AugmentSettings(), 5)[0], augmented(AugmentSettings(), 5)[0])
    assert (augmented(AugmentSettings(), 5)[0] != augmented(AugmentSettings(), 6)[0]).any()


@settings(max_examples=60)
@given(height=st.integers(40, 90), full_height=st.integers(32, 200), seed=st.integers(0, 1000))
def test_a_column_is_in_picture_and_mask_at_the_same_place(height: int, full_height: int, seed: int) -> None:
    """Both say which column a pixel came from: the mask to a whole one, the picture by a gray ramp of 4 levels each."""
    mask = np.tile(np.arange(60, dtype=np.uint8), (height, 1))
    picture = np.repeat(4 * mask[..., None], 3, axis=2)
    (moved, moved_mask), _ = augment(
        picture,
        mask,
        height=full_height,
        width=max(round(60 * full_height / height), 1),
        full_height=full_height,
        settings=replace(STILL, flip=0.5),
        rng=np.random.default_rng(seed),
    )
    middle = full_height // 2
    # Not the outermost columns, which the gray around the picture is mixed into.
    known = (moved_mask[middle] >= 4) & (moved_mask[middle] < 56)
    assert known.sum() > 0.8 * (moved_mask[middle] != VOID).sum()
    found = moved[middle, known, 0] / 4
    # Half a column for the mask; half a level each time the picture is rounded, shrunk and moved; and 1/32 pixel for
    # OpenCV's fixed point in either. Over all these sizes the largest is 0.75.
    assert np.abs(found - moved_mask[middle, known]).max() <= 0.5 + 2 * 0.125 + 2 / 32


@pytest.mark.parametrize("flip", [0, 1])
@pytest.mark.parametrize("soft_size", [(60, 40), (30, 20), (23, 17)])
@pytest.mark.parametrize("seed", range(4))
def test_the_teachers_opinion_lies_where_the_mask_does_at_half_its_size(
    seed: int, soft_size: tuple[int, int], flip: int
) -> None:
    """Mask and opinion say which column they came from, a row of sixty; of eleven classes the last one does."""
    mask = np.tile(np.arange(60, dtype=np.uint8), (40, 1))
    ramp = (np.arange(soft_size[0]) + 0.5) * 60 / soft_size[0] - 0.5  # the mask's column at each one's centre
    soft = np.zeros((soft_size[1], soft_size[0], 11), np.uint8)
    soft[..., 10] = np.round(4 * ramp)
    (_, moved_mask), moved = augment(
        np.zeros((40, 60, 3), np.uint8),
        mask,
        soft,
        height=48,
        width=64,
        full_height=40,
        settings=replace(STILL, scale_min=0.8, scale_max=2, flip=flip),
        rng=np.random.default_rng(seed),
    )
    assert moved is not None
    assert moved.shape == (24, 32, 11)
    assert not moved[..., :10].any()
    row, soft_row = moved_mask[24].reshape(32, 2), moved[12, :, 10] / 4
    inside = ((row >= 6) & (row < 54)).all(axis=1)  # a soft pixel from the border on it is mixed with what lies outside
    assert inside.sum() > 8
    off = soft_row[inside] - row[inside].mean(axis=1)
    # Half a column for each mask pixel and for rounding; a shift by half a soft pixel would be 0.5 on all of them.
    assert np.abs(off).max() <= 1
    assert abs(off.mean()) < 0.2


@pytest.mark.parametrize("height", [48, 96, 192])
def test_pictures_of_any_size_are_brought_to_the_same_height(height: int) -> None:
    """At a scale of 1 the whole picture is as high as at validation, whatever it came as."""
    ids = draw_ids(3, height, height * 4 // 3)
    (_, mask), _ = augment(
        ID_COLORS[ids],
        ids,
        height=96,
        width=128,
        full_height=96,
        settings=STILL,
        rng=np.random.default_rng(0),
    )
    assert (mask != VOID).all()
    sky = np.count_nonzero(mask[:, 0] == 0)
    assert sky == pytest.approx(48, abs=1)
