"""`roadmask train`: options to settings, what is told, and what a finished run leaves behind."""

from __future__ import annotations

import json
import shlex
import signal
from dataclasses import fields, replace
from pathlib import Path

import pytest
from PIL import Image

import roadmask.training.plots
import roadmask.training.session
from roadmask.stream.cli import main
from roadmask.training.command import train_command
from roadmask.training.settings import AugmentSettings, TrainSettings, from_plain, plain
from tests.support.datasets import NAMES, make_fastai, tiny_settings

pytestmark = pytest.mark.usefixtures("thin_encoder")

PLOTS = ("loss_and_miou.png", "learning_rate.png", "iou_per_class.png", "predictions.png")
# Differs from the defaults in every field.
CHANGED = TrainSettings(
    data=("my data", "idd:my map.json"),
    unlabelled=("more", "and more"),
    shares=(2.0, 1.0, 0.5, 0.25),
    valid_list="some list.txt",
    valid_drives=("A", "B"),
    split=0.25,
    learn_all=True,
    epochs=7,
    passes=3,
    budget_s=123456.5,
    batch=5,
    size=(64, 96),
    crop=(32, 64),
    lr=0.01,
    encoder_lr=0.002,
    pct_start=0.25,
    frozen_epochs=2,
    frozen_scales=1,
    layer_decay=0.7,
    weight_decay=0.1,
    clip=1.5,
    label_smoothing=0.0,
    average=0.5,
    class_weight_offset=1.02,
    lovasz=0.25,
    lovasz_from=0.6,
    teachers=("a/best.pt", "camvid-lite0"),
    teacher_scales=(0.75, 1.5),
    of_set=0.9,
    distill=0.3,
    encoder="lite2",
    weights="none",
    start_from="a/best.pt",
    decoder=(8, 7, 6, 5),
    convolution="plain",
    context="wide",
    dropout=0.2,
    augment=AugmentSettings(0.5, 2.5, 0.1, 0.2, 0.25, 0.35, 4.0, 0.45),
    seed=3,
    device="cpu",
    precision="fp32",
    loaders=2,
    license_note="only 'here'; not $there",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_fastai(tmp_path_factory.mktemp("data"))


def parsed(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> TrainSettings:
    """The settings that a command line means."""
    seen: list[TrainSettings] = []

    def note(settings: TrainSettings, _run: Path, *, resume: bool, stop_at: float | None) -> None:
        assert not resume
        assert stop_at is None
        seen.append(settings)

    monkeypatch.setattr(roadmask.training.session, "train_once", note)
    assert main(arguments) == 0
    return seen[0]


def test_without_options_the_settings_are_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parsed(["train", "camvid", "-o", "run"], monkeypatch) == TrainSettings(("camvid",))


def test_the_command_that_a_run_is_repeated_by_means_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    command = shlex.split(train_command(CHANGED, Path("my run")))
    assert command[:6] == ["roadmask", "train", "my data", "idd:my map.json", "-o", "my run"]
    assert parsed(command[1:], monkeypatch) == CHANGED


def test_every_setting_has_an_option() -> None:
    default = TrainSettings(())
    for field in fields(TrainSettings):
        assert getattr(CHANGED, field.name) != getattr(default, field.name), f"{field.name}: change it in CHANGED"
    for field in fields(AugmentSettings):
        assert getattr(CHANGED.augment, field.name) != getattr(default.augment, field.name)


ONE_CHANGE = [
    *(
        replace(TrainSettings(("camvid",)), **{field.name: getattr(CHANGED, field.name)})
        for field in fields(TrainSettings)
    ),
    *(
        replace(
            TrainSettings(("camvid",)),
            augment=replace(AugmentSettings(), **{field.name: getattr(CHANGED.augment, field.name)}),
        )
        for field in fields(AugmentSettings)
    ),
]


@pytest.mark.parametrize("settings", ONE_CHANGE)
def test_each_setting_alone_survives_the_command_line_and_json(
    settings: TrainSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert parsed(shlex.split(train_command(settings, Path("run")))[1:], monkeypatch) == settings
    assert from_plain(json.loads(json.dumps(plain(settings)))) == settings


def test_settings_at_their_defaults_make_a_short_command() -> None:
    assert train_command(TrainSettings(("camvid",)), Path("run")) == "roadmask train camvid -o run"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--crop", "64"),
        ("--size", "64x"),
        ("--decoder", "1,2,3"),
        ("--scale", "2"),
        ("--weights", "coco"),
        ("--epochs", "many"),
        ("--budget", "soon"),
        ("--budget", "8"),
        ("--shares", "1;2"),
        ("--encoder", "lite9"),
    ],
)
def test_an_option_that_cannot_be_read_is_bad_usage(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "camvid", "-o", "run", option, value]) == 2
    assert option in capsys.readouterr().err


