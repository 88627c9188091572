"""Steps that make a motion finer, on pictures whose motion is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from roadmask.stream.masks.flow import Tracker, moved, origins_of
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
    tracker, motion = Tracker(now), np.zeros((60, 90, 2), np.float32)
    for _ in range(2):
        motion = motion + tracker.step(moved(np.asarray(before, np.uint8), origins_of(motion, 60, 90)))
    errors = np.abs(motion + way)[5:-5, 5:-5]
    assert errors.mean() < np.abs(way).mean() / 2


def test_where_nothing_tells_the_motion_it_stays_as_it_is() -> None:
    flat = np.full((20, 30), 90, np.uint8)
    assert not Tracker(flat).step(flat + np.uint8(3)).any()
