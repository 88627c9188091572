"""Checkpoints that may come from anywhere: what is wrong in one is a line, whatever field it is in."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from roadmask.export.convert import export_model
from roadmask.stream.cli import main
from roadmask.stream.spec import METADATA_KEY
from roadmask.training import checkpoint as checkpoints
from roadmask.training.checkpoint import Checkpoint
from roadmask.training.errors import CheckpointError
from roadmask.training.field_types import fits
from roadmask.training.run_folder import load_previous
from roadmask.training.settings import TrainSettings, plain
from roadmask.training.trained import load_trained
from tests.support.power import Disk
from tests.support.untrained import NAMES, save_untrained

Content = dict[str, Any]
NESTED: Any = []
for _ in range(300):
    NESTED = [NESTED]
WRONG = (None, True, "text", 10**400, -1, float("nan"), [], {}, NESTED, {"a": NESTED}, torch.zeros(3), ["x", 1])


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Content:
    path = save_untrained(tmp_path_factory.mktemp("run"))
    content: Content = torch.load(path, weights_only=True)
    return content


BEGIN = "best.pt: a checkpoint of roadmask, but"


def told(content: Content) -> str:
    """What is said of it behind `BEGIN`; nothing, if it is a checkpoint."""
    fault = ""
    try:
        checkpoints.checked(content, BEGIN).build()
    except CheckpointError as exc:
        fault = str(exc)
    assert fault.startswith(BEGIN * bool(fault))
    assert "\n" not in fault
    assert len(fault) < 300
    return fault.removeprefix(BEGIN).strip()


# What may be so: there are runs without such fields, settings are for people, and a mean is any number.
RIGHT: dict[str, tuple[Any, ...]] = {
    "settings": ({}, {"a": NESTED}),
    "provenance": ({},),
    "scores": ({},),
    "progress": (None, {}, {"a": NESTED}),
    "input_mean": (-1,),
}


@pytest.mark.parametrize("field", Checkpoint.__slots__)
def test_a_field_that_is_missing_or_wrong_is_named_in_one_line(field: str, written: Content) -> None:
    assert told(written) == ""
    without = {name: value for name, value in written.items() if name != field}
    assert told(without) == f"{field!r} is missing"
    for value in WRONG:
        right = any(value is one or (type(value) is type(one) and value == one) for one in RIGHT.get(field, ()))
        assert bool(told({**written, field: value})) is not right, value


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")
def test_a_checkpoint_is_on_disk_before_it_has_its_name(
    written: Content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, replace = Disk(monkeypatch), os.replace

    def replaced(source: Path, target: Path) -> None:
        assert disk.has(Path(source))
        replace(source, target)

    monkeypatch.setattr(os, "replace", replaced)
    checkpoints.save(checkpoints.checked(written, BEGIN), tmp_path / "last.pt")
    assert disk.has(tmp_path / "last.pt")


def test_of_a_file_it_is_said_in_one_line_with_its_name(written: Content, tmp_path: Path) -> None:
    for change, fault in (
        ({"stride": None}, "its stride is no int"),
        ({"version": "1"}, "its version is missing or no"),
    ):
        torch.save({**written, **change}, tmp_path / "a.pt")
        with pytest.raises(CheckpointError, match=f"^{tmp_path / 'a.pt'}: a checkpoint of roadmask, but {fault}"):
            checkpoints.load(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("class_names", ["Sky\x1b[2J", *NAMES[1:]], "name is no word"),
        ("class_names", ["x" * 101, *NAMES[1:]], "name is no word"),
        ("class_names", NAMES[1:], "5 classes, 4 names and 5 colours"),
        ("class_colors", [[0, 0, 256]] * 5, "not three numbers of 0 to 255"),
        ("input_std", 0, "are no statistics"),
        ("input_mean", float("inf"), "are no statistics"),
        ("input_height", 320_000, "its input of 96x320000 in steps of 32 is none"),
        ("input_height", 33, "its input of 96x33 in steps of 32 is none"),
        ("stride", 1, "in steps of 1 is none"),
        ("provenance", {"data": "x" * 2_000_000}, "of no size"),
        ("settings", {"data": ["a"], "extra": [0] * 600_000}, "of no size"),
        ("settings", {"data": 7}, "its settings' data is no"),
        ("settings", {"lr": "fast"}, "its settings' lr is no float"),
        ("settings", {"crop": [1, 2, 3]}, "its settings' crop is no"),
        ("settings", {"budget_s": "8m"}, "its settings' budget_s is no"),
        ("scores", {"miou": "high"}, "its scores is no"),
    ],
)
def test_a_value_that_cannot_be_is_told(field: str, value: object, message: str, written: Content) -> None:
    assert message in told({**written, field: value})


@pytest.mark.parametrize(
    "change",
    [
        {"class_count": 0},
        {"class_count": 10**6},
        {"decoder_channels": [8, 8, 8]},
        {"decoder_channels": [8, 8, 8, 10**6]},
        {"decoder_channels": [16, 8, 8, 8]},
        {"decoder_channels": 8},
        {"convolution": "round"},
        {"convolution": "plain"},
        {"encoder": "lite9"},
        {"encoder": "lite2"},
        {"context": "wide"},
        {"context": ["wide"]},
        {"dropout": 2.0},
        {"dropout": float("nan")},
        {"wings": 2},
    ],
)
def test_a_network_that_cannot_be_or_is_not_that_of_the_weights_is_told(change: Content, written: Content) -> None:
    assert told({**written, "network": {**written["network"], **change}})


@pytest.mark.parametrize(
    "change",
    [
        lambda weight: weight[:1],
        lambda weight: weight.to(torch.int32),
        lambda weight: weight.to(torch.complex64),
        lambda weight: weight.to_sparse(),
        lambda weight: weight.tolist(),
        lambda _weight: None,
    ],
)
def test_a_weight_of_another_shape_or_kind_is_told(change: Callable[[torch.Tensor], object], written: Content) -> None:
    weights = dict(written["weights"])
    weights["classifier.weight"] = change(weights["classifier.weight"])
    assert told({**written, "weights": weights})
    del weights["classifier.weight"]
    assert told({**written, "weights": weights}) == "the weights do not fit the network that it describes"


def test_to_start_from_weights_of_another_shape_is_one_line_and_begins_nothing(
    fine: Path, written: Content, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = {name: value.expand(2, *value.shape) for name, value in written["weights"].items()}
    torch.save({**written, "weights": weights}, tmp_path / "other.pt")
    command = ["train", str(fine), "-o", str(tmp_path / "run"), "--start-from", str(tmp_path / "other.pt")]
    assert main(command) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"roadmask: {tmp_path / 'other.pt'}: a checkpoint of roadmask, but the weights do not fit")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"progress": {"epoch": 1}}, "its weights is missing"),
        ({"progress": {"epoch": "1", "weights": {}, "optimizer": {}, "best": 0, "history": []}}, "its epoch is no int"),
        ({"settings": {}}, "its settings are not those of a run"),
        ({"settings": {"data": ["a"], "augment": {"wings": 1}}}, "its settings are not those of a run"),
    ],
)
def test_a_run_that_cannot_be_gone_on_with_is_one_line(
    change: Content, message: str, written: Content, tmp_path: Path
) -> None:
    settings = TrainSettings(("drives",))
    progress = {"epoch": 1, "weights": {}, "optimizer": {}, "best": 0.5, "history": []}
    torch.save({**written, "settings": plain(settings), "progress": progress, **change}, tmp_path / "last.pt")
    with pytest.raises(CheckpointError, match=message) as caught:
        load_previous(tmp_path, settings, resume=True)
    assert "\n" not in str(caught.value)


def test_sizes_are_told_width_first(written: Content, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress = {"epoch": 1, "weights": {}, "optimizer": {}, "best": 0.5, "history": []}
    before, now = TrainSettings(("drives",), crop=(288, 384)), TrainSettings(("drives",), crop=(64, 96))
    torch.save({**written, "settings": plain(before), "progress": progress}, tmp_path / "last.pt")
    with pytest.raises(CheckpointError, match="was started with crop = 384x288, not 96x64"):
        load_previous(tmp_path, now, resume=True)
    assert main(["train", "drives", "-o", "run", "--crop", "100x64"]) == 2
    assert (
        "100x64: the network's width and height must be multiples of 32; the nearest is 96x64"
        in capsys.readouterr().err
    )


# Model files to train on


def in_spec(*path: str | int, to: object) -> Callable[[onnx.ModelProto], None]:
    def change(graph: onnx.ModelProto) -> None:
        item = next(item for item in graph.metadata_props if item.key == METADATA_KEY)
        content = place = json.loads(item.value)
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to
        item.value = json.dumps(content)

    return change


def weight_of(shape: tuple[int, ...], *, bias: int | None = None) -> Callable[[onnx.ModelProto], None]:
    """The last convolution's weight, and its bias."""

    def change(graph: onnx.ModelProto) -> None:
        last = [node for node in graph.graph.node if node.op_type == "Conv"][-1]
        shapes = [shape, (bias,)] if bias is not None else [shape]
        for name, one in zip(last.input[1:], shapes, strict=False):
            tensor = next(item for item in graph.graph.initializer if item.name == name)
            tensor.CopyFrom(numpy_helper.from_array(np.zeros(one, np.float32), name))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (in_spec("input", "height", to="64"), "its input_height is no int"),
        (in_spec("input", "height", to=320_000), "is none that the network can have"),
        (in_spec("classes", 0, "name", to=7), "its class_names is no"),
        (in_spec("classes", 0, "name", to="a\nb"), "name is no word"),
        (in_spec("classes", 0, "color", to=[1, 2]), "its class_colors is no"),
        (in_spec("provenance", to=[["a", {}]]), "its provenance is no"),
        (in_spec("provenance", "quantization", to={}), "its weights are rounded"),
        (in_spec("provenance", "scores", to=7), "its scores is no"),
        (weight_of((4, 8, 1, 1), bias=4), "it has 4 classes, 5 names"),
        (weight_of((5, 8, 1, 1), bias=1), "not those of convolutions"),
        (weight_of((0, 8, 1, 1), bias=0), "not those of convolutions"),
        (weight_of(()), "its weights are not"),
    ],
)
def test_a_model_to_train_on_whose_fields_are_wrong_is_one_line(
    change: Callable[[onnx.ModelProto], None], message: str, model_file: Path, tmp_path: Path
) -> None:
    graph = onnx.load(model_file)
    change(graph)
    path = tmp_path / "other.onnx"
    path.write_bytes(graph.SerializeToString())
    with pytest.raises(CheckpointError, match=message) as caught:
        load_trained(str(path))
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    export_model(save_untrained(path.parent), path)
    return path


def test_a_value_fits_the_type_that_a_field_declares() -> None:
    assert fits([1, 2], tuple[int, int] | None)
    assert fits(1, float)
    assert not fits(True, int)
    assert not fits([1, 2, 3], tuple[int, int])
    assert not fits(10**30, int)
