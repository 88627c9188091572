"""Exported models to start from and to be taught by: the network that is read computes what the file computes."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

from roadmask.export.convert import _to_onnx
from roadmask.export.deploy import DeployedNetwork
from roadmask.export.metadata import metadata
from roadmask.export.pictures import draw
from roadmask.stream.cli import main
from roadmask.stream.spec import METADATA_KEY
from roadmask.training import checkpoint as checkpoints
from roadmask.training.batches import to_input
from roadmask.training.checkpoint import Checkpoint
from roadmask.training.errors import CheckpointError
from roadmask.training.job import prepare
from roadmask.training.learner import start
from roadmask.training.public_sets import SEGNET_NAMES
from roadmask.training.shape import UNetSettings
from roadmask.training.teacher import soft_labels
from roadmask.training.train import train
from roadmask.training.trained import load_trained
from roadmask.training.unfold import renew_norms
from tests.support.datasets import make_fastai, tiny_settings
from tests.support.untrained import COLORS, HEIGHT, NAMES, WIDTH, untrained_checkpoint

CPU = torch.device("cpu")
SHAPES = [
    UNetSettings(len(NAMES), (8, 8, 8, 8), dropout=0.1),
    UNetSettings(len(NAMES), (24, 16, 12, 8), "plain", 0.1, "lite1", "wide"),
]
PICTURES = [draw(HEIGHT, WIDTH, seed=seed) for seed in range(8)]


def write_model(checkpoint: Checkpoint, path: Path) -> Path:
    graph = _to_onnx(DeployedNetwork(checkpoint), checkpoint)
    onnx.helper.set_model_props(graph, metadata(checkpoint))
    onnx.save(graph, path)
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Of each shape."""
    folder = tmp_path_factory.mktemp("models")
    return [write_model(untrained_checkpoint(shape), folder / f"{n}.onnx") for n, shape in enumerate(SHAPES)]


@pytest.fixture(params=range(len(SHAPES)), ids=["separable", "lite1-plain-wide"])
def model(request: pytest.FixtureRequest, models: list[Path]) -> tuple[UNetSettings, Path]:
    return SHAPES[request.param], models[request.param]


