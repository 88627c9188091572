"""What several data sets give to a batch: each its share, and pictures without labels."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from roadmask.training.batches import draw
from roadmask.training.errors import DataError, TrainingError
from roadmask.training.mixture import Mixture, open_mixture
from roadmask.training.public_sets import SEGNET_NAMES
from roadmask.training.settings import check
from tests.support.datasets import (
    HEIGHT,
    make_fastai,
    make_unlabelled,
    tiny_settings,
    with_names,
)


def parts_of(*data: Path | str, **changes: object) -> Mixture:
    return open_mixture(tiny_settings(*data, **changes))


@pytest.mark.parametrize("shares", [(3.0, 1.0), (1.0, 1.0), (5.0, 2.0), (0.1, 0.9)])
def test_the_shares_of_a_batch_are_kept_exactly_over_an_epoch(
    fine: Path, coarse: tuple[Path, Path], shares: tuple[float, float]
) -> None:
    parts = parts_of(fine, f"{coarse[0]}:{coarse[1]}", shares=shares).parts
    counts: Counter[int] = Counter()
    for done, batch in enumerate(islice(draw(parts, 4, seed=0, epoch=0), 50), start=1):
        assert len(batch) == 4
        counts.update(each.part for each in batch)
        for number, share in enumerate(shares):
            assert abs(counts[number] - 4 * done * share / sum(shares)) < 1


def test_without_shares_a_data_set_counts_by_its_pictures(fine: Path, coarse: tuple[Path, Path]) -> None:
    parts = parts_of(fine, f"{coarse[0]}:{coarse[1]}").parts
    assert [part.share for part in parts] == [6 / 8, 2 / 8]


def test_all_pictures_of_a_data_set_are_seen_before_one_comes_again(fine: Path, coarse: tuple[Path, Path]) -> None:
    parts = parts_of(fine, f"{coarse[0]}:{coarse[1]}", shares=(1.0, 3.0)).parts
    seen = [each.index for batch in islice(draw(parts, 4, seed=3, epoch=1), 6) for each in batch if each.part == 0]
    assert sorted(seen) == list(range(6))
    again = [each for batch in islice(draw(parts, 4, seed=3, epoch=1), 6) for each in batch]
    other = [each for batch in islice(draw(parts, 4, seed=3, epoch=2), 6) for each in batch]
    assert [each.index for each in again if each.part == 0] == seen
    assert [each.index for each in other if each.part == 0] != seen


def test_shares_must_be_one_for_each_data_set_the_unlabelled_too(fine: Path, tmp_path: Path) -> None:
    more = make_unlabelled(tmp_path / "more")
    with pytest.raises(DataError, match="1 shares for 2 data sets; give one for each, the unlabelled last"):
        parts_of(fine, unlabelled=(str(more),), shares=(1.0,))


# Pictures without labels


def test_of_an_unlabelled_picture_only_its_top_and_bottom_say_something(tmp_path: Path) -> None:
    """Nothing that stands on the ground reaches into the top fifth, and no sky into the bottom third."""
    camvid = with_names(make_fastai(tmp_path / "camvid"), *SEGNET_NAMES)
    mixture = parts_of(camvid, unlabelled=(str(make_unlabelled(tmp_path / "more")),))
    labels, part = mixture.labels, mixture.parts[1]
    _, mask = part.read(part.split.train[0])
    names = labels.class_names
    allowed = [frozenset(np.array(names)[labels.members[row[0]]]) for row in mask]
    ground = {"Road", "Sidewalk", "Car", "Pedestrian", "Bicyclist"}
    assert (mask == mask[:, :1]).all()
    top, bottom = round(HEIGHT / 5), round(HEIGHT * 2 / 3)
    assert set(allowed[:top]) == {frozenset(names) - ground}
    assert set(allowed[top:bottom]) == {frozenset(names)}
    assert set(allowed[bottom:]) == {frozenset(names) - {"Sky"}}
    assert not part.split.valid


def test_of_other_classes_an_unlabelled_picture_says_nothing(fine: Path, tmp_path: Path) -> None:
    mixture = parts_of(fine, unlabelled=(str(make_unlabelled(tmp_path / "more")),))  # knows no pavement
    _, mask = mixture.parts[1].read(mixture.parts[1].split.train[0])
    assert mixture.labels.members[np.unique(mask)].all()


@pytest.mark.parametrize("make", [lambda root: root / "nowhere", lambda root: root])
def test_a_folder_without_pictures_is_one_line(fine: Path, tmp_path: Path, make: object) -> None:
    assert callable(make)
    folder = tmp_path / "empty"
    folder.mkdir()
    with pytest.raises(DataError, match=r"no such folder|no pictures found"):
        parts_of(fine, unlabelled=(str(make(folder)),))


def test_unlabelled_pictures_need_a_teacher(fine: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="need a teacher"):
        check(tiny_settings(fine, unlabelled=(str(tmp_path),)))