@pytest.mark.parametrize("command", ["train", "data"])
def test_help_has_examples_and_a_line_for_every_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help-all"]) == 0
    told = capsys.readouterr().out
    assert f"\n  roadmask {command} camvid" in told
    if command == "train":
        for name in ("epochs", "encoder-lr", "valid-drive", "license-note", "start-from", "hue", "resume"):
            assert f"--{name}" in told


def test_a_run_from_the_command_line_ends_with_scores_plots_and_the_next_step(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    settings = replace(tiny_settings(data), epochs=1)
    arguments = shlex.split(train_command(settings, run))[1:]
    assert main(arguments) == 0
    told = capsys.readouterr()
    assert "epoch   1  train loss " in told.err
    assert "mIoU" in told.err
    assert "\r" not in told.err  # no progress bar where nobody looks
    assert all(name in told.out for name in NAMES)
    files = ("last.pt", "best.pt", "history.csv", "steps.csv", "settings.json", *PLOTS)
    assert {path.name for path in run.iterdir()} == set(files)
    assert all(f"wrote {run / name}" in told.out for name in files)
    assert f"next: roadmask export {run / 'best.pt'} -o model.onnx" in told.out
    assert json.loads((run / "settings.json").read_text(encoding="utf-8"))["command"] == " ".join(
        ["roadmask", *arguments]
    )

    assert main(arguments) == 1  # it is there already
    assert "go on with --resume" in capsys.readouterr().err

    for name in PLOTS:
        (run / name).unlink()
    assert main([*arguments, "--resume"]) == 0
    for name in PLOTS:
        with Image.open(run / name) as image:
            assert image.width > 3 * 96


def test_a_plot_that_fails_loses_nothing_but_itself(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise RuntimeError("out of ink")

    monkeypatch.setattr(roadmask.training.plots, "loss_and_miou", fail)
    run = tmp_path / "run"
    assert main(shlex.split(train_command(replace(tiny_settings(data), epochs=1), run))[1:]) == 0
    told = capsys.readouterr()
    assert "the plots could not be drawn (RuntimeError: out of ink)" in told.err
    assert f"wrote {run / 'best.pt'}" in told.out
    assert "png" not in told.out


def test_an_interrupted_run_says_how_to_go_on(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(roadmask.training.session, "train_network", interrupted)
    assert main(["train", str(data), "-o", str(tmp_path / "run"), "--epochs", "9"]) == 130
    assert f"roadmask train {data} -o {tmp_path / 'run'} --epochs 9 --resume" in capsys.readouterr().err


def test_a_run_that_a_cluster_ends_says_how_to_go_on_too(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*_arguments: object, **_options: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(roadmask.training.session, "train_network", ended)
    before = signal.getsignal(signal.SIGTERM)
    assert main(["train", str(data), "-o", str(tmp_path / "run")]) == 130
    assert "interrupted; go on with\n  roadmask train " in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_length_of_time_without_its_unit_is_refused_with_what_to_write(capsys: pytest.CaptureFixture[str]) -> None:
    """It was minutes in 1.0.0; in all other options it would be seconds."""
    assert main(["train", "camvid", "-o", "run", "--stop-after", "90"]) == 2
    assert "'90' is no length of time; say which unit: 90m or 90s" in capsys.readouterr().err


def test_bad_data_is_one_line_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(tmp_path / "nowhere"), "-o", str(tmp_path / "run"), "--device", "cpu"]) == 1
    assert capsys.readouterr().err == f"roadmask: {tmp_path / 'nowhere'}: no such folder\n"
