"""What surrounds a run: its log of steps, divergence, stopping in time, cross-validation, the search for a rate."""

from __future__ import annotations

import csv
import math
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roadmask.stream.cli import main
from roadmask.training.checkpoint import load
from roadmask.training.command import train_command
from roadmask.training.errors import CheckpointError, DataError, TrainingError
from roadmask.training.folds import mean_row, train_in_folds
from roadmask.training.lr_find import STEPS, Point, lr_find, rate_at, suggest
from roadmask.training.settings import TrainSettings
from roadmask.training.step import Step
from roadmask.training.step_log import StepLog, StepRow, read_steps
from roadmask.training.train import train
from tests.support.datasets import CODES, draw_ids, make_fastai, save_pair, tiny_settings

pytestmark = pytest.mark.usefixtures("thin_encoder")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_fastai(tmp_path_factory.mktemp("data"))


def short(data: Path, **changes: object) -> TrainSettings:
    return tiny_settings(data, **{"epochs": 2, "crop": (32, 64), **changes})


def step_row(step: int) -> StepRow:
    return StepRow(step, 1, 0.1 + step, 3e-3, 1e-3, 2.5, 0.25)


def test_rows_past_the_checkpoint_and_a_row_that_a_kill_cut_off_go(tmp_path: Path) -> None:
    path = tmp_path / "steps.csv"
    with StepLog(path, done=0) as log:
        for step in range(1, 6):
            log.write(step_row(step))
            assert read_steps(path)[-1] == step_row(step)  # on disk at once
    path.write_text(path.read_text(encoding="utf-8") + "6,1,0.", encoding="utf-8")
    with StepLog(path, done=3) as log:
        log.write(step_row(4))
    assert read_steps(path) == [step_row(step) for step in (1, 2, 3, 4)]
    heading = path.read_text(encoding="utf-8").splitlines()[0]
    assert heading == "step,epoch,loss,lr,encoder_lr,gradient_norm,seconds"


def test_a_log_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"steps\.csv: cannot be written \(No such file or directory\)"):
        StepLog(tmp_path / "nowhere" / "steps.csv", done=0)


