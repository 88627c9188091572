"""A run on two data sets and unlabelled pictures, with a teacher: it is repeatable, and refuses what does not fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from roadmask.stream.cli import main
from roadmask.training import checkpoint as checkpoints
from roadmask.training.checkpoint import Checkpoint, load
from roadmask.training.console import Talk
from roadmask.training.errors import CheckpointError, TrainingError
from roadmask.training.job import Job, prepare
from roadmask.training.learner import start
from roadmask.training.plots import draw_run
from roadmask.training.settings import TrainSettings
from roadmask.training.shape import UNetSettings
from roadmask.training.teacher import _opinion, soft_labels
from roadmask.training.train import epoch_batches, train
from roadmask.training.unet import UNet
from tests.support.datasets import NAMES, make_coarse, make_fastai, make_unlabelled, tiny_settings
from tests.support.same_run import KilledError, assert_same_run, kill_at_step, table

pytestmark = pytest.mark.usefixtures("thin_encoder")


def make_teacher(path: Path, names: tuple[str, ...] = NAMES) -> Path:
    torch.manual_seed(5)
    network = UNet(UNetSettings(len(names), (8, 8, 8, 8)))
    checkpoint = Checkpoint(
        network=network.settings,
        weights=network.state_dict(),
        class_names=names,
        class_colors=tuple((index, 0, 0) for index in range(len(names))),
        input_mean=127.0,
        input_std=128.0,
        input_height=64,
        input_width=96,
        stride=32,
        settings={"epochs": 3, "lr": 0.003},
        provenance={"data": "streets, 9 pictures", "commit": "abc"},
        scores={"miou": 0.5},
        progress=None,
    )
    checkpoints.save(checkpoint, path)
    return path


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> TrainSettings:
    folder = tmp_path_factory.mktemp("data")
    root, path = make_coarse(folder / "coarse")
    return tiny_settings(
        make_fastai(folder / "fine"),
        f"{root}:{path}",
        unlabelled=(str(make_unlabelled(folder / "more")),),
        shares=(2.0, 1.0, 1.0),
        teachers=(str(make_teacher(folder / "teacher.pt")),),
        distill=0.3,
        lovasz=0.5,
        lovasz_from=0.5,
        epochs=2,
        batch=4,
        crop=(32, 64),
    )


@pytest.fixture(scope="module")
def whole(settings: TrainSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "whole"
    train(settings, run)
    return run


def no_word(_message: str) -> None:
    pass


def test_each_data_set_is_scored_by_itself(whole: Path, tmp_path: Path) -> None:
    row = table(whole)[-1]
    assert list(row)[:11] == [
        *("epoch", "train_loss", "valid_loss", "miou", "accuracy", "lr", "coarse_miou", "coarse_accuracy"),
        *(f"iou_{name}" for name in NAMES),
    ]
    best = max((float(row["miou"]) + float(row["coarse_miou"])) / 2 for row in table(whole))
    progress = load(whole / "last.pt").progress
    assert progress is not None
    assert progress["best"] == pytest.approx(best, abs=1e-5)  # every data set counts the same
    assert load(whole / "best.pt").class_names == NAMES
    del tmp_path


def test_where_it_comes_from_is_said_of_all_data_sets_and_teachers(whole: Path) -> None:
    provenance = load(whole / "best.pt").provenance
    assert provenance["data"] == (
        "fine, 8 pictures; validation by list valid.txt; coarse, 4 pictures; validation by list valid.txt; "
        "more, 3 pictures without labels"
    )
    assert provenance["teachers"] == "epoch the best of 3 on streets, 9 pictures; lr 0.003, mIoU 0.5000, commit abc"


def test_a_run_that_was_killed_goes_on_to_the_same_result(settings: TrainSettings, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(KilledError):
        train(settings, run, on_step=kill_at_step(3))  # an epoch is two steps
    train(settings, run, resume=True)
    assert_same_run(run, whole)


def test_its_plots_are_drawn(whole: Path, tmp_path: Path) -> None:
    for name in ("last.pt", "best.pt", "steps.csv"):
        (tmp_path / name).write_bytes((whole / name).read_bytes())
    for path in draw_run(tmp_path):
        with Image.open(path) as image:
            assert image.width > 96


@pytest.mark.parametrize("loaders", [0, 2])
def test_batches_are_the_same_whichever_process_loads_them(settings: TrainSettings, loaders: int) -> None:
    def first_two(job: Job) -> list[tuple[torch.Tensor, ...]]:
        batches = epoch_batches(job, 1)
        found = [next(batches) for _ in range(3)]
        return [(batch.pictures, batch.masks, batch.teacher) for batch in found if batch.teacher is not None]

    job = prepare(settings, None, no_word)
    job = replace(job, soft=soft_labels(job, no_word))
    here = first_two(job)
    there = first_two(replace(job, settings=replace(job.settings, loaders=loaders)))
    assert len(here) == 3  # over the end of an epoch, which a budget may go over
    for ours, theirs in zip(here, there, strict=True):
        assert all(torch.equal(mine, other) for mine, other in zip(ours, theirs, strict=True))


def test_the_teachers_opinion_is_the_mean_over_scales_and_mirror_images_at_half_size(settings: TrainSettings) -> None:
    job = prepare(replace(settings, teacher_scales=(1.0, 2.0)), None, no_word)
    soft = soft_labels(job, no_word)
    assert set(soft) == {(number, each.picture) for number, part in enumerate(job.parts) for each in part.split.train}
    assert {opinion.shape for opinion in soft.values()} == {(32, 48, 3)}
    sums = np.concatenate([opinion.astype(int).sum(axis=2).ravel() for opinion in soft.values()])
    assert abs(sums - 255).max() <= 1.5  # three numbers that are rounded
    jobs = [prepare(replace(settings, teacher_scales=(scale,)), None, no_word) for scale in (1.0, 2.0)]
    alone = [soft_labels(job, no_word) for job in jobs]
    for key, opinion in soft.items():
        mean = (alone[0][key].astype(float) + alone[1][key]) / 2
        assert abs(opinion - mean).max() <= 1


class _Colors(torch.nn.Module):
    """A teacher of three classes, which are the three colours."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return 3 * torch.nn.functional.avg_pool2d(pictures, 2)


