"""Make a model file of a segmentation network that was trained and exported elsewhere. Reads top to bottom.

The network stays as it is. Before it goes what its pictures need (order of channels, numbers from 0 to 1, mean and
deviation), behind it what makes scores of its output; then it says itself what it is, as every model file does.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ..stream import Model
from ..stream.spec import MAX_CLASSES, METADATA_KEY
from ..training.errors import first_line
from ..training.files import is_class_name, read_lines
from ..training.public_sets import class_colors
from .errors import ExportError
from .foreign import FLOATS, Adoption, Color, Found, Original, loaded, sees
from .metadata import INPUT_NAME, OUTPUT_NAME, spec_of
from .model_file import check_output, placed, write
from .pictures import Samples, drawn, fit

_STRIDE = 32  # which the sides must be multiples of, as of nearly all networks
_MIN_EQUAL_LABELS = 0.999
_AXES_ARE_INPUTS = 13  # opset, from which on Unsqueeze has them so


def adopt(
    source: Path, output: Path, adoption: Adoption, *, samples: Samples | None = None, overwrite: bool = False
) -> tuple[Found, float, str]:
    """Write `output`, a model file; it appears only when whole, and found to label pictures as `source` does.

    Args:
        source: an ONNX file of one input, pictures, whose output is scores (batch, classes, ...) or labels.
        output: ends with .onnx.
        adoption: what is known of it.
        samples: to compare on; `None` draws some.
        overwrite: replace `output` if it is there.

    Returns:
        What the file is; the share of equal labels, and what they were compared on.

    Raises:
        ExportError: it is no such network, `output` must not be written, or the two disagree.
    """
    check_output(output, source, source_kind="model", overwrite=overwrite)
    graph = loaded(source)
    original = Original(source, graph, adoption)
    found = original.found
    graph = _wrapped(graph, found, adoption)
    helper.set_model_props(graph, {METADATA_KEY: json.dumps(_spec(source, found, adoption))})
    try:
        onnx.checker.check_model(graph, full_check=True)
    except Exception as exc:  # the checker's own, and those of shape inference
        raise ExportError(f"{source}: cannot be adopted ({first_line(exc)})") from exc
    compared = samples or drawn(*found.size)
    with placed(output) as temporary:
        write(graph, temporary)
        equal = _equal_labels(original, Model.load(temporary, device="cpu", workers=1), compared)
        if equal < _MIN_EQUAL_LABELS:
            raise ExportError(
                f"{source}: as a model file it labels {equal:.2%} of the pixels of {compared.origin} as before, not "
                f"{_MIN_EQUAL_LABELS:.1%}; nothing was written. Please report it with the file"
            )
    return found, equal, compared.origin


def read_classes(path: Path) -> tuple[tuple[str, Color], ...]:
    """Names, and colours where there are any, in the order of the network's classes.

    From a file of lines, `Road` or `128 64 128 Road`, or of JSON: `["Road", ...]`, `{"0": "Road", ...}` as Hugging
    Face's `id2label`, or `[{"name": "Road", "color": [128, 64, 128]}, ...]`.

    Raises:
        ExportError: it is none of these.
        DataError: it cannot be read.
    """
    try:
        named = _classes_of_json(path) if path.suffix.lower() == ".json" else _classes_of_lines(path)
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ExportError(f'{path}: no list of classes; a name a line, or JSON as in ["Road", "Sky"]') from exc
    names = [name for name, _ in named]
    if not 1 <= len(names) <= MAX_CLASSES or not all(map(is_class_name, names)):
        raise ExportError(f"{path}: {len(names)} classes; 1 to {MAX_CLASSES} are possible, each with a name")
    twice = [name for number, name in enumerate(names) if name.lower() in (item.lower() for item in names[:number])]
    if twice:
        raise ExportError(f"{path}: names {twice[0]} twice; give each class a name of its own")
    made = class_colors(names)
    return tuple((name, color or other) for (name, color), other in zip(named, made, strict=True))


def _classes_of_lines(path: Path) -> list[tuple[str, Color | None]]:
    named: list[tuple[str, Color | None]] = []
    for line in read_lines(path):
        colored = re.fullmatch(r"(\d{1,3})\s+(\d{1,3})\s+(\d{1,3})\s+(.+)", line)
        named.append((colored[4], (int(colored[1]), int(colored[2]), int(colored[3]))) if colored else (line, None))
    return named


def _classes_of_json(path: Path) -> list[tuple[str, Color | None]]:
    content = json.loads("\n".join(read_lines(path)))
    if isinstance(content, dict):
        content = content.get("id2label", content)
        content = [content[key] for key in sorted(content, key=int)]
    if not isinstance(content, list):
        raise TypeError("one name, or none")  # whose letters would be names
    named: list[tuple[str, Color | None]] = []
    for item in content:
        if isinstance(item, str):
            named.append((item, None))
            continue
        red, green, blue = map(int, item["color"])
        named.append((str(item["name"]), (red, green, blue)))
    return named


def _wrapped(model: onnx.ModelProto, found: Found, adoption: Adoption) -> onnx.ModelProto:
    """The network between what its pictures need and what makes scores of its output."""
    graph = model.graph
    found = _out_of_the_way(graph, found)
    before = _Nodes()
    _prepare(before, found, adoption)
    after = _Nodes()
    opset = next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
    _score(after, found, adoption, opset)
    nodes = [*before.nodes, *graph.node, *after.nodes]
    initializers = {item.name for item in graph.initializer}
    others = [item for item in graph.input if item.name in initializers]  # as old exporters have them
    batch = 1 if found.one_at_a_time else "batch"
    sides: list[int | str] = [*found.size] if found.is_fixed else ["height", "width"]
    image = helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, [batch, *sides, 3])
    image.type.denotation = "IMAGE"
    score_sides: list[int | str] = ["scores_height", "scores_width"]
    scores = helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, [batch, len(adoption.classes), *score_sides])
    del graph.node[:], graph.input[:], graph.output[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.input.extend([image, *others])
    graph.output.append(scores)
    graph.initializer.extend([*before.constants, *after.constants])
    del model.metadata_props[:]
    model.doc_string = f"roadmask: segments pictures into {len(adoption.classes)} classes; made elsewhere"
    return model


def _out_of_the_way(graph: onnx.GraphProto, found: Found) -> Found:
    """Its own tensors of our names get others."""
    names = {name: f"roadmask.its.{name}" for name in (INPUT_NAME, OUTPUT_NAME)}
    _rename(graph, names)
    source, output = (names.get(name, name) for name in (found.input_name, found.output))
    return replace(found, input_name=source, output=output)


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    """In the branches of an If too, which see the tensors around them."""
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _rename(attribute.g, names)
    for item in (*graph.initializer, *graph.output):
        item.name = names.get(item.name, item.name)


class _Nodes:
    """A row of nodes, each of which takes what the one before gives."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, source: str, *values: NDArray[Any], into: str | None = None, **attributes: Any) -> str:
        target = into or f"roadmask.{kind}.{source}"
        names = [f"{target}.{number}" for number in range(len(values))]
        self.constants += [numpy_helper.from_array(value, name) for value, name in zip(values, names, strict=True)]
        self.nodes.append(helper.make_node(kind, [source, *names], [target], name=target, **attributes))
        return target


