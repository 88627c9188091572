"""What a segmented frame knows of itself."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from roadmask.stream.frames import Frame, SegmentedFrame
from tests.support.clips import video_info


def with_mask(mask: NDArray[np.uint8]) -> SegmentedFrame:
    picture = av.VideoFrame(mask.shape[1], mask.shape[0], "yuv420p")
    return SegmentedFrame(Frame(0, 0, Fraction(1, 25), picture, np.zeros((1, 1, 3), np.uint8), video_info()), mask)


@given(st.integers(1, 30), st.integers(1, 30), st.sampled_from([1, 2, 3, 11, 256]), st.integers(0, 2**32 - 1))
def test_shares_count_every_pixel(height: int, width: int, classes: int, seed: int) -> None:
    mask = np.random.default_rng(seed).integers(0, classes, (height, width)).astype(np.uint8)
    expected = np.bincount(mask.ravel(), minlength=classes) / mask.size
    np.testing.assert_array_equal(with_mask(mask).shares(classes), expected)


@pytest.mark.parametrize("shape", [(6000, 6000), (6001, 5999)])
def test_shares_of_masks_too_large_to_count_at_once_are_exact(shape: tuple[int, int]) -> None:
    """More pairs of one class than float32, in which OpenCV counts, can tell apart by one."""
    mask = np.full(shape, 3, np.uint8)
    mask[0, 0] = mask[-1, -1] = 7
    shares = with_mask(mask).shares(11)
    assert (shares[3], shares[7], shares.sum()) == ((mask.size - 2) / mask.size, 2 / mask.size, 1)
