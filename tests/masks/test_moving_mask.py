"""Whole masks that are moved: nothing is lost on the way, and things are where motion says."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from roadmask.stream.masks.deciding import Decider
from roadmask.stream.masks.flow import moved, origins_of
from roadmask.stream.masks.moving_mask import MovingMask

SIZES = [(540, 960), (541, 963), (1080, 1920), (97, 64), (16, 16), (1, 7), (300, 2)]


def blobs(height: int, width: int, *, size: int = 60, seed: int = 0) -> NDArray[np.uint8]:
    """Places of seven classes, about `size` pixels large."""
    coarse = np.random.default_rng(seed).random((7, height // size + 2, width // size + 2)).astype(np.float32)
    places = np.stack([cv2.resize(plane, (width, height)) for plane in coarse])
    return np.asarray(places.argmax(0), np.uint8)


def even_motion(x: float, y: float) -> NDArray[np.float32]:
    return np.full((88, 160, 2), (x, y), np.float32)


@pytest.mark.parametrize("size", SIZES)
def test_without_motion_a_mask_stays_as_it_is(size: tuple[int, int]) -> None:
    mask = blobs(*size, size=9)
    result = MovingMask(mask).moved(even_motion(0, 0))
    np.testing.assert_array_equal(result, mask)
    assert result.flags.c_contiguous
    assert result.dtype == np.uint8


@settings(deadline=None, max_examples=30)
@given(st.integers(100, 700), st.integers(100, 900), st.integers(-40, 40), st.integers(-40, 40), st.integers(3, 80))
def test_all_pixels_are_moved_by_whole_pixels_as_one_would_by_hand(
    height: int, width: int, x: int, y: int, size: int
) -> None:
    mask = blobs(height, width, size=size)
    # Motion counts in pixels of its own picture.
    result = MovingMask(mask).moved(even_motion(x * 160 / width, y * 88 / height))
    inner = np.s_[50:-50, 50:-50]
    origin = np.s_[50 + y : height - 50 + y, 50 + x : width - 50 + x]
    np.testing.assert_array_equal(result[inner], mask[origin])


def test_what_comes_in_from_outside_is_what_was_at_the_border() -> None:
    mask = np.repeat(np.array([[1, 2, 3]], np.uint8), 90, axis=0).repeat(40, axis=1)
    assert (MovingMask(mask).moved(even_motion(200, 0)) == 3).all()
    assert (MovingMask(mask).moved(even_motion(-200, 0)) == 1).all()
    assert set(np.unique(MovingMask(mask).moved(even_motion(0, 500)))) == {1, 2, 3}


@pytest.mark.parametrize("size", SIZES[:3])
def test_motion_that_differs_from_place_to_place_takes_nearly_each_pixel_where_it_leads(size: tuple[int, int]) -> None:
    mask = blobs(*size)
    coarse = np.random.default_rng(1).normal(0, 3, (6, 10, 2)).astype(np.float32)
    motion = np.asarray(cv2.resize(coarse, (160, 88)), np.float32)
    expected = moved(mask, origins_of(motion, *size), nearest=True)
    assert (MovingMask(mask).moved(motion) == expected).mean() > 0.98
    assert (mask == expected).mean() < 0.95


def test_it_is_the_mask_as_it_was_whatever_becomes_of_the_array() -> None:
    mask = blobs(90, 160)
    moving = MovingMask(mask)
    expected = mask.copy()
    mask[:] = 9
    first = moving.moved(even_motion(0, 0))
    np.testing.assert_array_equal(first, expected)
    first[:] = 8
    np.testing.assert_array_equal(moving.moved(even_motion(0, 0)), expected)


def test_a_mask_that_is_not_there_or_of_another_size_is_made_of_its_scores() -> None:
    scores = np.random.default_rng(2).normal(size=(3, 22, 40)).astype(np.float32)
    carrying, still = Decider(3, carries=True), even_motion(0, 0)

    def kept() -> NDArray[np.float32]:
        return scores

    def unwanted() -> NDArray[np.float32]:
        raise AssertionError

    expected = Decider(3).mask(scores, 90, 160)
    np.testing.assert_array_equal(carrying.carried(still, 90, 160, kept), expected)
    np.testing.assert_array_equal(carrying.carried(still, 90, 160, unwanted), expected)
    np.testing.assert_array_equal(carrying.carried(still, 45, 80, kept), Decider(3).mask(scores, 45, 80))
    other = carrying.mask(-scores, 90, 160)
    np.testing.assert_array_equal(carrying.carried(still, 90, 160, unwanted), other)
    carrying.forget()
    np.testing.assert_array_equal(carrying.carried(still, 90, 160, kept), expected)
