"""Scores to masks: bilinear enlargement, then the best class."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from roadmask.stream.masks import mixed_cells
from roadmask.stream.masks.deciding import Decider
from roadmask.stream.masks.mixed_cells import PIXELS_AT_A_TIME


def enlarged(scores: NDArray[np.float32], height: int, width: int) -> NDArray[np.float64]:
    """The definition, written out: pixel centres at half integers, edges repeated."""

    def weights(target: int, source: int) -> NDArray[np.float64]:
        matrix = np.zeros((target, source))
        for row in range(target):
            position = min(max((row + 0.5) * source / target - 0.5, 0), source - 1)
            low = min(int(position), source - 1)
            high = min(low + 1, source - 1)
            matrix[row, low] += 1 - (position - low)
            matrix[row, high] += position - low
        return matrix

    down, right = weights(height, scores.shape[1]), weights(width, scores.shape[2])
    return np.einsum("yh,chw,xw->cyx", down, scores.astype(np.float64), right)


def assert_best(mask: NDArray[np.uint8], expected: NDArray[np.float64]) -> None:
    assert mask.shape == expected.shape[1:]
    assert mask.dtype == np.uint8
    chosen = np.take_along_axis(expected, mask[None].astype(int), axis=0)[0]
    np.testing.assert_allclose(chosen, expected.max(axis=0), atol=1e-5)  # interpolation in float32


def decider(classes: int, *, at_a_time: int = PIXELS_AT_A_TIME) -> Decider:
    """One that never enlarges everything, whatever the scores."""
    return Decider(classes, min_enlargement=0, max_mixed=1, at_a_time=at_a_time)


CASES = given(
    seed=st.integers(0, 2**32 - 1),
    classes=st.integers(1, 20),
    low=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    more=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)


@settings(max_examples=40)
@CASES
def test_the_mask_is_the_best_class_of_the_enlarged_scores(
    seed: int, classes: int, low: tuple[int, int], more: tuple[int, int]
) -> None:
    scores = np.random.default_rng(seed).normal(size=(classes, *low)).astype(np.float32)
    high = (max(more[0], low[0]), max(more[1], low[1]))  # masks are never smaller than the network's grid
    assert_best(Decider(classes).mask(scores, *high), enlarged(scores, *high))


@settings(max_examples=80)
@CASES
def test_enlarging_only_the_mixed_cells_gives_the_best_class_too(
    seed: int, classes: int, low: tuple[int, int], more: tuple[int, int]
) -> None:
    # Rounded, so that there are ties.
    scores = np.random.default_rng(seed).normal(size=(classes, *low)).round(1).astype(np.float32)
    high = (low[0] + more[0], low[1] + more[1])
    assert_best(decider(classes).mask(scores, *high), enlarged(scores, *high))


def patches(classes: int, height: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    """Scores like a network's: classes in patches, all of a few units."""
    noise = np.random.default_rng(seed).normal(size=(classes, height, width)).astype(np.float32)
    return 30 * np.stack([cv2.GaussianBlur(of_class, (0, 0), 8) for of_class in noise])


@pytest.mark.parametrize("size", [(720, 1280), (540, 960), (353, 641), (1081, 1919), (1280, 720)])
def test_large_masks_are_those_of_enlarging_everything_pixel_by_pixel(size: tuple[int, int]) -> None:
    scores = patches(11, *((176, 320) if size[0] < size[1] else (320, 176)))
    everything = Decider(11, max_mixed=0).mask(scores, *size)
    differs = decider(11).mask(scores, *size) != everything
    # The two round differently in the last bits of float32, which only decides what is as good as equal.
    best = np.sort([cv2.resize(of_class, size[::-1])[differs] for of_class in scores], axis=0)
    np.testing.assert_allclose(best[-1], best[-2], atol=1e-4)
    assert np.count_nonzero(differs) <= 5


def test_a_mask_full_of_edges_is_enlarged_as_a_whole_and_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.random.default_rng(0).normal(size=(5, 20, 30)).astype(np.float32)
    mask = Decider(5).mask(scores, 80, 120)
    monkeypatch.setattr(mixed_cells.MixedCells, "decide", None)  # not called
    np.testing.assert_array_equal(Decider(5).mask(scores, 80, 120), mask)
    monkeypatch.undo()
    np.testing.assert_array_equal(decider(5).mask(scores, 80, 120), mask)


def test_a_class_that_is_second_at_both_points_wins_between_them() -> None:
    # At the points 10 > 8 > 0 and 0 < 8 < 10, half way 5 < 8 > 5.
    scores = np.array([[[10, 0]], [[8, 8]], [[0, 10]]], np.float32).repeat(2, axis=1)
    mask = decider(3).mask(scores, 6, 20)
    assert [label for label, _ in itertools.groupby(mask[3].tolist())] == [0, 1, 2]


def test_masks_do_not_depend_on_how_many_cells_are_decided_at_a_time() -> None:
    scores = patches(7, 20, 30)
    mask = decider(7).mask(scores, 101, 149)
    np.testing.assert_array_equal(decider(7, at_a_time=1).mask(scores, 101, 149), mask)


def test_of_equal_scores_the_first_class_wins() -> None:
    assert not Decider(3).mask(np.zeros((3, 2, 2), np.float32), 4, 4).any()
    # In a mixed cell too: classes 1 and 2 are always equal.
    scores = patches(2, 20, 30)[[0, 1, 1]]
    assert set(np.unique(Decider(3).mask(scores, 200, 300))) == {0, 1}


def test_an_edge_between_two_classes_stays_where_the_scores_cross() -> None:
    scores = np.zeros((2, 4, 8), np.float32)
    scores[0, :, :4] = scores[1, :, 4:] = 1
    mask = Decider(2).mask(scores, 40, 80)
    assert (mask[:, :40] == 0).all()
    assert (mask[:, 40:] == 1).all()


def test_one_decider_serves_frames_of_changing_size() -> None:
    decider = Decider(2)
    scores = np.stack([np.zeros((4, 4)), np.ones((4, 4))]).astype(np.float32)
    first = decider.mask(scores, 16, 16)
    assert decider.mask(-scores, 15, 17).sum() == 0
    assert decider.mask(-scores, 5, 7).sum() == 0
    assert decider.mask(-scores[:, :3, :2], 15, 17).sum() == 0
    assert (first == 1).all(), "an earlier mask is not overwritten by a later one"


def test_scores_of_another_class_count_are_refused() -> None:
    with pytest.raises(ValueError, match="scores are of 2 classes, not 3"):
        Decider(3).mask(np.zeros((2, 4, 4), np.float32), 8, 8)
