"""Scores of 4 x 4 masks, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from roadmask.training.label_pictures import VOID
from roadmask.training.metrics import confusion_matrix, iou, mean_of, pixel_accuracy

TRUTH = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 1, VOID], [2, 2, VOID, VOID]], np.uint8)
PREDICTED = np.array([[0, 0, 1, 1], [0, 1, 1, 0], [2, 2, 2, 0], [2, 1, 1, 2]], np.uint8)


def test_the_confusion_matrix_counts_truth_by_prediction_and_leaves_void_out() -> None:
    assert_array_equal(confusion_matrix(TRUTH, PREDICTED, 3), [[3, 1, 0], [1, 3, 1], [0, 1, 3]])


def test_iou_is_hits_over_union() -> None:
    # Class 0: 3 hits, union 4 + 4 - 3; class 1: 3 of 5 + 5 - 3; class 2: 3 of 4 + 4 - 3.
    confusion = confusion_matrix(TRUTH, PREDICTED, 3)
    assert_allclose(iou(confusion), [3 / 5, 3 / 7, 3 / 5])
    assert math.isclose(mean_of(iou(confusion)), (3 / 5 + 3 / 7 + 3 / 5) / 3)


def test_accuracy_is_the_share_of_right_pixels_that_are_not_void() -> None:
    assert pixel_accuracy(confusion_matrix(TRUTH, PREDICTED, 3), np.eye(3, dtype=bool)) == 9 / 13


def test_a_class_that_nowhere_occurs_has_no_iou_and_does_not_lower_the_mean() -> None:
    confusion = confusion_matrix(TRUTH, PREDICTED, 4)
    assert math.isnan(iou(confusion)[3])
    assert mean_of(iou(confusion)) == mean_of(iou(confusion[:3, :3]))


def test_a_class_that_is_only_predicted_has_an_iou_of_zero() -> None:
    confusion = confusion_matrix(np.zeros((4, 4), np.uint8), PREDICTED, 3)
    assert_allclose(iou(confusion), [5 / 16, 0, 0])


def test_where_all_is_void_there_is_no_score() -> None:
    confusion = confusion_matrix(np.full((4, 4), VOID, np.uint8), PREDICTED, 3)
    assert math.isnan(mean_of(iou(confusion)))
    assert math.isnan(pixel_accuracy(confusion, np.eye(3, dtype=bool)))
