"""Stretches of names for validation: the same each time, never at random, and of neighbours as few as can be."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest

from roadmask.export.choice import everything, in_stretches, labelled_alone
from roadmask.stream.cli import main
from roadmask.training.command import train_command
from roadmask.training.dataset import open_dataset
from roadmask.training.errors import DataError, TrainingError
from roadmask.training.job import prepare
from roadmask.training.mixture import open_mixture
from roadmask.training.settings import check
from roadmask.training.split import split, stretches
from tests.support.datasets import (
    CODES,
    ID_COLORS,
    draw_ids,
    frame_name,
    make_fastai,
    make_segnet,
    save_pair,
    save_png,
    tiny_settings,
)

IDS = draw_ids(0, 8, 8)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Without a list of validation pictures."""
    root = make_fastai(tmp_path / "data")
    (root / "valid.txt").unlink()
    return root


def numbered(root: Path, count: int) -> Path:
    """Numbers that as text would stand in another order."""
    for number in range(count):
        save_pair(root / "images" / f"clip{number}.png", root / "labels" / f"clip{number}.png", IDS)
    (root / "codes.txt").write_text("\n".join(CODES), encoding="utf-8")
    return root


def numbers(root: Path, share: float) -> list[int]:
    held, _ = stretches(open_dataset(root).examples, share)
    return [int(example.name[4:]) for example in held]


def test_of_few_pictures_the_last_by_number_are_held_out(tmp_path: Path) -> None:
    root = numbered(tmp_path, 24)
    assert numbers(root, 0.2) == [19, 20, 21, 22, 23]
    assert stretches(open_dataset(root).examples, 0.2)[1] == "a stretch of names: clip19 to clip23"


def test_of_many_pictures_stretches_are_spread_over_all(tmp_path: Path) -> None:
    held = numbers(numbered(tmp_path, 120), 0.2)
    assert len(held) == 24
    ends = np.flatnonzero(np.diff(held) != 1)
    assert [held[0], *(held[end + 1] for end in ends)] == [32, 72, 112], "of each third the last eight"


def test_the_same_pictures_are_trained_on_and_scored_on_every_time(data: Path) -> None:
    dataset = open_dataset(data)
    chosen = split(dataset, share=0.25)
    assert [example.name for example in chosen.valid] == ["B_0005", "B_0007"]
    assert {example.name for example in chosen.train} == {e.name for e in dataset.examples} - {"B_0005", "B_0007"}
    assert [example.name for example in in_stretches(0.25)(dataset).examples] == ["B_0005", "B_0007"]
    (part,) = open_mixture(tiny_settings(data, split=0.25)).parts
    assert [example.name for example in part.split.valid] == ["B_0005", "B_0007"]


def test_pictures_of_test_are_in_no_stretch(tmp_path: Path) -> None:
    dataset = open_dataset(make_segnet(tmp_path))
    chosen = split(dataset, share=0.3)
    assert not [example for example in (*chosen.train, *chosen.valid) if example.folder == "test"]


def test_without_a_list_or_drives_it_is_offered_and_works(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["train", str(data), "-o", str(data / "run")], ["eval", "camvid-lite0", str(data)]):
        assert main(command) == 1
        assert "--split" in capsys.readouterr().err
    with pytest.raises(
        DataError, match=r"hold out stretches of names \(--split 0\.2\), or a drive \(--valid-drive B\)"
    ):
        split(open_dataset(data))
    assert main(["data", str(data), "--split", "0.2"]) == 0
    said = "validation split by a stretch of names: B_0005 to B_0007: 6 to train on, 2 to score on"
    assert said in capsys.readouterr().out


def test_a_run_is_repeated_with_its_share(data: Path) -> None:
    settings = tiny_settings(data, split=0.2)
    assert "--split 0.2" in shlex.join(shlex.split(train_command(settings, data / "run")))
    check(settings)


def test_two_ways_to_choose_validation_pictures_exclude_each_other(data: Path) -> None:
    with pytest.raises(TrainingError, match="exclude each other"):
        check(tiny_settings(data, split=0.2, valid_drives=("A",)))
    with pytest.raises(TrainingError, match=r"--split 0\.7 is not between 0\.01 and 0\.5"):
        check(tiny_settings(data, split=0.7))


def test_a_drive_of_one_picture_cannot_be_divided(tmp_path: Path) -> None:
    save_png(tmp_path / "images" / "a.png", ID_COLORS[IDS])
    save_png(tmp_path / "labels" / "a.png", IDS)
    (tmp_path / "codes.txt").write_text("\n".join(CODES), encoding="utf-8")
    with pytest.raises(DataError, match="there are 0 pictures to train on, 1 to score on"):
        split(open_dataset(tmp_path), share=0.2)


def test_pictures_that_nobody_has_labelled_are_in_neither_part_and_are_counted(data: Path) -> None:
    """As where some frames of a drive were labelled, and all were kept."""
    for number in (0, 7):
        (data / "labels" / f"{frame_name(number)}_P.png").unlink()
    found = split(open_dataset(data), share=0.4)
    assert [example.name for example in found.without] == [frame_name(0), frame_name(7)]
    assert len(found.train) == 4
    assert [example.name for example in found.valid] == ["B_0003", "B_0005"]
    said: list[str] = []
    prepare(tiny_settings(data, split=0.4), None, said.append)
    assert f"data: 2 pictures have no label, and are left out: {frame_name(0)}, {frame_name(7)}" in said
    chosen = labelled_alone(open_dataset(data), everything(open_dataset(data)))
    assert len(chosen.examples) == 6
    assert chosen.by == "all there are; 2 without a label left out"
