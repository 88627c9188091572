"""Steps that make a motion finer, on pictures whose motion is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from roadmask.stream.masks.flow import Tracker, stepped
from tests.support.moving_scene import texture

SCENE = texture(60, 90)[..., 1].copy()


def shifted(x: float, y: float) -> NDArray[np.uint8]:
    shift = np.array([[1, 0, x], [0, 1, y]], np.float32)
    return np.asarray(cv2.warpAffine(SCENE, shift, (90, 60), borderMode=cv2.BORDER_REPLICATE), np.uint8)


@pytest.mark.parametrize("way", [(0.4, 0.0), (-0.7, 0.5), (0.3, -0.8)])
@pytest.mark.parametrize("light", [0, 20])
def test_two_steps_halve_what_is_missing_of_a_motion_by_parts_of_a_pixel_whatever_the_exposure(
    way: tuple[float, float], light: int
) -> None:
    # `now` has at each pixel what `before` had at that pixel less `way`.
    now, before = shifted(*way), cv2.subtract(SCENE, light)
    motion = stepped(np.zeros((60, 90, 2), np.float32), now, np.asarray(before, np.uint8), 2)
    errors = np.abs(motion + way)[5:-5, 5:-5]
    assert errors.mean() < np.abs(way).mean() / 2


def test_a_step_makes_the_motion_of_smaller_pictures_finer_in_their_own_pixels() -> None:
    now, before = shifted(0.6, -0.4), SCENE
    motion = stepped(np.zeros((30, 45, 2), np.float32), now, before)
    errors = np.abs(motion + np.array([0.3, -0.2]))[3:-3, 3:-3]
    assert motion.shape == (30, 45, 2)
    assert errors.mean() < 0.25 / 2


def test_where_nothing_tells_the_motion_it_stays_as_it_is() -> None:
    flat = np.full((20, 30), 90, np.uint8)
    assert not Tracker(flat).step(flat + np.uint8(3)).any()