def _prepare(nodes: _Nodes, found: Found, adoption: Adoption) -> None:
    """As `prepared` does it."""
    name, channels = INPUT_NAME, -1
    if found.layout == "nchw":  # in this order the transpose moves bytes, not floats
        name, channels = nodes.add("Transpose", name, perm=[0, 3, 1, 2]), 1
    if adoption.bgr:
        name = nodes.add("Gather", name, np.array([2, 1, 0], np.int64), axis=channels % 4)
    if found.type != TensorProto.UINT8:
        number = FLOATS[found.type]
        shape = (1, 3, 1, 1) if found.layout == "nchw" else (1, 1, 1, 3)
        mean, std = (np.array(item, np.float64).reshape(shape) for item in (adoption.mean, adoption.std))
        name = nodes.add("Cast", name, to=TensorProto.FLOAT)
        name = nodes.add("Mul", name, (adoption.scale / std).astype(np.float32))
        name = nodes.add("Sub", name, (mean / std).astype(np.float32))
        if number is np.float16:
            name = nodes.add("Cast", name, to=TensorProto.FLOAT16, into="roadmask.half")
    nodes.add("Identity", name, into=found.input_name)


def _score(nodes: _Nodes, found: Found, adoption: Adoption, opset: int) -> None:
    name, count = found.output, len(adoption.classes)
    match found.form:
        case "nhwc":
            name = nodes.add("Transpose", name, perm=[0, 3, 1, 2])
        case "labels":
            name = nodes.add("Cast", name, to=TensorProto.INT64, into="roadmask.labels")
            if len(found.output_shape) == 3:
                if opset < _AXES_ARE_INPUTS:
                    name = nodes.add("Unsqueeze", name, axes=[1])
                else:
                    name = nodes.add("Unsqueeze", name, np.array([1], np.int64))
            name = nodes.add("Equal", name, np.arange(count, dtype=np.int64).reshape(1, count, 1, 1))
        case "one channel":
            name = nodes.add("Cast", name, to=TensorProto.FLOAT, into="roadmask.yes")
            name = nodes.add("Sub", name, np.array(found.yes_above, np.float32))
            name = nodes.add("Mul", name, np.array([-1, 1], np.float32).reshape(1, 2, 1, 1))
    name = nodes.add("Cast", name, to=TensorProto.FLOAT, into="roadmask.scored")
    if adoption.softmax:
        name = nodes.add("Softmax", name, axis=1)
    nodes.add("Identity", name, into=OUTPUT_NAME)


def _spec(source: Path, found: Found, adoption: Adoption) -> dict[str, Any]:
    """Schema 1, as `stream/spec.py` documents it."""
    height, width = found.size
    sides: dict[str, Any] = {"height": height, "width": width, "stride": 1 if found.is_fixed else _STRIDE}
    sides |= ({"fixed": True} if found.is_fixed else {}) | ({"batch": 1} if found.one_at_a_time else {})
    order = "blue first, " if adoption.bgr else ""
    provenance = {
        "adopted_from": f"{source.name}, SHA-256 {hashlib.sha256(source.read_bytes()).hexdigest()}",
        "sees": order + (sees(adoption) if found.type != TensorProto.UINT8 else "pixels as they are"),
        "scores": {},
    }
    return spec_of(sides, adoption.classes, provenance)


def _equal_labels(original: Original, model: Model, samples: Samples) -> float:
    equal = pixels = 0
    for picture in samples.pictures:
        size = model.spec.input_size(*picture.shape[:2])
        seen = fit(picture, *size)
        expected = original.labels(seen)
        actual = model.scores(seen[None])[0].argmax(0)
        equal += int((expected == actual).sum())
        pixels += expected.size
    return equal / pixels
