"""A segmentation network that was exported elsewhere: what it takes and gives, and what it says of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto

from ..stream.spec import METADATA_KEY
from ..training.errors import first_line
from .errors import ExportError
from .pictures import Picture, draw

# Of ImageNet's pictures, for numbers from 0 to 1: what most networks are trained with that are trained elsewhere.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZE = (416, 544)  # of a network that takes any
FLOATS: dict[int, type[np.floating[Any]]] = {TensorProto.FLOAT: np.float32, TensorProto.FLOAT16: np.float16}

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


class Original:
    """The network as it came: what it is, and what it says of pictures."""

    def __init__(self, path: Path, model: onnx.ModelProto, adoption: Adoption) -> None:
        self._adoption = adoption
        self._path = path
        self._sigmoids = {name for node in model.graph.node if node.op_type == "Sigmoid" for name in node.output}
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as exc:  # its own classes share no base but Exception
            raise ExportError(
                f"{path}: ONNX Runtime cannot load this file ({first_line(exc)}); export it again"
            ) from exc
        self.found = self._find()

    def labels(self, picture: Picture) -> NDArray[np.int64]:
        """(rows, columns) of its output, of a picture at the network's size."""
        return labels_of(self._run(picture[None], self.found), self.found)

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
                f"{self._path}: its input is {source.type} {source.shape}, and no batch of pictures; export it with "
                "one of float (1, 3, height, width)"
            )
        if isinstance(source.shape[0], int) and source.shape[0] > 1:
            raise ExportError(f"{self._path}: takes {source.shape[0]} pictures at a time; export it for 1, or any")
        layout = self._adoption.layout or _layout(source.shape, self._path)
        sides = source.shape[2:] if layout == "nchw" else source.shape[1:3]
        is_fixed = any(isinstance(side, int) for side in sides)
        if is_fixed and not all(isinstance(side, int) for side in sides):
            raise ExportError(
                f"{self._path}: one side of its pictures is fixed and one is not: {source.shape}; export it "
                "with both fixed, or both free"
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
        return replace(found, one_at_a_time=bool((labels_of(several[1:], found) != labels_of(one, found)).any()))

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
            raise ExportError(f"{self._path}: no output is scores of {count} classes, or labels: {told} (--classes)")
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
            if (values % 1 != 0).any():
                raise ExportError(
                    f"{self._path}: {output} {shape} holds fractions, and no labels; export it as scores (batch, "
                    "classes, height, width), or as (batch, 1, height, width) where they say yes or no"
                )
            if values.max() >= count:
                raise ExportError(f"{self._path}: {output} labels as {values.max()}, and {count} classes are named")
            return "labels"
        if shape[1] == count == 1:
            raise ExportError(
                f"{self._path}: {output} {shape} has one channel, which says yes or no: name two classes, no's first"
            )
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
                f"{self._path}: cannot be run on {what} ({first_line(exc)}); see --size and --layout"
            ) from exc


def prepared(pictures: NDArray[np.uint8], found: Found, adoption: Adoption) -> NDArray[Any]:
    """What such a network sees of pictures (n, height, width, 3) RGB: by NumPy, as its makers' own code has it."""
    values: NDArray[Any] = pictures[..., ::-1] if adoption.bgr else pictures
    if found.type != TensorProto.UINT8:
        values = (values.astype(np.float64) * adoption.scale - adoption.mean) / adoption.std
        values = values.astype(FLOATS[found.type])
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2) if found.layout == "nchw" else values)


def _layout(shape: Sequence[object], path: Path) -> Layout:
    first, last = shape[1] == 3, shape[3] == 3
    if first == last and 1 in (shape[1], shape[3]):
        raise ExportError(f"{path}: its input {list(shape)} is of one channel, and pictures have three")
    if first == last:
        raise ExportError(f"{path}: its input {list(shape)} does not say where colours are; give --layout nchw or nhwc")
    return "nchw" if first else "nhwc"


def labels_of(output: NDArray[Any], found: Found) -> NDArray[np.int64]:
    """(rows, columns) of the first picture."""
    plane: NDArray[Any] = output[0]
    if found.form == "labels":
        return plane.reshape(plane.shape[-2:]).astype(np.int64)
    if found.form == "one channel":
        return np.asarray(plane[0] > found.yes_above, np.int64)
    return np.asarray(plane.argmax(0 if found.form == "nchw" else -1), np.int64)


def _shown(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


def sees(adoption: Adoption) -> str:
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (adoption.mean, adoption.std))
    return f"(pixel * {adoption.scale:.6g} - [{mean}]) / [{std}]"


def loaded(path: Path) -> onnx.ModelProto:
    """A network of layers, one after the other, in one file: what any model file is held to."""
    if not path.is_file():
        raise ExportError(f"{path}: no such model file")
    try:
        model = onnx.load_model(path, load_external_data=False)
    except Exception as exc:  # protobuf's own
        raise ExportError(f"{path}: not an ONNX file, or a damaged one; {_cure(path)}") from exc
    if not model.graph.node:
        raise ExportError(f"{path}: not an ONNX file, or a damaged one; {_cure(path)}")
    if METADATA_KEY in {item.key for item in model.metadata_props}:
        raise ExportError(f"{path}: is a model file already; --model takes it as it is")
    _take_in(model, path)
    for kind in ("Loop", "Scan"):
        if _has(model.graph, kind):
            raise ExportError(f"{path}: has a {kind}, which may never end; export the network without")
    return model


def _cure(path: Path) -> str:
    is_torchs = path.suffix.lower() in (".pt", ".pth", ".ckpt", ".safetensors")
    return "torch.onnx.export makes one of it" if is_torchs else "is the download complete?"


def _take_in(model: onnx.ModelProto, path: Path) -> None:
    """Weights that lie in a file beside it, as torch exports them by default: never such as lie elsewhere."""
    outside = [tensor for tensor in model.graph.initializer if tensor.data_location == TensorProto.EXTERNAL]
    names = {item.value for tensor in outside for item in tensor.external_data if item.key == "location"}
    for name in names or ({"?"} if outside else ()):
        beside = path.parent / name
        if beside.name != name or beside.is_symlink() or not beside.is_file():
            raise ExportError(
                f"{path}: keeps weights in another file, {name!r:.80}, and there is none of that name beside it; "
                "put it there, or export into one file (torch.onnx.export(..., external_data=False))"
            )
    try:
        if outside:
            onnx.load_external_data_for_model(model, str(path.parent))
    except Exception as exc:  # the checker's own, and those of a file that is too short
        raise ExportError(f"{path}: its weights cannot be read ({first_line(exc)})") from exc


def _has(graph: onnx.GraphProto, kind: str) -> bool:
    parts = [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    return any(node.op_type == kind for node in graph.node) or any(_has(part, kind) for part in parts)
