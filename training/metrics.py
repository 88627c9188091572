"""From a confusion matrix to the scores people compare."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def confusion_matrix(
    truth: NDArray[np.uint8], predicted: NDArray[np.uint8], true_count: int, predicted_count: int | None = None
) -> NDArray[np.int64]:
    """`[t, p]` counts the pixels of true class t predicted as p; truth outside the classes (void) is left out.

    There are as many to predict as to label, unless `predicted_count` says otherwise.
    """
    columns = true_count if predicted_count is None else predicted_count
    known = truth < true_count
    pairs = truth[known].astype(np.int64) * columns + predicted[known]
    return np.bincount(pairs, minlength=true_count * columns).reshape(true_count, columns)


def iou(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Intersection over union of each class.

    `confusion[t, p]` counts pixels of true class t predicted as p; void pixels are already left out.
    A class absent from both truth and prediction gets nan, so that `np.nanmean` skips it.
    """
    hits = np.diag(confusion).astype(np.float64)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - hits
    return np.asarray(np.divide(hits, union, out=np.full(len(hits), np.nan), where=union > 0))


def mean_of(scores: NDArray[np.float64]) -> float:
    """Without those that are nan; nan where no other is left."""
    return float("nan") if np.isnan(scores).all() else float(np.nanmean(scores))


def pixel_accuracy(confusion: NDArray[np.int64], is_right: NDArray[np.bool_]) -> float:
    """Share of the pixels that are not void whose class is right: fastai's `acc_camvid`.

    `is_right[t, p]` says whether p is right where t is the truth.
    """
    total = int(confusion.sum())
    return float(confusion[is_right].sum()) / total if total else float("nan")
