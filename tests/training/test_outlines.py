"""Outlines and run lengths become the pixels that other code makes of them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from roadmask.stream.labelling.coco import brush_rle, runs_of_labels
from roadmask.training.outlines import Area, coco_runs, filled, of_brush, of_runs, painted

HEIGHT, WIDTH = 23, 31


def whole(area: Area) -> NDArray[np.bool_]:
    return painted([area], HEIGHT, WIDTH, 0) == area.class_id


def blobs(seed: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).random((HEIGHT, WIDTH)).astype(np.float32)
    return (cv2.GaussianBlur(noise, (0, 0), 2) > 0.5).astype(np.uint8)


@pytest.mark.parametrize("seed", range(8))
def test_a_pixel_is_within_an_outline_where_its_centre_is(seed: int) -> None:
    """By OpenCV's test of a point; corners also lie outside the picture."""
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))  # as seen from the middle: it does not cross itself
    radii = rng.uniform(2, 20, 9)
    points = np.stack([15 + radii * np.cos(angles), 11 + radii * np.sin(angles)], axis=1).astype(np.float32)
    expected = [
        [cv2.pointPolygonTest(points, (column + 0.5, row + 0.5), False) > 0 for column in range(WIDTH)]
        for row in range(HEIGHT)
    ]
    np.testing.assert_array_equal(whole(filled(1, points.tolist(), HEIGHT, WIDTH)), expected)


def test_a_rectangle_of_whole_pixels_is_these_pixels() -> None:
    expected = np.zeros((HEIGHT, WIDTH), np.bool_)
    expected[3:7, 2:11] = True
    np.testing.assert_array_equal(whole(filled(1, [(2, 3), (11, 3), (11, 7), (2, 7)], HEIGHT, WIDTH)), expected)


def test_an_outline_outside_the_picture_or_of_two_corners_covers_nothing() -> None:
    assert not whole(filled(1, [(-9, -9), (-1, -9), (-1, -1)], HEIGHT, WIDTH)).any()
    assert not whole(filled(1, [(50, 50), (60, 50), (60, 60)], HEIGHT, WIDTH)).any()
    assert not whole(filled(1, [(1, 1), (9, 9)], HEIGHT, WIDTH)).any()


def test_corners_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="no pairs of numbers"):
        filled(1, [(0, 0), (float("nan"), 1), (3, 3)], HEIGHT, WIDTH)


@pytest.mark.parametrize("seed", range(6))
def test_coco_s_run_lengths_are_read_as_pycocotools_packs_them(seed: int) -> None:
    mask = blobs(seed)
    packed = coco_mask.encode(np.asfortranarray(mask))["counts"].decode()
    np.testing.assert_array_equal(whole(of_runs(1, coco_runs(packed), HEIGHT, WIDTH)), mask)


@pytest.mark.parametrize("runs", [[5], [-1, HEIGHT * WIDTH + 1], [HEIGHT * WIDTH, 1]])
def test_run_lengths_of_another_picture_are_refused(runs: list[int]) -> None:
    with pytest.raises(ValueError, match="do not make 31x23 pixels"):
        of_runs(1, runs, HEIGHT, WIDTH)


@pytest.mark.parametrize("seed", range(6))
def test_brushes_are_read_as_they_are_written_for_label_studio(seed: int) -> None:
    mask = blobs(seed)
    for number, lengths in runs_of_labels(mask.ravel()):
        np.testing.assert_array_equal(whole(of_brush(number, list(brush_rle(lengths)), HEIGHT, WIDTH)), mask)


@pytest.mark.parametrize("content", [[], [0] * 6, [0, 0, 11, 36] + [255] * 3, [300], "text"])
def test_a_brush_that_is_cut_or_of_another_picture_is_refused(content: list[int]) -> None:
    with pytest.raises((ValueError, TypeError)):
        of_brush(1, content, HEIGHT, WIDTH)


def test_later_areas_lie_over_earlier_ones() -> None:
    areas = [filled(number, [(0, 0), (side, 0), (side, side), (0, side)], 4, 4) for number, side in ((1, 4), (2, 2))]
    np.testing.assert_array_equal(painted(areas, 4, 5, 9), [[2, 2, 1, 1, 9]] * 2 + [[1, 1, 1, 1, 9]] * 2)
