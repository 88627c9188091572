"""A model for other runtimes: floats with channels first in, scores out, of one size; for cv2.dnn, TensorRT, nvinfer.

A model file of ours takes uint8 pictures, channels last, of any size, which OpenCV's and NVIDIA's readers of ONNX do
not. So its first steps are cut off, and what they did is left to whoever gives the pictures.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from ..stream import Model
from .errors import ExportError
from .metadata import INPUT_NAME, OUTPUT_NAME
from .model_file import check_output, placed, write
from .pictures import drawn

CLASSES_KEY = "roadmask.classes"
_MIN_EQUAL_LABELS = 0.999
_ARITHMETIC = ("Sub", "Div", "Mul")

Numbers = Literal["raw", "normalised"]  # 0 to 255, or with what `numbers_of` says taken off


def write_plain(
    source: Path, output: Path, numbers: Numbers, *, size: tuple[int, int] | None = None, overwrite: bool = False
) -> float:
    """Write `output`, and beside it `NAME_nvinfer.txt` and `NAME_labels.txt`, which DeepStream's nvinfer takes.

    Args:
        source: a model file with float weights.
        output: ends with .onnx.
        numbers: what pictures are given as, float32 (1, 3, height, width) RGB.
        size: (height, width) of the pictures; `None` for what the model asks for.
        overwrite: replace the files if they are there.

    Returns:
        The share of labels that are equal to the model's.

    Raises:
        ExportError: it is no such model, or a file is there, or the two disagree.
    """
    beside = [output.with_name(f"{output.stem}_{what}.txt") for what in ("nvinfer", "labels")]
    check_output(output, source, source_kind="model", overwrite=overwrite)
    if taken := [path for path in beside if path.exists() and not overwrite]:
        raise ExportError(f"{taken[0]}: exists; pass --overwrite to replace it, or name another with -o")
    model = Model.load(source, device="cpu", workers=1)
    height, width = size or (model.spec.height, model.spec.width)
    if height % model.spec.stride or width % model.spec.stride:
        raise ExportError(f"size {width}x{height}: width and height must be multiples of {model.spec.stride}")
    if model.spec.fixed and (height, width) != (model.spec.height, model.spec.width):
        raise ExportError(
            f"{source}: takes pictures of {model.spec.width}x{model.spec.height} alone; leave --size away"
        )
    graph = onnx.load_model(source)
    mean, std = _cut(graph, numbers, (height, width), source)
    helper.set_model_props(graph, {CLASSES_KEY: json.dumps(model.spec.class_names)})
    with placed(output) as temporary:
        write(graph, temporary)
        equal = _equal_labels(model, temporary, (height, width), (mean, std) if numbers == "normalised" else (0, 1))
        if equal < _MIN_EQUAL_LABELS:
            raise ExportError(f"{source}: cut off, {equal:.2%} of the labels are as before; nothing was written")
    scale, offset = (1 / std, mean) if numbers == "normalised" else (1.0, 0.0)
    names = model.spec.class_names
    beside[0].write_text(_nvinfer(output.name, beside[1].name, (height, width), len(names), scale, offset))
    beside[1].write_text(";".join(names) + "\n", encoding="utf-8")
    return equal


def _cut(model: onnx.ModelProto, numbers: Numbers, size: tuple[int, int], source: Path) -> tuple[float, float]:
    """Let the graph begin where its pictures are floats, channels first; the mean and deviation that are cut off."""
    graph = model.graph
    bytes_in, arithmetic = _beginning(graph, source)
    cut = bytes_in if numbers == "raw" else [*bytes_in, *arithmetic]
    mean, std = _statistics(graph, arithmetic if numbers == "normalised" else [], source)
    for node in cut:
        graph.node.remove(node)
    for node in graph.node:
        node.input[:] = [INPUT_NAME if name == cut[-1].output[0] else name for name in node.input]
    used = {name for node in graph.node for name in node.input}
    for node in [node for node in graph.node if node.op_type == "Constant" and node.output[0] not in used]:
        graph.node.remove(node)
    del graph.input[:], graph.value_info[:], graph.output[0].type.tensor_type.shape.dim[:]
    graph.input.append(helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, [1, 3, *size]))
    for _ in range(4):
        graph.output[0].type.tensor_type.shape.dim.add()  # how large is inferred
    model.CopyFrom(_expanded(onnx.shape_inference.infer_shapes(model, data_prop=True)))
    return mean, std


def _beginning(graph: onnx.GraphProto, source: Path) -> tuple[list[onnx.NodeProto], list[onnx.NodeProto]]:
    """The nodes that make floats of bytes, channels first; and those that normalise them."""
    found: list[onnx.NodeProto] = []
    name = INPUT_NAME
    for kinds in (("Transpose",), ("Cast",), _ARITHMETIC, _ARITHMETIC):
        after = [node for node in graph.node if name in node.input]
        if len(after) != 1 or after[0].op_type not in kinds:
            raise ExportError(f"{source}: does not begin as a float32 model does; give that, or its checkpoint")
        found.append(after[0])
        name = after[0].output[0]
    return found[:2], found[2:]


def _statistics(graph: onnx.GraphProto, nodes: list[onnx.NodeProto], source: Path) -> tuple[float, float]:
    """Mean and deviation by which these normalise numbers from 0 to 255."""
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    constants |= {
        node.output[0]: numpy_helper.to_array(node.attribute[0].t) for node in graph.node if node.op_type == "Constant"
    }
    mean, std = 0.0, 1.0
    for node in nodes:
        value = constants[node.input[1]]
        if value.size != 1:
            raise ExportError(f"{source}: each colour has numbers of its own; give it as --raw")
        match node.op_type:
            case "Sub":
                mean += std * value.item()
            case "Div":
                std *= value.item()
            case _:
                std /= value.item()
    return mean, std


def _expanded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Sums of rows or columns and a plane as sums of planes: OpenCV 5 takes no others behind a convolution."""
    shapes = {
        item.name: [side.dim_value for side in item.type.tensor_type.shape.dim] for item in model.graph.value_info
    }
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        for place, name in enumerate(node.input if node.op_type == "Add" else ()):
            into, shape = shapes.get(node.output[0]), shapes.get(name)
            if into and shape and len(shape) == len(into) and shape != into and all(into):
                wide = f"{node.output[0]}.{place}"
                model.graph.initializer.append(numpy_helper.from_array(np.array(into, np.int64), f"{wide}.shape"))
                model.graph.node.append(helper.make_node("Expand", [name, f"{wide}.shape"], [wide], name=wide))
                node.input[place] = wide
        model.graph.node.append(node)
    return model


