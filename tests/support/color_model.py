"""A model file whose answers are known: each pixel belongs to the class whose colour is nearest."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

COLORS = {"Road": (128, 64, 128), "Sky": (70, 130, 180), "Car": (200, 30, 30)}
SPEC: dict[str, Any] = {
    "schema": 1,
    "input": {
        "name": "image",
        "layout": "NHWC",
        "dtype": "uint8",
        "color": "RGB",
        "height": 64,
        "width": 96,
        "stride": 32,
    },
    "output": {"name": "scores", "layout": "NCHW", "dtype": "float32", "kind": "scores"},
    "classes": [{"name": name, "color": list(color)} for name, color in COLORS.items()],
    "provenance": {"data": "made by a test", "scores": {"miou": 1.0}},
}


def spec(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(SPEC), **changes}


def write_color_model(
    path: Path,
    *,
    metadata: dict[str, Any] | str | None = SPEC,
    input_type: int = TensorProto.UINT8,
    batch: int | str = "batch",
    added: float = 0.0,
    classes: Mapping[str, tuple[int, int, int]] = COLORS,
) -> Path:
    """At half the input's size, score[c] = 2 color[c] . pixel - |color[c]|^2: largest for the nearest colour.

    `added` is to the score of the first class; `classes` are those that `metadata` must name.
    """
    colors = np.array(list(classes.values()), np.float32)
    bias = -(colors**2).sum(axis=1)
    bias[0] += added
    weights = (2 * colors)[:, :, None, None]
    nodes = [
        helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("AveragePool", ["float"], ["half"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["half", "weights", "bias"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "colors",
        [helper.make_tensor_value_info("image", input_type, [batch, "height", "width", 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", len(colors), "h", "w"])],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(bias, "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if metadata is not None:
        text = metadata if isinstance(metadata, str) else json.dumps(metadata)
        helper.set_model_props(model, {"roadmask.spec": text})
    onnx.save(model, str(path))
    return path


def halves(height: int = 96, width: int = 128) -> NDArray[np.uint8]:
    """Road on the left, sky on the right."""
    picture = np.empty((height, width, 3), np.uint8)
    picture[:, : width // 2], picture[:, width // 2 :] = COLORS["Road"], COLORS["Sky"]
    return picture