@pytest.fixture
def small(models: list[Path]) -> Path:
    return models[0]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the classes of `untrained.py`."""
    root = make_fastai(tmp_path_factory.mktemp("data"))
    (root / "codes.txt").write_text("\n".join(NAMES) + "\n", encoding="utf-8")
    return root


def scores_of(path: Path) -> Tensor:
    session = onnxruntime.InferenceSession(path)
    (scores,) = session.run(None, {"image": np.stack(PICTURES)})
    return torch.from_numpy(scores)


def no_word(_message: str) -> None:
    pass


def test_the_network_computes_what_the_file_computes(model: tuple[UNetSettings, Path]) -> None:
    shape, path = model
    checkpoint = load_trained(str(path))
    assert checkpoint.network == shape
    assert checkpoint.class_names == NAMES
    assert checkpoint.class_colors == COLORS
    assert (checkpoint.input_height, checkpoint.input_width) == (HEIGHT, WIDTH)
    network, expected, inputs = checkpoint.build(), scores_of(path), to_input(PICTURES, CPU)
    # Scores are of the order of 1; sums are added in another order.
    with torch.no_grad():
        assert torch.allclose(network(inputs), expected, atol=1e-4)
        renew_norms(network, inputs)
        assert torch.allclose(network(inputs), expected, atol=1e-4)


def test_with_its_norms_renewed_a_network_can_be_trained_on(model: tuple[UNetSettings, Path]) -> None:
    """In training norms go by the batch: on the pictures that they were renewed with, that changes nothing."""
    network, inputs = load_trained(str(model[1])).build(), to_input(PICTURES, CPU)
    with torch.no_grad():
        before = network(inputs)
        network.train().dropout.eval()
        off = (network(inputs) - before).abs().max()
    network = load_trained(str(model[1])).build()
    renew_norms(network, inputs)
    network.train().dropout.eval()
    scores = network(inputs)
    assert (scores - before).abs().max() < 1e-3 < off
    scores.square().mean().backward()
    assert all(value.grad is not None and bool(value.grad.isfinite().all()) for value in network.parameters())


def test_a_run_starts_from_a_model_whose_shape_and_head_it_keeps(small: Path, data: Path, tmp_path: Path) -> None:
    settings = tiny_settings(data, start_from=str(small), decoder=None, lr=0, encoder_lr=0, average=0, epochs=1)
    child = train(settings, tmp_path / "run")
    parent = load_trained(str(small))
    assert child.network.decoder_channels == (8, 8, 8, 8)
    for name in ("encoder._conv_stem.weight", "decoder.0.narrow.0.weight", "classifier.weight", "classifier.bias"):
        assert torch.equal(child.weights[name], parent.weights[name])
    origin = child.provenance["start_from"]
    assert origin.startswith("a model file, trained on drives, 8 pictures; epochs 1")
    assert str(small.parent) not in origin
    checkpoint = tmp_path / "run" / "best.pt"
    assert checkpoints.load(checkpoint).settings["start_from"] == str(small)


def test_the_terms_of_a_model_go_on_in_what_is_trained_from_it(small: Path, data: Path, tmp_path: Path) -> None:
    parent, terms = load_trained(str(small)), "streets: research only"
    paths = []
    for name in ("parent", "teacher"):
        paths.append(str(tmp_path / f"{name}.pt"))
        checkpoints.save(replace(parent, provenance={**parent.provenance, "license_note": terms}), Path(paths[-1]))
    settings = tiny_settings(data, start_from=paths[0], teachers=(paths[1],), decoder=None, distill=0.3)
    settings = replace(settings, license_note="mine: any use")
    assert prepare(settings, None, no_word).provenance["license_note"] == f"mine: any use; {terms}"


def test_a_run_starts_with_a_head_of_its_own_where_classes_are_others(small: Path, tmp_path: Path) -> None:
    job = prepare(tiny_settings(make_fastai(tmp_path), start_from=str(small), decoder=None), None, no_word)
    network, parent = start(job).network, load_trained(str(small))
    assert len(network.classifier.weight) == 3
    assert torch.equal(network.state_dict()["decoder.3.narrow.0.weight"], parent.weights["decoder.3.narrow.0.weight"])


def test_the_start_computes_what_the_model_does(small: Path, data: Path) -> None:
    job = prepare(tiny_settings(data, start_from=str(small), decoder=None), None, no_word)
    with torch.no_grad():
        network = start(job).network
        assert torch.allclose(network.eval()(to_input(PICTURES, CPU)), scores_of(small), atol=1e-4)
    means = network.state_dict()["encoder._bn0.running_mean"]
    assert means.abs().max() > 0.01, "norms that know no picture would undo it in the first step of training"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"decoder": (16, 8, 8, 8)}, "--decoder 8,8,8,8"),
        ({"encoder": "lite1"}, "--encoder lite0"),
        ({"convolution": "plain"}, "--convolution separable"),
    ],
)
def test_a_shape_that_is_asked_for_and_is_another_is_one_line(
    small: Path, data: Path, changes: dict[str, object], told: str
) -> None:
    with pytest.raises(CheckpointError, match="is of another shape; leave its options away, or pass") as caught:
        prepare(tiny_settings(data, start_from=str(small), **{"decoder": None, **changes}), None, no_word)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_network_with_context_does_not_lose_it(data: Path, models: list[Path]) -> None:
    path = models[1]
    assert prepare(tiny_settings(data, start_from=str(path), decoder=None), None, no_word).network.context == "wide"
    with pytest.raises(CheckpointError, match="--context wide"):
        prepare(tiny_settings(data, start_from=str(path), decoder=None, context="none"), None, no_word)


def test_a_model_teaches_as_its_checkpoint_does(small: Path, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    checkpoints.save(replace(untrained_checkpoint(SHAPES[0]), settings={"epochs": 1, "lr": 0.1}), path)
    by_each = [
        soft_labels(prepare(tiny_settings(data, teachers=(str(teacher),), distill=1.0), None, no_word), no_word)
        for teacher in (small, path)
    ]
    for key, opinion in by_each[0].items():
        assert abs(opinion.astype(int) - by_each[1][key]).max() <= 1  # in 255ths


# Of the box


def test_a_model_in_the_box_goes_by_its_name_whatever_lies_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "camvid-lite0").write_text("", encoding="utf-8")
    checkpoint = load_trained("camvid-lite0")
    assert checkpoint.network == UNetSettings(11, (96, 56, 40, 16), context="wide")
    assert checkpoint.class_names == SEGNET_NAMES[:-1]


def test_an_int8_model_is_refused_with_its_float_twin_named() -> None:
    with pytest.raises(CheckpointError, match=r"its weights are rounded \(int8\); give .*camvid-lite0\.onnx$"):
        load_trained("camvid-lite0-int8")


def test_a_name_that_is_nowhere_is_one_line_on_stderr(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(data), "-o", str(tmp_path / "run"), "--start-from", "camvid-lite9"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("roadmask: camvid-lite9: no such checkpoint, and no such model in the box (camvid-lite0")
    assert told.count("\n") == 1


# Files that are no models


@pytest.mark.parametrize("content", [b"", b"hello there\n", b"PK\x03\x04 cut off"])
def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.onnx: (not an ONNX file|does not describe itself)") as caught:
        load_trained(str(path))
    assert "\n" not in str(caught.value)


def test_a_model_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"a\.onnx: cannot be read \(No such file"):
        load_trained(str(tmp_path / "a.onnx"))


def changed(small: Path, path: Path, change: object) -> Path:
    graph = onnx.load(small)
    assert callable(change)
    change(graph)
    path.write_bytes(graph.SerializeToString())  # `onnx.save` would look into it first
    return path


def without_spec(graph: onnx.ModelProto) -> None:
    del graph.metadata_props[:]


def with_half_a_spec(graph: onnx.ModelProto) -> None:
    next(item for item in graph.metadata_props if item.key == METADATA_KEY).value = '{"classes": [{"name": "a"}]}'


def without_a_layer(graph: onnx.ModelProto) -> None:
    graph.graph.node.remove(next(node for node in graph.graph.node if node.op_type == "Conv"))


def without_weights(graph: onnx.ModelProto) -> None:
    name = next(node.input[1] for node in graph.graph.node if node.op_type == "Conv")
    graph.graph.initializer.remove(next(item for item in graph.graph.initializer if item.name == name))


def with_weights_elsewhere(graph: onnx.ModelProto) -> None:
    tensor = max(graph.graph.initializer, key=lambda item: len(item.raw_data))
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_spec, "does not describe itself"),
        (with_half_a_spec, "does not describe itself"),
        (without_a_layer, "holds no network of a shape that can be trained on here"),
        (without_weights, "its weights are not all in the file, as numbers"),
        (with_weights_elsewhere, "its weights are not all in the file, as numbers"),
    ],
)
def test_a_model_that_cannot_be_trained_on_is_one_line(
    small: Path, tmp_path: Path, change: object, message: str
) -> None:
    path = changed(small, tmp_path / "other.onnx", change)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_trained(str(path))
    assert "\n" not in str(caught.value)


def test_without_onnx_the_way_to_get_it_is_named(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(CheckpointError, match="install onnx: pip install onnx"):
        load_trained(str(small))
