"""Planes that are moved together come out as if each were moved alone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from roadmask.stream.masks.flow import moved, origins_of
from roadmask.stream.masks.smooth import MovingPlanes

HEIGHT, WIDTH = 21, 34


def noise(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("count", [1, 2, 4, 5, 7, 12])
def test_any_number_of_planes_is_moved_as_one_is(count: int) -> None:
    planes, origins = noise(count, HEIGHT, WIDTH), origins_of(4 * noise(HEIGHT, WIDTH, 2, seed=1), HEIGHT, WIDTH)
    together = MovingPlanes(count, HEIGHT, WIDTH)
    together.keep(list(planes))
    for plane, found in zip(planes, together.moved(origins), strict=True):
        np.testing.assert_allclose(found, moved(plane, origins), atol=1e-5)  # the last bits of an interpolation


def test_what_was_given_may_change_after_it_is_kept() -> None:
    planes = noise(5, HEIGHT, WIDTH)
    together = MovingPlanes(5, HEIGHT, WIDTH)
    together.keep(list(planes))
    before = planes.copy()
    planes[:] = 0
    still = origins_of(np.zeros((HEIGHT, WIDTH, 2), np.float32), HEIGHT, WIDTH)
    assert np.array_equal(together.moved(still), before)


@pytest.mark.parametrize("count", [1, 4, 7])
def test_what_is_kept_can_be_had_again_whatever_was_moved_since(count: int) -> None:
    planes = noise(count, HEIGHT, WIDTH)
    together = MovingPlanes(count, HEIGHT, WIDTH)
    together.keep(list(planes))
    together.moved(origins_of(noise(HEIGHT, WIDTH, 2, seed=1), HEIGHT, WIDTH))
    kept = together.planes()
    together.keep(list(0 * planes))
    assert np.array_equal(kept, planes)


def test_a_motion_of_half_the_size_tells_the_origins_of_the_whole() -> None:
    motion = np.empty((10, 20, 2), np.float32)
    motion[:] = (1.5, -2)
    origins = origins_of(motion, 20, 40)
    rows, columns = np.indices((20, 40))
    np.testing.assert_allclose(origins[..., 0], columns + 3, atol=1e-5)
    np.testing.assert_allclose(origins[..., 1], rows - 4, atol=1e-5)