def test_a_run_that_diverges_at_once_says_where_and_what_to_lower(data: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as raised:
        train(short(data, lr=1e30, encoder_lr=1e30), tmp_path)
    message = str(raised.value)
    assert "in step 2 of 4, at a rate of " in message
    assert message.endswith("lower --lr and --encoder-lr, and start again")
    assert "\n" not in message
    assert not math.isfinite(read_steps(tmp_path / "steps.csv")[-1].loss)


def test_a_run_that_diverges_later_names_a_checkpoint_that_can_be_gone_on_from(data: Path, tmp_path: Path) -> None:
    """The encoder is frozen in the first epoch, so that its absurd rate strikes in the second."""
    run = tmp_path / "run"
    settings = short(data, epochs=3, frozen_epochs=1, encoder_lr=1e30)
    with pytest.raises(TrainingError, match=r"of 6, at a rate of .* \(encoder .*e\+.*\); lower") as raised:
        train(settings, run)
    named = str(raised.value).rpartition("--start-from ")[2]
    assert named == str(run / "last.pt")
    assert "from epoch 1: " in str(raised.value)
    after = train(short(data, epochs=1, start_from=named), tmp_path / "after")
    assert all(bool(value.isfinite().all()) for value in after.weights.values())


def test_weights_that_give_no_number_on_the_validation_pictures_are_not_saved(data: Path, tmp_path: Path) -> None:
    """With one step an epoch, only validation can see what that step did."""
    with pytest.raises(TrainingError, match="validation loss is nan after epoch 1, at a rate of"):
        train(short(data, batch=6, average=0, lr=1e30, encoder_lr=1e30), tmp_path)
    assert not (tmp_path / "last.pt").exists()
    assert not (tmp_path / "best.pt").exists()


@pytest.mark.usefixtures("no_plots")
def test_a_run_whose_time_is_over_ends_after_the_epoch_and_goes_on_by_the_command_it_tells(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    arguments = shlex.split(train_command(short(data), run))[1:]
    assert main([*arguments, "--stop-after", "0"]) == 0
    told = capsys.readouterr().out
    assert "stopped after epoch 1 of 2" in told
    assert "roadmask export" not in told
    command = told.strip().splitlines()[-1].strip()
    assert command == f"{train_command(short(data), run)} --resume"
    assert main(shlex.split(command)[1:]) == 0
    assert "next: roadmask export" in capsys.readouterr().out
    progress = load(run / "last.pt").progress
    assert progress is not None
    assert progress["epoch"] == 2


# Folds


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def three_drives(root: Path) -> Path:
    """Drive C shows no car."""
    make_fastai(root, count=6, valid=2)
    for index in range(2):
        ids = draw_ids(index)
        ids[ids == CODES.index("Car")] = CODES.index("Road")
        save_pair(root / "images" / f"C_{index:04}.png", root / "labels" / f"C_{index:04}_P.png", ids)
    return root


@pytest.mark.usefixtures("no_plots")
def test_folds_hold_out_every_drive_in_turn_and_go_on_where_they_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = short(three_drives(tmp_path / "data"), epochs=1)
    output = tmp_path / "run"
    arguments = [*shlex.split(train_command(settings, output))[1:], "--folds", "drives"]
    assert main([*arguments, "--stop-after", "0"]) == 0  # one fold is as long as its only epoch, and goes whole
    first = (output / "fold-A" / "last.pt").stat()
    assert main([*arguments, "--resume"]) == 0
    told = capsys.readouterr()
    assert (output / "fold-A" / "last.pt").stat().st_mtime_ns == first.st_mtime_ns
    assert f"drive A: trained already, in {output / 'fold-A'}" in told.out
    assert "7 pictures" not in told.err
    assert "6 pictures to train on, 2 to score on (by drive C)" in told.err
    assert f"wrote {output / 'folds.csv'}" in told.out

    *folds, mean = rows_of(output / "folds.csv")
    assert [(row["drive"], row["pictures"]) for row in folds] == [("A", "3"), ("B", "3"), ("C", "2")]
    assert folds[2]["iou_Car"] == "nan"
    for row in folds:
        last = load(output / f"fold-{row['drive']}" / "last.pt")
        assert last.settings["valid_drives"] == [row["drive"]]
        assert float(row["accuracy"]) == last.scores["accuracy"]
        shown = [float(value) for key, value in row.items() if key.startswith("iou_") and value != "nan"]
        assert float(row["miou"]) == pytest.approx(np.mean(shown), abs=1e-5)
    assert mean["drive"] == "mean"
    assert float(mean["iou_Car"]) == pytest.approx((float(folds[0]["iou_Car"]) + float(folds[1]["iou_Car"])) / 2, 1e-4)
    assert all(name in told.out for name in ("Sky", "Road", "Car", "mIoU", "accuracy", "mean"))

    assert main(arguments) == 1
    assert "holds a run already; go on with --resume" in capsys.readouterr().err


def test_a_column_without_any_value_has_a_mean_of_nan() -> None:
    rows = [{"drive": drive, "pictures": 2, "miou": 0.5, "iou_Bus": float("nan")} for drive in "AB"]
    mean = mean_row(rows)
    assert mean["miou"] == 0.5
    assert mean["pictures"] == 4
    assert math.isnan(mean["iou_Bus"])


@pytest.mark.parametrize("option", [["--valid-drive", "A"], ["--valid-list", "some.txt"], ["--split", "0.2"]])
def test_folds_choose_the_validation_pictures_alone(
    data: Path, tmp_path: Path, option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(data), "-o", str(tmp_path / "run"), "--folds", "drives", *option]) == 2
    assert "leave out --valid-drive, --valid-list and --split" in capsys.readouterr().err


def test_one_drive_cannot_be_folded(tmp_path: Path) -> None:
    root = make_fastai(tmp_path / "data", count=1, valid=1)
    with pytest.raises(DataError, match=r"only one drive \(A\); folds need two"):
        train_in_folds(short(root), tmp_path / "run", resume=False, stop_at=None)


def test_a_drive_of_nothing_but_void_is_named_before_any_fold_trains(tmp_path: Path) -> None:
    root = make_fastai(tmp_path / "data", count=4)
    ids = np.full((64, 96), CODES.index("Void"), np.uint8)
    save_pair(root / "images" / "Z_1.png", root / "labels" / "Z_1_P.png", ids)
    with pytest.raises(DataError, match=r"drive 'Z' cannot be held out: .* every pixel of the labels is void"):
        train_in_folds(short(root), tmp_path / "run", resume=False, stop_at=None)
    assert not (tmp_path / "run").exists()


def test_folds_are_not_resumed_with_other_settings(data: Path, tmp_path: Path) -> None:
    settings = short(data, epochs=1)
    train(replace(settings, valid_drives=("B",)), tmp_path / "fold-B")
    with pytest.raises(CheckpointError, match=r"fold-B: was started with lr = 0\.003, not 0\.5"):
        train_in_folds(replace(settings, lr=0.5), tmp_path, resume=True, stop_at=None)
    assert not (tmp_path / "fold-A").exists()  # found before the first


# The search for a rate


def curve(loss_at: Callable[[float], float]) -> list[Point]:
    """What a smoothed loss that depends on the logarithm of the rate (-7 to 1) gives."""
    rates = [rate_at(step) for step in range(STEPS)]
    return [Point(rate, rate / 3, 0.0, loss_at(math.log10(rate))) for rate in rates]


def test_the_rates_go_from_1e_minus_7_to_10_by_one_factor() -> None:
    assert rate_at(0) == pytest.approx(1e-7)
    assert rate_at(STEPS - 1) == pytest.approx(10)
    assert rate_at(8) / rate_at(7) == pytest.approx(rate_at(1) / rate_at(0))


def test_the_steepest_descent_is_where_the_loss_falls_fastest() -> None:
    points = curve(lambda exponent: 1 - math.tanh(exponent + 3))  # steepest at 1e-3
    assert math.log10(suggest(points).steepest.lr) == pytest.approx(-3, abs=0.1)  # a step is a factor of 10^0.08


def test_the_valley_is_half_way_down_the_longest_fall() -> None:
    """A loss that falls from 1e-5 to 1e-2 and then rises.

    Of the 85 points looked at, from the 11th on, numbers 15 to 52 fall: 38 with the one at the top before it. A third
    is 12, half of that 6, so the answer is the 18th behind the one before the top.
    """
    points = curve(lambda exponent: 5 - exponent if -5 <= exponent <= -2 else (10.0 if exponent < -5 else 8 + exponent))
    falling = [index for index, point in enumerate(points) if -5 <= math.log10(point.lr) <= -2]
    suggested = points.index(suggest(points).valley)
    assert falling[0] < suggested < falling[-1]
    assert suggested - falling[0] == pytest.approx(len(falling) / 2, abs=2)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (curve(lambda exponent: exponent), "falls at no rate; look at the data set"),
        (curve(lambda exponent: exponent)[:12], "exploded after 12 steps"),
        ([], "exploded after 0 steps"),
    ],
)
def test_a_curve_that_says_nothing_is_told_as_such(points: list[Point], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        suggest(points)


def test_the_careful_suggestion_is_the_lower_rate() -> None:
    points = curve(lambda exponent: 1 - math.tanh(exponent + 3))
    found = suggest(points)
    assert found.careful.lr == min(found.steepest.lr, found.valley.lr)


def test_lr_find_leaves_a_table_a_plot_and_the_command_to_train_with(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roadmask.training.lr_find.STEPS", 40)
    arguments = ["lr-find", str(data), "-o", str(tmp_path), "--batch", "2", "--crop", "32x32", "--weights", "none"]
    assert main(arguments) == 0
    told = capsys.readouterr().out
    rows = rows_of(tmp_path / "lr_find.csv")
    assert list(rows[0]) == ["lr", "encoder_lr", "loss", "smoothed_loss"]
    assert 20 < len(rows) <= 40
    mean = 0.0
    for step, row in enumerate(rows):
        assert float(row["lr"]) == pytest.approx(rate_at(step))
        assert float(row["encoder_lr"]) == pytest.approx(rate_at(step) / 3)
        mean = 0.98 * mean + 0.02 * float(row["loss"])
        assert float(row["smoothed_loss"]) == pytest.approx(mean / (1 - 0.98 ** (step + 1)))
    with Image.open(tmp_path / "lr_find.png") as image:
        assert image.width > 400
    *_, steepest, valley, following = told.strip().splitlines()
    assert steepest.startswith("steepest descent: ")
    assert valley.startswith("valley: ")
    words = shlex.split(following.removeprefix("next: "))
    assert words[:5] == ["roadmask", "train", str(data), "-o", "RUN"]
    lr, encoder_lr = (float(words[words.index(name) + 1]) for name in ("--lr", "--encoder-lr"))
    assert lr == min(float(steepest.split()[2]), float(valley.split()[1]))
    assert lr / encoder_lr == pytest.approx(3, rel=0.05)  # both are rounded to two digits

    assert main(arguments) == 1
    assert "lr_find.csv: exists; pass --overwrite" in capsys.readouterr().err


def test_the_search_is_the_same_again_by_the_seed(data: Path) -> None:
    settings = TrainSettings(
        (str(data),), batch=2, crop=(32, 32), weights="none", decoder=(8, 8, 8, 8), device="cpu", seed=4
    )

    def first_losses() -> list[float]:
        losses: list[float] = []

        def note(done: int, _total: int, smoothed: float) -> None:
            losses.append(smoothed)
            if done == 4:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            lr_find(settings, on_point=note)
        return losses

    assert first_losses() == first_losses()


def test_an_explosion_ends_the_search(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([1.0, 1.0, 1.0, 1000.0, 1.0])
    monkeypatch.setattr("roadmask.training.lr_find.take_step", lambda *_arguments: Step(next(losses), 1.0))
    settings = TrainSettings((str(data),), batch=2, crop=(32, 32), weights="none", decoder=(8, 8, 8, 8), device="cpu")
    points = lr_find(settings)
    assert [point.loss for point in points] == [1, 1, 1, 1000]
    assert points[-1].smoothed_loss > 4 * points[0].smoothed_loss