def test_of_a_mirrored_picture_the_teachers_say_the_same_mirrored(settings: TrainSettings) -> None:
    job = prepare(settings, None, no_word)
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:, :40, 0], picture[:, 40:, 2] = 255, 255
    opinion, of_mirrored = (
        _opinion(job, [_Colors()], some).astype(int)  # type: ignore[list-item]
        for some in (picture, picture[:, ::-1].copy())
    )
    assert abs(of_mirrored[:, ::-1] - opinion).max() <= 1
    assert opinion[:, :18].argmax(2).max() == 0
    assert opinion[:, 22:].argmax(2).min() == 2


def test_two_teachers_are_their_mean(settings: TrainSettings, tmp_path: Path) -> None:
    (teacher,) = settings.teachers
    twice = replace(settings, teachers=(teacher, teacher))
    once, both = (soft_labels(prepare(some, None, no_word), no_word) for some in (settings, twice))
    assert all(np.array_equal(once[key], both[key]) for key in once)
    other = replace(settings, teachers=(teacher, str(make_teacher(tmp_path / "other.pt", NAMES[::-1]))))
    with pytest.raises(CheckpointError, match=r"other\.pt: teaches Car, Road, Sky; to be learnt are Sky, Road, Car"):
        prepare(other, None, no_word)


