"""A run with a budget: its schedule fills the time, and ends with it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import roadmask.training.train
from roadmask.stream.cli import main
from roadmask.training.checkpoint import load
from roadmask.training.command import train_command
from roadmask.training.errors import CheckpointError, TrainingError
from roadmask.training.options import parse_duration
from roadmask.training.plots import draw_run, learning_rate, loss_and_miou
from roadmask.training.schedule import one_cycle_rate
from roadmask.training.settings import TrainSettings
from roadmask.training.step_log import StepRow, read_steps
from roadmask.training.train import train
from tests.support.datasets import make_fastai, tiny_settings
from tests.support.same_run import KilledError, assert_same_run, kill_at_step

pytestmark = pytest.mark.usefixtures("thin_encoder")

STEP_S, SCORING_S = 1.0, 2.5


class Clock:
    """Goes on by itself only where work is done: a second a step, two and a half for the scores of an epoch."""

    def __init__(self) -> None:
        self.now = time.monotonic()

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_fastai(tmp_path_factory.mktemp("data"))


def timed_by_clock(patch: pytest.MonkeyPatch) -> Clock:
    """What training goes by from here on."""
    clock, take_step, evaluate = Clock(), roadmask.training.train.take_step, roadmask.training.train.evaluate

    def step(*arguments: Any) -> Any:
        clock.now += STEP_S
        return take_step(*arguments)

    def score(*arguments: Any, **options: Any) -> Any:
        clock.now += SCORING_S
        return evaluate(*arguments, **options)

    patch.setattr(roadmask.training.train, "time", clock)
    patch.setattr(roadmask.training.train, "take_step", step)
    patch.setattr(roadmask.training.train, "evaluate", score)
    return clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return timed_by_clock(monkeypatch)


def timed(data: Path, budget_s: float, **changes: object) -> TrainSettings:
    """Of two steps an epoch, if there is time; and of one epoch, were it not for the budget."""
    return tiny_settings(data, budget_s=budget_s, crop=(32, 32), epochs=1, **changes)


Whole = Callable[[float], tuple[Path, float]]


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """The folder of a run of a budget that nobody disturbed, and the seconds that it took; each is trained once."""

    @cache
    def run_of(budget_s: float) -> tuple[Path, float]:
        run = tmp_path_factory.mktemp("whole")
        with pytest.MonkeyPatch.context() as patch:
            clock = timed_by_clock(patch)
            started = clock.now
            train(timed(data, budget_s), run)
            return run, clock.now - started

    return run_of


@pytest.mark.parametrize(
    ("budget_s", "steps"),
    [
        (20, [2, 2, 2, 2, 2]),  # an epoch and its scores are 4.5 s: at 18 s there is time for two steps more
        (19, [2, 2, 2, 2, 1]),
        (17, [2, 2, 2, 4]),  # after 15.5 s another epoch has no time, and the last one goes on
        (1, [1]),
    ],
)
def test_a_run_ends_with_its_time_and_its_schedule_does_too(whole: Whole, budget_s: float, steps: list[int]) -> None:
    run, took_s = whole(budget_s)
    rows = read_steps(run / "steps.csv")
    assert list(Counter(row.epoch for row in rows).values()) == steps
    assert [row.step for row in rows] == list(range(1, sum(steps) + 1))
    assert budget_s <= took_s - SCORING_S < budget_s + STEP_S  # the last scores come on top
    last = one_cycle_rate(round(10 * (budget_s - STEP_S)), round(10 * budget_s), peak=3e-3, pct_start=0.3)
    assert rows[-1].lr <= last * (1 + 1e-6)  # as it is in the last second


def test_the_rate_follows_the_time_and_not_the_steps(whole: Whole) -> None:
    begins = [0, 1, 4.5, 5.5, 9, 10, 13.5, 14.5, 18, 19]
    assert [row.lr for row in read_steps(whole(20)[0] / "steps.csv")] == pytest.approx(
        [one_cycle_rate(round(10 * second), 200, peak=3e-3, pct_start=0.3) for second in begins]
    )


@pytest.mark.parametrize("fatal", [6, 45, 145])
def test_a_killed_run_has_the_time_left_that_it_had_after_its_last_epoch(
    data: Path, whole: Whole, tmp_path: Path, clock: Clock, fatal: int
) -> None:
    """`fatal` is a place in the schedule, in tenths of seconds, and in the first, second or last epoch."""
    with pytest.raises(KilledError):
        train(timed(data, 17), tmp_path / "run", on_step=kill_at_place(fatal))
    clock.now += 1000
    train(timed(data, 17), tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", whole(17)[0])


def kill_at_place(fatal: int) -> Any:
    def on_step(done: int, total: int, loss: float) -> None:
        kill_at_step(done if done >= fatal else -1)(done, total, loss)

    return on_step


def test_a_run_whose_budget_is_spent_is_whole(data: Path, whole: Whole, clock: Clock) -> None:
    run, _ = whole(17)
    before, rows = (run / "last.pt").read_bytes(), read_steps(run / "steps.csv")
    at = clock.now
    train(timed(data, 17), run, resume=True)
    assert clock.now == at
    assert (run / "last.pt").read_bytes() == before
    assert read_steps(run / "steps.csv") == rows
    with pytest.raises(CheckpointError, match=r"was started with budget_s = 17, not 20"):
        train(timed(data, 20), run, resume=True)


@pytest.mark.usefixtures("no_plots")
def test_a_run_that_was_stopped_says_how_much_of_its_time_is_spent(
    data: Path, tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = train_command(timed(data, 17), tmp_path).split()[1:]
    clock.now += 1
    assert main([*arguments, "--stop-after", "0"]) == 0
    told = capsys.readouterr().out
    assert "stopped after epoch 1, 4 of 17 seconds, as its time was over; go on with" in told
    assert "--budget 17s" in told
    assert main([*arguments, "--resume"]) == 0
    told_then = capsys.readouterr()
    assert "resuming after epoch 1, 4 of 17 seconds" in told_then.err
    assert "next: roadmask export" in told_then.out


def test_the_plots_of_a_budget_are_by_its_time(data: Path, tmp_path: Path, clock: Clock) -> None:
    train(timed(data, 17, frozen_epochs=1), tmp_path)
    assert clock.now > 0
    assert all(path.is_file() for path in draw_run(tmp_path))
    history = load(tmp_path / "last.pt").progress["history"]  # type: ignore[index]
    (axes,) = learning_rate(timed(data, 17, frozen_epochs=1), 2, history).axes
    decoder, encoder = axes.get_lines()
    assert axes.get_xlabel() == "second"
    assert (decoder.get_xdata()[0], decoder.get_xdata()[-1]) == (0, pytest.approx(16.9))
    assert encoder.get_xdata()[0] == pytest.approx(4.5)  # an epoch, with its scores
    (axes,) = learning_rate(timed(data, 5400), 2, history).axes
    assert axes.get_xlabel() == "minute"
    assert axes.get_lines()[0].get_xdata()[-1] == pytest.approx(90, abs=0.01)


def test_each_steps_loss_is_shown_within_its_epoch_however_long_that_was() -> None:
    rows = [StepRow(step, epoch, 1.0, 1.0, 1.0, 1.0, 1.0) for step, epoch in enumerate([1, 1, 2, 2, 2, 2], start=1)]
    history = [
        {"epoch": epoch, "train_loss": 1.0, "valid_loss": 1.0, "miou": 0.5, "accuracy": 0.5, "other_miou": 0.25}
        for epoch in (1, 2)
    ]
    losses, scores = loss_and_miou(history, rows).axes
    assert list(losses.get_lines()[0].get_xdata()) == [0.5, 1, 1.25, 1.5, 1.75, 2]
    told = [text.get_text() for text in losses.get_legend().get_texts()]
    assert told == ["train, each step", "train", "validation"]
    assert [line.get_label() for line in scores.get_lines()] == ["mean IoU", "pixel accuracy", "mean IoU, other"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("8m", 480), ("1.5h", 5400), ("1h30m", 5400), ("0.5m", 30), ("2d", 172800)]
)
def test_a_time_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text, "--budget") == seconds


def test_no_time_at_all_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="--budget 0 is not between 1 and"):
        train(timed(data, 0.0), tmp_path)
