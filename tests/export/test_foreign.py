"""What is found out of a network from elsewhere; where it cannot be told, it is refused with what to export instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from roadmask import Model
from roadmask.export.adopt import adopt
from roadmask.export.errors import ExportError
from roadmask.export.foreign import Adoption, Original, loaded

THREE = tuple((name, (0, 0, 0)) for name in ("Road", "Sky", "Car"))
Shape = list[int | str]


def network(
    path: Path,
    shape: Shape,
    *nodes: onnx.NodeProto,
    given: int = TensorProto.FLOAT,
    constants: dict[str, list[int]] | None = None,
    gives: int = 4,
    made: int | None = None,
    opset: int = 17,
) -> Path:
    """From x to y; without a node y is x, and of its type if it is not `made` another.

    The output has `gives` sides, of any length.
    """
    graph = helper.make_graph(
        list(nodes) or [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", given, shape)],
        [helper.make_tensor_value_info("y", made or given, [f"side {number}" for number in range(gives)])],
        [numpy_helper.from_array(np.array(values), name) for name, values in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("elsewhere", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


def refusal(path: Path, **known: Any) -> str:
    with pytest.raises(ExportError) as caught:
        Original(path, loaded(path), Adoption(THREE, **known))
    told = str(caught.value)
    assert told.startswith(f"{path}: ")
    assert "\n" not in told
    return told.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("shape", "given", "message"),
    [
        ([1, 3, 8, 8], TensorProto.INT64, "its input is tensor(int64) [1, 3, 8, 8], and no batch of pictures; export"),
        ([3, 8, 8], TensorProto.FLOAT, "its input is tensor(float) [3, 8, 8], and no batch of pictures; export"),
        ([2, 3, 8, 8], TensorProto.FLOAT, "takes 2 pictures at a time; export it for 1, or any"),
        ([1, 3, 8, "width"], TensorProto.FLOAT, "one side of its pictures is fixed and one is not: [1, 3, 8, 'width']"),
        ([1, 1, 8, 8], TensorProto.FLOAT, "its input [1, 1, 8, 8] is of one channel, and pictures have three"),
        ([1, 5, 8, 8], TensorProto.FLOAT, "its input [1, 5, 8, 8] does not say where colours are; give --layout nchw"),
        ([1, 3, 8, 3], TensorProto.FLOAT, "its input [1, 3, 8, 3] does not say where colours are; give --layout nchw"),
    ],
)
def test_an_input_that_is_no_picture_of_three_colours_is_refused(
    shape: Shape, given: int, message: str, tmp_path: Path
) -> None:
    assert refusal(network(tmp_path / "net.onnx", shape, given=given, gives=len(shape))).startswith(message)


def test_where_colours_are_is_taken_as_told_where_the_shape_does_not_say(tmp_path: Path) -> None:
    path = network(tmp_path / "net.onnx", [1, 3, 8, 3])
    assert Original(path, loaded(path), Adoption(THREE, layout="nchw")).found.size == (8, 3)
    assert Original(path, loaded(path), Adoption(THREE, layout="nhwc")).found.size == (3, 8)


def test_one_channel_that_is_to_tell_three_classes_is_refused(tmp_path: Path) -> None:
    mean = helper.make_node("ReduceMean", ["x"], ["y"], axes=[1])
    told = refusal(network(tmp_path / "net.onnx", [1, 3, 8, 8], mean))
    assert told.startswith("y (1, 1, 8, 8) has one channel, and 3 classes are named; of a channel that says yes or no")


@pytest.mark.parametrize("depth", [0, 1])
def test_what_may_never_end_is_refused_wherever_it_stands(depth: int, tmp_path: Path) -> None:
    node = helper.make_node("Scan", ["x"], ["y"], body=helper.make_graph([], "body", [], []))
    if depth:
        branch = helper.make_graph([node], "branch", [], [])
        node = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    told = refusal(network(tmp_path / "net.onnx", [1, 3, 8, 8], node))
    assert told == "has a Scan, which may never end; export the network without"


def test_operators_that_onnx_runtime_does_not_know_are_told_as_such(tmp_path: Path) -> None:
    strange = helper.make_node("Guess", ["x"], ["y"], domain="elsewhere")
    told = refusal(network(tmp_path / "net.onnx", [1, 3, 8, 8], strange))
    assert told.startswith("ONNX Runtime cannot load this file (")
    assert "Guess" in told
    assert told.endswith("); export it again")


def test_a_network_that_takes_fewer_sizes_than_it_says_is_told_with_the_size_that_was_asked_for(tmp_path: Path) -> None:
    reshape = helper.make_node("Reshape", ["x", "shape"], ["y"])
    path = network(tmp_path / "net.onnx", ["n", 3, "height", "width"], reshape, constants={"shape": [-1, 3, 64, 96]})
    told = refusal(path, size=(40, 50))
    assert told.startswith("cannot be run on pictures of 50x40 (")
    assert told.endswith("); see --size and --layout")
    assert Original(path, loaded(path), Adoption(THREE, size=(64, 96))).found.size == (64, 96)


def test_weights_beside_it_that_are_cut_short_are_told(tmp_path: Path) -> None:
    whole = onnx.load_model(
        network(
            tmp_path / "net.onnx",
            ["n", 3, "height", "width"],
            helper.make_node("Reshape", ["x", "shape"], ["y"]),
            constants={"shape": [-1, 3, 64, 96]},
        )
    )
    onnx.save_model(whole, tmp_path / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0)
    (tmp_path / "net.data").write_bytes(b"short")
    assert refusal(tmp_path / "net.onnx").startswith("its weights cannot be read (")


PICTURE = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), np.uint8)
NORMAL = ((PICTURE / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).transpose(0, 3, 1, 2)


def adopted(path: Path, **known: Any) -> Model:
    adopt(path, path.with_name("adopted.onnx"), Adoption(THREE, **known))
    return Model.load(path.with_name("adopted.onnx"), device="cpu")


def test_a_network_of_bytes_sees_the_pictures_as_they_are(tmp_path: Path) -> None:
    cast = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)
    shape: Shape = ["n", "height", "width", 3]
    path = network(tmp_path / "net.onnx", shape, cast, given=TensorProto.UINT8, made=TensorProto.FLOAT)
    np.testing.assert_array_equal(adopted(path).scores(PICTURE), PICTURE.transpose(0, 3, 1, 2))


def test_a_network_of_half_floats_sees_pictures_as_such(tmp_path: Path) -> None:
    path = network(tmp_path / "net.onnx", ["n", 3, "height", "width"], given=TensorProto.FLOAT16)
    np.testing.assert_allclose(adopted(path).scores(PICTURE), NORMAL, atol=2e-3)


@pytest.mark.parametrize("opset", [11, 13])
def test_labels_without_a_channel_become_scores_in_a_file_of_an_older_kind_too(opset: int, tmp_path: Path) -> None:
    best = helper.make_node("ArgMax", ["x"], ["y"], axis=1, keepdims=0)
    shape: Shape = ["n", 3, "height", "width"]
    path = network(tmp_path / "net.onnx", shape, best, made=TensorProto.INT64, gives=3, opset=opset)
    scores = adopted(path).scores(PICTURE)
    assert scores.sum(1).tolist() == np.ones((1, 64, 96)).tolist()
    assert (scores.argmax(1) == NORMAL.argmax(1)).mean() > 0.999


def test_tensors_that_are_called_as_a_model_file_s_own_are_others_in_branches_too(tmp_path: Path) -> None:
    twice = helper.make_node("Add", ["image", "image"], ["scores"])
    result = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3, "height", "width"])
    branch = helper.make_graph([twice], "branch", [], [result])
    nodes = [
        helper.make_node("Identity", ["x"], ["image"]),
        helper.make_node("Cast", ["one"], ["yes"], to=TensorProto.BOOL),
        helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch),
    ]
    path = network(tmp_path / "net.onnx", ["n", 3, "height", "width"], *nodes, constants={"one": [1]})
    np.testing.assert_allclose(adopted(path).scores(PICTURE), 2 * NORMAL, atol=1e-5)
