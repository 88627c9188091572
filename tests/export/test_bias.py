"""Biases of an int8 model, which make up for what rounding its weights adds."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from roadmask.export.quantize import quantize_graph

CHANNELS = 8


def network(seed: int) -> onnx.ModelProto:
    """Two convolutions, the second with a filter for each channel; behind a ReLU nothing is around zero."""
    rng = np.random.default_rng(seed)
    weights = {
        "first": rng.normal(size=(CHANNELS, 3, 3, 3)).astype(np.float32) / 255,
        "second": rng.normal(size=(CHANNELS, 1, 3, 3)).astype(np.float32),
        "bias 1": rng.normal(size=CHANNELS).astype(np.float32),
        "bias 2": rng.normal(size=CHANNELS).astype(np.float32),
    }
    nodes = [
        helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["float", "first", "bias 1"], ["c1"], name="conv 1"),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu 1"),
        helper.make_node("Conv", ["r1", "second", "bias 2"], ["scores"], name="conv 2", group=CHANNELS),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", "height", "width", 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", CHANNELS, "h", "w"])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def mean_scores(model: onnx.ModelProto, pictures: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    scores = [session.run(["scores"], {"image": picture[None]})[0] for picture in pictures]
    return np.asarray(np.mean(np.concatenate(scores), axis=(0, 2, 3), dtype=np.float64))


def test_no_channel_s_mean_moves_by_what_its_weights_were_rounded_by() -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(100, 256, (32, 48, 3), np.uint8) for _ in range(6)]
    moved, uncorrected = [], []
    for seed in range(3):
        model = network(seed)
        expected = mean_scores(model, pictures)
        quantized = quantize_graph(model, "image", iter(pictures))
        moved.append(np.abs(mean_scores(quantized, pictures) - expected))
        values = {item.name: item for item in (*model.graph.initializer, *quantized.graph.initializer)}
        for node in quantized.graph.node:
            if node.op_type == "DequantizeLinear" and node.input[0].startswith("bias"):
                bias = numpy_helper.to_array(values[node.input[0].removesuffix("_quantized")])
                whole = np.round(bias / numpy_helper.to_array(values[node.input[1]])).astype(np.int32)
                values[node.input[0]].CopyFrom(numpy_helper.from_array(whole, node.input[0]))
        uncorrected.append(np.abs(mean_scores(quantized, pictures) - expected))
    assert np.mean(moved) < 0.5 * np.mean(uncorrected)