def _equal_labels(model: Model, plain: Path, size: tuple[int, int], statistics: tuple[float, float]) -> float:
    session = onnxruntime.InferenceSession(str(plain), providers=["CPUExecutionProvider"])
    equal = []
    for picture in drawn(*size).pictures:
        seen = picture[None]
        given = ((seen.astype(np.float64) - statistics[0]) / statistics[1]).astype(np.float32).transpose(0, 3, 1, 2)
        scores = session.run([OUTPUT_NAME], {INPUT_NAME: np.ascontiguousarray(given)})[0]
        equal.append((scores.argmax(1) == model.scores(seen).argmax(1)).mean())
    return float(np.mean(equal))


def _nvinfer(model: str, labels: str, size: tuple[int, int], classes: int, scale: float, offset: float) -> str:
    """What DeepStream's Gst-nvinfer reads: NVIDIA, "Gst-nvinfer File Configuration Specifications"."""
    height, width = size
    return f"""\
# For DeepStream's nvinfer; not run by those who wrote it. y = net-scale-factor * (x - offset), RGB.
[property]
gpu-id=0
onnx-file={model}
labelfile-path={labels}
net-scale-factor={scale:.9g}
offsets={offset:.6g};{offset:.6g};{offset:.6g}
model-color-format=0
infer-dims=3;{height};{width}
batch-size=1
network-mode=2
network-type=2
num-detected-classes={classes}
output-blob-names={OUTPUT_NAME}
segmentation-threshold=0.0
maintain-aspect-ratio=0
gie-unique-id=1
"""
