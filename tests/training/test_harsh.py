"""Night, weather and bad cameras change the picture; only the own bonnet changes what is to be learnt."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from roadmask.training import harsh
from roadmask.training.harsh import make_harsh
from roadmask.training.label_pictures import VOID
from tests.support.datasets import ID_COLORS, draw_ids

CONDITIONS = sorted({*harsh._LIGHT, *harsh._LENS, *harsh._CAMERA}, key=lambda condition: condition.__name__)
SIZES = [(32, 32), (33, 47), (32, 160), (97, 64)]


def case(height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    mask = draw_ids(1, height, width)
    mask[0, :5] = VOID
    return ID_COLORS[np.where(mask == VOID, 1, mask)], mask


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.__name__)
def test_a_condition_keeps_shape_and_type_and_the_mask_but_for_the_bonnet(
    condition: harsh._Condition, height: int, width: int
) -> None:
    for seed in range(20):
        picture, mask = case(height, width)
        changed, new_mask = condition(picture, mask, np.random.default_rng(seed))
        assert changed.shape == picture.shape
        assert changed.dtype == new_mask.dtype == np.uint8
        different = new_mask != mask
        assert (new_mask[different] == VOID).all()
        assert condition is harsh.bonnet or not different.any()
        unchanged_picture, unchanged_mask = case(height, width)
        assert_array_equal(picture, unchanged_picture)  # what came in is not written into
        assert_array_equal(mask, unchanged_mask)


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.__name__)
def test_a_condition_changes_the_picture_and_the_same_generator_the_same_way(condition: harsh._Condition) -> None:
    picture, mask = case(64, 96)
    changed = 0
    for seed in range(5):
        first, second = (condition(picture, mask, np.random.default_rng(seed)) for _ in range(2))
        assert_array_equal(first[0], second[0])
        assert_array_equal(first[1], second[1])
        changed += bool((first[0] != picture).any())
    assert changed


def test_the_bonnet_is_void_where_it_is_painted_and_at_the_foot() -> None:
    picture, mask = case(64, 96)
    for seed in range(10):
        painted, masked = harsh.bonnet(picture, mask, np.random.default_rng(seed))
        covered = (painted != picture).any(axis=2)
        assert (masked[covered] == VOID).all()
        assert covered.any()
        assert not covered[:32].any()


def test_harsh_pictures_differ_from_each_other_and_repeat_by_seed() -> None:
    picture, mask = case(64, 96)
    seen = [make_harsh(picture, mask, np.random.default_rng(seed))[0].tobytes() for seed in range(40)]
    assert len(set(seen)) > 30  # some of them draw no condition at all
    assert seen == [make_harsh(picture, mask, np.random.default_rng(seed))[0].tobytes() for seed in range(40)]
