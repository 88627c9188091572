"""What is changed in a graph of QuantizeLinear and DequantizeLinear before and after ONNX Runtime's quantiser."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, numpy_helper


@dataclass(frozen=True, slots=True, eq=False)
class Normalisation:
    """(picture - mean) / std with a mean that is a uint8: exactly what dequantising the picture's bytes computes."""

    tensor: str  # the normalised picture
    scale: NDArray[np.float32]  # 1 / std
    zero_point: NDArray[np.uint8]  # the mean


def find_normalisation(graph: GraphProto) -> Normalisation | None:
    """The chain Cast, Sub, Div by constants with which a deployed network begins; `None` if it is another."""
    constants = _constants(graph)
    cast = next((node for node in graph.node if node.op_type == "Cast"), None)
    sub = _only_user(graph, cast)
    div = _only_user(graph, sub)
    if sub is None or div is None or (sub.op_type, div.op_type) != ("Sub", "Div"):
        return None
    mean, std = constants.get(sub.input[1]), constants.get(div.input[1])
    if mean is None or std is None or mean.size != 1 or std.size != 1:
        return None
    if float(mean) not in range(256):
        return None
    return Normalisation(div.output[0], np.asarray(1 / std, np.float32).reshape(()), mean.astype(np.uint8).reshape(()))


def fold_normalisation(graph: GraphProto, normalisation: Normalisation) -> None:
    """Let the picture's bytes be the quantised tensor: nothing is rounded, and no float picture is made."""
    producers = {output: node for node in graph.node for output in node.output}
    div = producers[normalisation.tensor]
    sub = producers[div.input[0]]
    cast = producers[sub.input[0]]
    quantize = _only_user(graph, div)
    assert quantize is not None, "the quantiser gives every tensor one QuantizeLinear"
    assert quantize.op_type == "QuantizeLinear"
    for node in _users(graph, quantize):
        node.input[0] = cast.input[0]
    for node in (cast, sub, div, quantize):
        graph.node.remove(node)
    _drop_unused_constants(graph)


def share_concat_scales(graph: GraphProto) -> None:
    """Give what is enlarged for a concatenation the scale of the result: copied then, and rounded once less."""
    producers = {output: node for node in graph.node for output in node.output}
    for concat in graph.node:
        quantize = _only_user(graph, concat) if concat.op_type == "Concat" else None
        if quantize is None or quantize.op_type != "QuantizeLinear":
            continue
        for name in concat.input:
            dequantize_input = producers[name]
            quantize_input = producers[dequantize_input.input[0]]
            if producers[quantize_input.input[0]].op_type == "Resize":
                for node in (quantize_input, dequantize_input):
                    node.input[1], node.input[2] = quantize.input[1], quantize.input[2]


def _users(graph: GraphProto, node: NodeProto) -> list[NodeProto]:
    return [user for user in graph.node if node.output[0] in user.input]


def _only_user(graph: GraphProto, node: NodeProto | None) -> NodeProto | None:
    users = _users(graph, node) if node is not None else []
    return users[0] if len(users) == 1 else None


def _constants(graph: GraphProto) -> dict[str, NDArray[np.float32]]:
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = numpy_helper.to_array(onnx.helper.get_node_attr_value(node, "value"))
    return constants


def _drop_unused_constants(graph: GraphProto) -> None:
    used = {name for node in graph.node for name in node.input} | {item.name for item in graph.output}
    for node in [node for node in graph.node if node.op_type == "Constant" and node.output[0] not in used]:
        graph.node.remove(node)
    for item in [item for item in graph.initializer if item.name not in used]:
        graph.initializer.remove(item)
