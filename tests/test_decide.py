"""Scores to masks: bilinear enlargement, then the best class."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream.decide import Decider


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


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    classes=st.integers(1, 20),
    low=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    high=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_the_mask_is_the_best_class_of_the_enlarged_scores(
    seed: int, classes: int, low: tuple[int, int], high: tuple[int, int]
) -> None:
    scores = np.random.default_rng(seed).normal(size=(classes, *low)).astype(np.float32)
    if high[0] < low[0] or high[1] < low[1]:
        high = (max(high[0], low[0]), max(high[1], low[1]))  # masks are never smaller than the network's grid
    mask = Decider(classes).mask(scores, *high)
    expected = enlarged(scores, *high)
    assert mask.shape == high
    assert mask.dtype == np.uint8
    chosen = np.take_along_axis(expected, mask[None].astype(int), axis=0)[0]
    np.testing.assert_allclose(chosen, expected.max(axis=0), atol=1e-5)  # OpenCV interpolates in float32


def test_of_equal_scores_the_first_class_wins() -> None:
    assert not Decider(3).mask(np.zeros((3, 2, 2), np.float32), 4, 4).any()


def test_an_edge_between_two_classes_stays_where_the_scores_cross() -> None:
    scores = np.zeros((2, 4, 8), np.float32)
    scores[0, :, :4] = scores[1, :, 4:] = 1
    mask = Decider(2).mask(scores, 40, 80)
    assert (mask[:, :40] == 0).all()
    assert (mask[:, 40:] == 1).all()


def test_one_decider_serves_frames_of_changing_size() -> None:
    decider = Decider(2)
    scores = np.stack([np.zeros((4, 4)), np.ones((4, 4))]).astype(np.float32)
    first = decider.mask(scores, 8, 8)
    assert decider.mask(-scores, 5, 7).sum() == 0
    assert (first == 1).all(), "an earlier mask is not overwritten by a later one"


def test_scores_of_another_class_count_are_refused() -> None:
    with pytest.raises(ValueError, match="scores are of 2 classes, not 3"):
        Decider(3).mask(np.zeros((2, 4, 4), np.float32), 8, 8)
