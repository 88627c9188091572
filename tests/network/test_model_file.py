"""A model file reads no other file and comes to an end."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from roadmask.stream.errors import ModelError
from roadmask.stream.network.model import BUNDLED, Model, bundled_models
from roadmask.stream.network.model_file import look_into


def written(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def external(tensor: TensorProto, location: str) -> TensorProto:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def model_of(*nodes: onnx.NodeProto, tensors: tuple[TensorProto, ...] = ()) -> onnx.ModelProto:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    return helper.make_model(helper.make_graph(list(nodes), "graph", [value], [value], list(tensors)))


def constant(tensor: TensorProto) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["y"], value=tensor)


WEIGHTS = numpy_helper.from_array(np.zeros(4, np.float32), "weights")


@pytest.mark.parametrize("where", ["initializer", "constant", "inside a branch"])
def test_weights_in_another_file_are_refused_wherever_the_graph_has_them(tmp_path: Path, where: str) -> None:
    (tmp_path / "secret").write_bytes(bytes(16))
    os.link(tmp_path / "secret", tmp_path / "weights.bin")  # which ONNX Runtime would read
    tensor = external(numpy_helper.from_array(np.zeros(4, np.float32), "weights"), "weights.bin")
    if where == "initializer":
        model = model_of(helper.make_node("Identity", ["x"], ["y"]), tensors=(tensor,))
    elif where == "constant":
        model = model_of(constant(tensor))
    else:
        branch = helper.make_graph([constant(tensor)], "branch", [], [])
        model = model_of(helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch))
    with pytest.raises(ModelError, match=r"model\.onnx: keeps weights in another file, which is not read"):
        look_into(written(model, tmp_path / "model.onnx"))


@pytest.mark.parametrize("kind", ["Loop", "Scan"])
def test_what_may_never_end_is_refused(tmp_path: Path, kind: str) -> None:
    body = helper.make_graph([], "body", [], [])
    model = model_of(helper.make_node(kind, ["", "x"], ["y"], body=body))
    with pytest.raises(ModelError, match=f"has a {kind}, which may never end"):
        Model.load(written(model, tmp_path / "model.onnx"))


@pytest.mark.parametrize("content", [b"\xff" * 100, b"\x3a\xff\x01", b"\x3a\x05\x0a\x7f", b"\x0f" * 9])
def test_what_is_no_model_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.onnx: "):
        Model.load(tmp_path / "model.onnx")


def test_a_graph_that_goes_ever_deeper_is_refused(tmp_path: Path) -> None:
    content = b""
    for _ in range(3000):  # a node with an attribute that is a graph, again and again
        for tag in (b"\x32", b"\x2a", b"\x0a"):
            content = tag + _length(content) + content
    (tmp_path / "model.onnx").write_bytes(b"\x3a" + _length(content) + content)
    with pytest.raises(ModelError, match="not an ONNX file, or a damaged one"):
        look_into(tmp_path / "model.onnx")


def _length(content: bytes) -> bytes:
    size, out = len(content), bytearray()
    while size >= 0x80:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*out, size])


def refusal(path: Path) -> str | None:
    try:
        look_into(path)
    except ModelError as exc:
        return str(exc)
    return None


def test_whole_models_pass(model: Path, tmp_path: Path) -> None:
    plain = written(model_of(constant(WEIGHTS)), tmp_path / "plain.onnx")
    assert [refusal(path) for path in (bundled_models()[BUNDLED], model, plain)] == [None] * 3
