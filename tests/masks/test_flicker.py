"""The flicker meter on scenes whose motion and labels are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from roadmask.stream.masks.flicker import FlickerMeter
from roadmask.stream.masks.flow import Flow
from tests.support.moving_scene import CLASSES, blocks, texture

HEIGHT, WIDTH = 120, 160
SCENE, LABELS = texture(HEIGHT, 2 * WIDTH), blocks(HEIGHT, 2 * WIDTH)


def view(left: int) -> slice:
    return slice(left, left + WIDTH)


def test_a_mask_that_moves_with_its_picture_does_not_flicker() -> None:
    meter = FlickerMeter()
    for left in range(0, 20, 4):
        meter.add(SCENE[:, view(left)], LABELS[:, view(left)])
    assert meter.tracked > 0.9 * 4 * HEIGHT * (WIDTH - 4)
    assert meter.rate < 0.001


def test_a_mask_that_stays_while_its_picture_moves_flickers() -> None:
    meter = FlickerMeter()
    for left in (0, 6):
        meter.add(SCENE[:, view(left)], LABELS[:, view(0)])
    # Six columns of thirty change at each border between squares.
    assert 0.15 < meter.rate < 0.25


@pytest.mark.parametrize("left", [0, 4])
def test_labels_that_flip_at_random_are_counted_in_still_and_in_moving_scenes(left: int) -> None:
    share = 0.1
    rng = np.random.default_rng(1)
    meter = FlickerMeter()
    for step in range(4):
        mask = LABELS[:, view(step * left)].copy()
        flipped = rng.random(mask.shape) < share
        mask[flipped] = CLASSES  # a class of its own: a label changes where one of two frames is flipped
        meter.add(SCENE[:, view(step * left)], mask)
    assert meter.rate == pytest.approx(2 * share * (1 - share), rel=0.05)


def test_what_was_hidden_is_not_counted() -> None:
    car = texture(40, 40, seed=1)
    meter = FlickerMeter()
    for left in (20, 34):
        picture, mask = SCENE[:, view(0)].copy(), np.zeros((HEIGHT, WIDTH), np.uint8)
        picture[40:80, left : left + 40], mask[40:80, left : left + 40] = car, 1
        # The road that the car has left gets a class of its own: it was not seen before, so it is no change.
        mask[40:80, 20:left] = 2
        meter.add(picture, mask)
    uncovered = 40 * 14
    assert meter.changed < 0.2 * uncovered
    assert meter.tracked > 0.85 * HEIGHT * WIDTH


def test_a_cut_is_not_counted() -> None:
    meter = FlickerMeter()
    for seed in range(3):
        meter.add(texture(HEIGHT, WIDTH, seed=seed), np.full((HEIGHT, WIDTH), seed, np.uint8))
    assert (meter.tracked, meter.changed) == (0, 0)
    assert math.isnan(meter.rate)


def test_a_change_of_exposure_is_no_change_of_the_scene() -> None:
    meter = FlickerMeter()
    for gain, offset in ((1.0, 0), (0.7, 0), (0.7, 40)):
        picture = np.clip(gain * SCENE[:, view(0)].astype(float) + offset, 0, 255).astype(np.uint8)
        meter.add(picture, LABELS[:, view(0)])
    assert meter.tracked > 0.9 * 2 * HEIGHT * WIDTH
    assert meter.changed == 0


def test_a_reset_and_another_size_begin_anew_and_keep_the_counts() -> None:
    meter = FlickerMeter()
    picture, mask = SCENE[:, view(0)], LABELS[:, view(0)]
    meter.add(picture, mask)
    meter.reset()
    meter.add(picture, mask + 1)
    meter.add(picture[:100], mask[:100])
    assert meter.tracked == 0
    meter.add(picture[:100], mask[:100])
    assert meter.tracked == 100 * WIDTH
    meter.reset()
    assert meter.tracked == 100 * WIDTH


def test_large_pictures_are_measured_at_a_smaller_size_with_the_same_rate() -> None:
    rates = []
    for times in (3, 6):  # 640x480 is the limit
        meter = FlickerMeter()
        for mask in (LABELS, (LABELS == 1).astype(np.uint8)):
            large = [np.repeat(np.repeat(item[:, view(0)], times, 0), times, 1) for item in (SCENE, mask)]
            meter.add(large[0], large[1])
        assert meter.tracked <= 640 * 480
        rates.append(meter.rate)
    assert rates[0] == pytest.approx(rates[1], rel=0.02)


def test_a_mask_of_another_size_than_its_picture_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the picture is \(120, 160\), its mask \(60, 80\)"):
        FlickerMeter().add(SCENE[:, view(0)], np.zeros((60, 80), np.uint8))


@pytest.mark.parametrize("size", [(1, 1), (8, 40), (15, 272), (640, 15), (16, 16), (16, 640), (33, 31)])
def test_flow_takes_pictures_of_any_size(size: tuple[int, int]) -> None:
    gray = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    origins = Flow().origins(gray, gray)
    assert origins.shape == (*size, 2)
    assert np.abs(origins - np.indices(size)[::-1].transpose(1, 2, 0)).max() < 0.1


def test_flow_gives_the_same_after_a_picture_of_another_size() -> None:
    grays = [SCENE[:, view(left), 0].copy() for left in (0, 3)]
    flow = Flow()
    first = flow.origins(grays[1], grays[0])
    flow.origins(grays[1][:32, :32].copy(), grays[0][:32, :32].copy())
    assert np.array_equal(flow.origins(grays[1], grays[0]), first)
