"""The fp16 twin of a model file: what it promises at its borders, and that it computes in fp16 between them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from roadmask.export import verify
from roadmask.export.errors import ExportError
from roadmask.export.half import halve_model
from roadmask.export.pictures import Samples, draw
from roadmask.export.quantize import quantize_model
from roadmask.stream.cli import main
from roadmask.stream.network.model import Model, find_model
from tests.support.untrained import NAMES


@pytest.fixture(scope="module")
def half_path(float_path: Path) -> Path:
    path = float_path.with_name("model-fp16.onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(verify.MIN_EQUAL_LABELS, "fp16", 0.95)  # an untrained network's classes nearly tie
        halve_model(float_path, path)
    return path


def test_its_labels_are_those_of_the_trained_model_in_the_box_but_two_in_a_hundred(tmp_path: Path) -> None:
    picture = Samples((draw(96, 128, seed=1),), "a drawn picture")  # one: a CPU computes fp16 slowly
    report = halve_model(find_model(), tmp_path / "fp16.onnx", samples=picture)
    assert report.equal_labels > 0.98
    assert report.max_difference > 0  # or it would compute in float32
    assert (tmp_path / "fp16.onnx").stat().st_size < 0.55 * find_model().stat().st_size


def test_pictures_stay_uint8_and_scores_float32_of_any_size(half_path: Path) -> None:
    graph = onnx.load_model(half_path).graph
    assert graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    assert graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    for shape in ((1, 64, 96), (3, 64, 96), (2, 160, 64)):
        scores = Model.load(half_path, device="cpu").scores(np.zeros((*shape, 3), np.uint8))
        assert scores.shape == (shape[0], len(NAMES), shape[1] // 2, shape[2] // 2)
        assert scores.dtype == np.float32


def test_everything_between_is_in_fp16_but_how_much_to_enlarge(half_path: Path) -> None:
    model = onnx.load_model(half_path)
    in_float = {item.name for item in model.graph.initializer if item.data_type == TensorProto.FLOAT}
    assert in_float == {node.input[2] for node in model.graph.node if node.op_type == "Resize"}
    casts = [onnx.helper.get_node_attr_value(node, "to") for node in model.graph.node if node.op_type == "Cast"]
    assert casts == [TensorProto.FLOAT16, TensorProto.FLOAT]


def test_it_keeps_the_spec_says_how_it_was_made_and_claims_no_scores(half_path: Path, float_path: Path) -> None:
    twin, spec = (Model.load(path, device="cpu").spec for path in (half_path, float_path))
    assert twin.classes == spec.classes
    assert twin.provenance.pop("quantization").startswith("fp16: ")
    assert twin.provenance == spec.provenance
    assert spec.scores
    assert not twin.scores


def test_the_same_model_gives_the_same_bytes(half_path: Path, float_path: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(verify.MIN_EQUAL_LABELS, "fp16", 0.95)
        halve_model(float_path, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == half_path.read_bytes()


def test_one_that_differs_too_much_is_not_written(
    float_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(verify.MIN_EQUAL_LABELS, "fp16", 1.01)
    with pytest.raises(ExportError, match=r"the fp16 model differs too much: .* stay with the float32 model"):
        halve_model(float_path, tmp_path / "fp16.onnx")
    assert not list(tmp_path.iterdir())


def test_a_twin_has_no_twin(half_path: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="is no float32 model; give the float32 one"):
        halve_model(half_path, tmp_path / "twice.onnx")
    with pytest.raises(ExportError, match="is no float32 model; give the float32 one"):
        quantize_model(half_path, tmp_path / "twice.onnx", tmp_path)


def test_the_command_makes_a_twin_of_a_checkpoint_and_of_a_model(
    checkpoint_path: Path,
    float_path: Path,
    half_path: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(verify.MIN_EQUAL_LABELS, "fp16", 0.95)
    of_model = tmp_path / "of-model.onnx"
    assert main(["export", str(float_path), "--fp16", "-o", str(of_model)]) == 0
    assert main(["export", str(checkpoint_path), "--fp16"]) == 0
    assert of_model.read_bytes() == half_path.read_bytes()
    assert checkpoint_path.with_name("best-fp16.onnx").read_bytes() == half_path.read_bytes()
    assert "float32 model against fp16 model" in capsys.readouterr().err


def test_two_twins_at_once_are_wrong_usage(checkpoint_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(checkpoint_path), "--fp16", "--int8", "--calibrate", "."]) == 2
    assert "make them one after the other" in capsys.readouterr().err
