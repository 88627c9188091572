"""Make a model file of a segmentation network that was trained and exported elsewhere. Reads top to bottom.

The network stays as it is. Before it goes what its pictures need (order of channels, numbers from 0 to 1, mean and
deviation), behind it what makes scores of its output; then it says itself what it is, as every model file does.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ..stream import Model
from ..stream.spec import MAX_CLASSES, METADATA_KEY
from ..training.files import is_class_name, read_lines
from ..training.public_sets import class_colors
from .errors import ExportError
from .metadata import INPUT_NAME, OUTPUT_NAME, spec_of
from .model_file import check_output, placed, write
from .pictures import Picture, Samples, draw, drawn, fit

# Of ImageNet's pictures, for numbers from 0 to 1: what most networks are trained with that are trained elsewhere.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZE = (416, 544)  # of a network that takes any
_STRIDE = 32  # which the sides must be multiples of, as of nearly all networks
_MIN_EQUAL_LABELS = 0.999
_AXES_ARE_INPUTS = 13  # opset, from which on Unsqueeze has them so
_FLOATS: dict[int, type[np.floating[Any]]] = {TensorProto.FLOAT: np.float32, TensorProto.FLOAT16: np.float16}

Layout = Literal["nchw", "nhwc"]
Color = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Adoption:
    """What is known of a network. `None` is found out."""

    classes: tuple[tuple[str, Color], ...]
    layout: Layout | None = None  # of the pictures
    mean: tuple[float, ...] = IMAGENET_MEAN  # the network sees (pixel * scale - mean) / std
    std: tuple[float, ...] = IMAGENET_STD
    scale: float = 1 / 255
    bgr: bool = False  # blue comes first
    output: str | None = None  # of several, the one that is meant
    size: tuple[int, int] | None = None  # (height, width) that the network is asked for
    softmax: bool = False  # make probabilities of the scores
    argmax: bool | None = None  # the output holds the best class of each pixel, and no scores


@dataclass(frozen=True, slots=True)
class Found:
    """What a file turned out to be."""

    input_name: str
    layout: Layout
    type: int  # TensorProto's
    size: tuple[int, int]  # (height, width) of the pictures
    is_fixed: bool  # and it takes no others
    one_at_a_time: bool
    output: str
    output_shape: tuple[int, ...]  # for one picture
    form: Literal["nchw", "nhwc", "labels", "one channel"]
    yes_above: float = 0.0  # of one channel: where it says yes

    def told(self, adoption: Adoption) -> list[str]:
        """What it was taken for, for people."""
        order = "blue" if adoption.bgr else "red"
        numbers = "as they are" if self.type == TensorProto.UINT8 else f"as {sees(adoption)}"
        size = f"{_shown(self.size)} alone" if self.is_fixed else f"any size, asked for as {_shown(self.size)}"
        forms = {"labels": "labels", "one channel": f"one channel, yes above {self.yes_above:g}"}
        batch = ", one at a time" if self.one_at_a_time else ""
        return [
            f"pictures: {self.layout}, {order} first, {numbers}; {size}{batch}",
            f"output: {self.output} {self.output_shape}, {forms.get(self.form, f'scores, {self.form}')}",
        ]


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
    graph = _loaded(source)
    original = _Original(source, graph, adoption)
    found = original.found
    graph = _wrapped(graph, found, adoption)
    helper.set_model_props(graph, {METADATA_KEY: json.dumps(_spec(source, found, adoption))})
    try:
        onnx.checker.check_model(graph, full_check=True)
    except Exception as exc:  # the checker's own, and those of shape inference
        raise ExportError(f"{source}: cannot be adopted ({str(exc).strip().splitlines()[0]})") from exc
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


def _loaded(path: Path) -> onnx.ModelProto:
    """A network of layers, one after the other, in one file: what any model file is held to."""
    if not path.is_file():
        raise ExportError(f"{path}: no such model file")
    try:
        model = onnx.load_model(path, load_external_data=False)
    except Exception as exc:  # protobuf's own
        raise ExportError(f"{path}: not an ONNX file, or a damaged one; is the download complete?") from exc
    if not model.graph.node:
        raise ExportError(f"{path}: not an ONNX file, or a damaged one; is the download complete?")
    if any(tensor.data_location == TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise ExportError(f"{path}: keeps weights in another file, which is not read; export it into one file")
    for kind in ("Loop", "Scan"):
        if _has(model.graph, kind):
            raise ExportError(f"{path}: has a {kind}, which may never end; export the network without")
    return model


def _has(graph: onnx.GraphProto, kind: str) -> bool:
    parts = [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    return any(node.op_type == kind for node in graph.node) or any(_has(part, kind) for part in parts)


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
    named: list[tuple[str, Color | None]] = []
    for item in content:
        if isinstance(item, str):
            named.append((item, None))
            continue
        red, green, blue = map(int, item["color"])
        named.append((str(item["name"]), (red, green, blue)))
    return named


class _Original:
    """The network as it came: what it is, and what it says of pictures."""

    def __init__(self, path: Path, model: onnx.ModelProto, adoption: Adoption) -> None:
        self._adoption = adoption
        self._path = path
        self._sigmoids = {name for node in model.graph.node if node.op_type == "Sigmoid" for name in node.output}
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as exc:  # its own classes share no base but Exception
            raise ExportError(
                f"{path}: ONNX Runtime cannot load this file ({str(exc).splitlines()[0]}); export it again"
            ) from exc
        self.found = self._find()

    def labels(self, picture: Picture) -> NDArray[np.int64]:
        """(rows, columns) of its output, of a picture at the network's size."""
        return _labels_of(self._run(picture[None], self.found), self.found)

    def _find(self) -> Found:
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            names = ", ".join(item.name for item in inputs)
            raise ExportError(
                f"{self._path}: takes {len(inputs)} inputs ({names}), and not pictures alone; export the network itself"
            )
        source = inputs[0]
        kind = {"tensor(float)": TensorProto.FLOAT, "tensor(float16)": TensorProto.FLOAT16}
        kind["tensor(uint8)"] = TensorProto.UINT8
        if source.type not in kind or len(source.shape) != 4:
            raise ExportError(
                f"{self._path}: its input is {source.type} {source.shape}, and no batch of pictures; "
                "export the network itself"
            )
        layout = self._adoption.layout or _layout(source.shape, self._path)
        sides = source.shape[2:] if layout == "nchw" else source.shape[1:3]
        is_fixed = any(isinstance(side, int) for side in sides)
        if is_fixed and not all(isinstance(side, int) for side in sides):
            raise ExportError(
                f"{self._path}: one side of its pictures is fixed and one is not: {source.shape}; fix both, or none"
            )
        asked = self._adoption.size
        if is_fixed and asked and tuple(sides) != asked:
            raise ExportError(
                f"{self._path}: takes pictures of {sides[1]}x{sides[0]} alone, not of {_shown(asked)}; "
                "leave --size away"
            )
        size = (int(sides[0]), int(sides[1])) if is_fixed else asked or SIZE
        found = Found(source.name, layout, kind[source.type], size, is_fixed, True, "", (), "nchw")
        output, values = self._output(found)
        form, yes_above = self._form(output, values), 0.5 if output in self._sigmoids else 0.0
        found = replace(found, output=output, output_shape=values.shape, form=form, yes_above=yes_above)
        pair = np.stack([draw(*size, seed=seed) for seed in (1, 2)])
        try:
            several = self._run(pair, found)
        except ExportError:
            return found
        one = self._run(pair[1:], found)
        return replace(found, one_at_a_time=bool((_labels_of(several[1:], found) != _labels_of(one, found)).any()))

    def _output(self, found: Found) -> tuple[str, NDArray[Any]]:
        """The name of the output that is meant, and what it is for one picture."""
        names = [item.name for item in self._session.get_outputs()]
        wanted = self._adoption.output
        if wanted and wanted not in names:
            raise ExportError(f"{self._path}: has no output {wanted!r}; it has {', '.join(names)}")
        picture = draw(*found.size, seed=0)[None]
        outputs = {name: self._run(picture, replace(found, output=name)) for name in names if wanted in (None, name)}
        fitting = {name: values for name, values in outputs.items() if self._fits(values.shape)}
        if not fitting:
            told = ", ".join(f"{name} {values.shape}" for name, values in outputs.items())
            count = len(self._adoption.classes)
            raise ExportError(f"{self._path}: no output is scores of {count} classes, or labels: {told}; see --classes")
        return next(iter(fitting.items()))  # networks with several have the main one first

    def _fits(self, shape: tuple[int, ...]) -> bool:
        count = len(self._adoption.classes)
        if len(shape) == 4:
            return shape[1] == count or shape[3] == count or shape[1] == 1
        return len(shape) == 3

    def _form(self, output: str, values: NDArray[Any]) -> Literal["nchw", "nhwc", "labels", "one channel"]:
        shape, count = values.shape, len(self._adoption.classes)
        is_whole = values.dtype.kind in "iu" or len(shape) == 3
        if self._adoption.argmax or (self._adoption.argmax is None and is_whole):
            if len(shape) == 4 and shape[1] != 1:
                raise ExportError(f"{self._path}: {output} {shape} is no plane of labels; leave --argmax away")
            return "labels"
        if shape[1] == count:
            return "nchw"
        if shape[3] == count:
            return "nhwc"
        if count == 2:
            return "one channel"
        raise ExportError(
            f"{self._path}: {output} {shape} has one channel, and {count} classes are named; "
            "of a channel that says yes or no name two, or with --argmax it holds labels"
        )

    def _run(self, pictures: NDArray[np.uint8], found: Found) -> NDArray[Any]:
        given = prepared(pictures, found, self._adoption)
        try:
            return np.asarray(self._session.run([found.output], {found.input_name: given})[0])
        except Exception as exc:  # its own classes share no base but Exception
            what = f"pictures of {_shown(found.size)}"
            raise ExportError(
                f"{self._path}: cannot be run on {what} ({str(exc).splitlines()[0]}); see --size and --layout"
            ) from exc