def test_a_teacher_of_other_classes_is_one_line_before_the_first_step(
    settings: TrainSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = make_teacher(tmp_path / "teacher.pt", ("Sky", "Road"))
    arguments = ["train", settings.data[0], "-o", str(tmp_path / "run"), "--teacher", str(teacher), "--distill", "1"]
    assert main(arguments) == 1
    cure = "and a teacher is to know these; train one on them first"
    assert (
        capsys.readouterr().err == f"roadmask: {teacher}: teaches Sky, Road; to be learnt are Sky, Road, Car, {cure}\n"
    )
    assert not (tmp_path / "run").exists()


def test_a_teacher_that_is_asked_nothing_is_an_error(settings: TrainSettings) -> None:
    alone = replace(settings, data=settings.data[:1], unlabelled=(), shares=(), distill=0.0)
    with pytest.raises(TrainingError, match=r"nothing is asked of the teacher.*--distill"):
        prepare(alone, None, no_word)
    with pytest.raises(TrainingError, match="--distill needs a teacher"):
        train(replace(alone, teachers=(), distill=0.5), Path("run"))


@pytest.mark.parametrize("name", ["data", "unlabelled", "shares", "teachers", "teacher_scales", "learn_all"])
def test_a_run_is_refused_with_another_data_set_share_or_teacher_by_name(
    settings: TrainSettings, whole: Path, name: str
) -> None:
    changes: dict[str, object] = {
        "data": settings.data[:1],
        "unlabelled": (),
        "shares": (1.0, 1.0, 1.0),
        "teachers": ("other.pt",),
        "teacher_scales": (1.0, 1.5),
        "learn_all": True,
    }
    with pytest.raises(CheckpointError, match=f"was started with {name} = ") as caught:
        train(replace(settings, **{name: changes[name]}), whole, resume=True)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_run_is_not_resumed_with_a_map_that_means_something_else_now(settings: TrainSettings, whole: Path) -> None:
    path = Path(settings.data[1].rpartition(":")[2])
    before = path.read_text(encoding="utf-8")
    path.write_text(json.dumps(json.loads(before) | {"vehicle": "Road"}), encoding="utf-8")
    try:
        with pytest.raises(CheckpointError, match="class vehicle was taken for Car in the run, not for Road"):
            train(settings, whole, resume=True)
    finally:
        path.write_text(before, encoding="utf-8")


def test_the_teacher_is_not_asked_again_by_a_run_that_is_whole(
    settings: TrainSettings, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roadmask.training.train.soft_labels", lambda *_arguments: pytest.fail("asked"))
    train(settings, whole, resume=True)


def test_an_epochs_line_names_every_data_set(
    settings: TrainSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = replace(settings, teachers=(), unlabelled=(), shares=(), distill=0.0, epochs=1)
    with Talk("") as talk:
        train(plain, tmp_path / "run", on_epoch=talk.epoch, on_message=talk.say)
    told = capsys.readouterr().err
    assert "% of each batch from fine: 6 pictures" in told
    assert "coarse 0." in told


def test_a_rate_is_searched_for_on_several_data_sets(
    settings: TrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("roadmask.training.lr_find.STEPS", 30)
    options = ["--batch", "2", "--crop", "32x32", "--weights", "none"]
    assert main(["lr-find", *settings.data, "-o", str(tmp_path), *options]) == 0
    *_, following = capsys.readouterr().out.strip().splitlines()
    assert following.startswith(f"next: roadmask train {' '.join(settings.data)} -o RUN --batch 2")


def test_context_may_be_new_to_a_network_and_changes_nothing_at_first(settings: TrainSettings, tmp_path: Path) -> None:
    parent = make_teacher(tmp_path / "parent.pt")
    job = prepare(tiny_settings(*settings.data, decoder=None, context="wide", start_from=str(parent)), None, no_word)
    assert job.network == UNetSettings(3, (8, 8, 8, 8), dropout=0.3, context="wide")
    pictures = torch.randn(1, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, before = start(job).network.eval()(pictures), load(parent).build()(pictures)
    assert torch.allclose(ours, before, atol=1e-5)  # channels lie elsewhere in memory, and are added in another order