def prepared(pictures: NDArray[np.uint8], found: Found, adoption: Adoption) -> NDArray[Any]:
    """What such a network sees of pictures (n, height, width, 3) RGB: by NumPy, as its makers' own code has it."""
    values: NDArray[Any] = pictures[..., ::-1] if adoption.bgr else pictures
    if found.type != TensorProto.UINT8:
        values = (values.astype(np.float64) * adoption.scale - adoption.mean) / adoption.std
        values = values.astype(_FLOATS[found.type])
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2) if found.layout == "nchw" else values)


def _layout(shape: Sequence[object], path: Path) -> Layout:
    first, last = shape[1] == 3, shape[3] == 3
    if first == last:
        raise ExportError(f"{path}: its input {list(shape)} does not say where colours are; give --layout nchw or nhwc")
    return "nchw" if first else "nhwc"


def _labels_of(output: NDArray[Any], found: Found) -> NDArray[np.int64]:
    """(rows, columns) of the first picture."""
    plane: NDArray[Any] = output[0]
    if found.form == "labels":
        return plane.reshape(plane.shape[-2:]).astype(np.int64)
    if found.form == "one channel":
        return np.asarray(plane[0] > found.yes_above, np.int64)
    return np.asarray(plane.argmax(0 if found.form == "nchw" else -1), np.int64)


def _shown(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


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
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for tensor in graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    source, output = (names.get(name, name) for name in (found.input_name, found.output))
    return replace(found, input_name=source, output=output)


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
        number = _FLOATS[found.type]
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


def sees(adoption: Adoption) -> str:
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (adoption.mean, adoption.std))
    return f"(pixel * {adoption.scale:.6g} - [{mean}]) / [{std}]"


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


def _equal_labels(original: _Original, model: Model, samples: Samples) -> float:
    equal = pixels = 0
    for picture in samples.pictures:
        size = model.spec.input_size(*picture.shape[:2])
        seen = fit(picture, *size)
        expected = original.labels(seen)
        actual = model.scores(seen[None])[0].argmax(0)
        equal += int((expected == actual).sum())
        pixels += expected.size
    return equal / pixels
