"""Look into a model file before it is trusted: it may read no other file, has to come to an end, and says what it is.

ONNX is a protobuf message, of which a few fields matter here; they are walked without making anything of the rest
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import ModelError

_MOST_BYTES = 2**31 - 1  # of any protobuf message
_ENDLESS = (b"Loop", b"Scan")  # a segmentation network is made of layers, one after the other

# Of each kind of message, the fields that hold others, by number, and what kind these are.
_INSIDE = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse tensor", 23: "sparse tensor"},
    "sparse tensor": {1: "tensor", 2: "tensor"},  # values and indices
    "tensor": {},
}
_NODE_KIND, _TENSOR_EXTERNAL, _TENSOR_PLACE = 4, 13, 14
_MODEL_GRAPH, _MODEL_NOTES = 7, 14
_GRAPH_WEIGHTS, _GRAPH_INPUTS, _GRAPH_OUTPUTS = 5, 11, 12
_TENSOR_NAME = 8
_KINDS = {1: "float", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 10: "float16", 11: "double", 16: "bfloat16"}


@dataclass(frozen=True, slots=True)
class Value:
    """What goes into a graph, or comes out, as the file declares it."""

    type: str  # "tensor(uint8)", as ONNX Runtime calls it
    shape: tuple[int | str, ...] | None  # numbers, and names of what is free, perhaps empty; None where it is not told


@dataclass(frozen=True, slots=True, eq=False)
class Declared:
    """What a model file says of itself, before anything of it runs."""

    notes: Mapping[str, str]  # ONNX's metadata
    inputs: Mapping[str, Value]  # without what has weights
    outputs: Mapping[str, Value]
    sha256: str  # of the file


def look_into(path: Path) -> Declared:
    """What the file declares; it is read once.

    Raises:
        ModelError: it cannot be read, is no ONNX, keeps data in other files, or could run for ever.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ModelError(f"{path}: larger than a model file can be (2 GB); take a smaller network")
        content = memoryview(path.read_bytes())
    except OSError as exc:
        raise ModelError(f"{path}: cannot be read ({exc.strerror or exc})") from exc
    if bytes(content[:4]) == b"PK\x03\x04":  # a zip, as torch's checkpoints are
        raise ModelError(f"{path}: no model file; if it is a checkpoint, make one of it: roadmask export {path}")
    try:
        _refuse_bad(content, "model", path)
        return _declared(content, hashlib.sha256(content).hexdigest())
    except (IndexError, ValueError, RecursionError) as exc:
        raise ModelError(f"{path}: not an ONNX file, or a damaged one; copy it again, or export it again") from exc


def _refuse_bad(message: memoryview, kind: str, path: Path) -> None:
    for number, part in _fields(message):
        if kind == "node" and number == _NODE_KIND and bytes(part) in _ENDLESS:
            raise ModelError(f"{path}: has a {bytes(part).decode()}, which may never end; export the network without")
        if kind == "tensor" and (number == _TENSOR_EXTERNAL or (number == _TENSOR_PLACE and any(part))):
            raise ModelError(f"{path}: keeps weights in another file, which is not read; export it into one file")
        if number in _INSIDE[kind]:
            _refuse_bad(part, _INSIDE[kind][number], path)


def _declared(model: memoryview, sha256: str) -> Declared:
    notes: dict[str, str] = {}
    values: dict[int, dict[str, Value]] = {_GRAPH_INPUTS: {}, _GRAPH_OUTPUTS: {}}
    for number, part in _fields(model):
        if number == _MODEL_NOTES:
            key, value = (_text(part, at) for at in (1, 2))
            notes[key] = value
        elif number == _MODEL_GRAPH:
            weights = set()
            for place, item in _fields(part):
                if place == _GRAPH_WEIGHTS:
                    weights.add(_text(item, _TENSOR_NAME))
                elif place in values:
                    values[place][_text(item, 1)] = _value(item)
            for name in weights & set(values[_GRAPH_INPUTS]):  # older files list what has weights, too
                del values[_GRAPH_INPUTS][name]
    return Declared(notes, values[_GRAPH_INPUTS], values[_GRAPH_OUTPUTS], sha256)


def _value(item: memoryview) -> Value:
    tensor = _first(_first(item, 2), 1)  # its type, if that is a tensor
    kind, _ = _varint(_first(tensor, 1) or memoryview(b"\0"), 0)
    shape = None
    for number, part in _fields(tensor):
        if number == 2:
            sides = [side for place, side in _fields(part) if place == 1]
            shape = tuple(_text(side, 2) if not _first(side, 1) else _varint(_first(side, 1), 0)[0] for side in sides)
    return Value(f"tensor({_KINDS.get(kind, kind)})", shape)


def _text(message: memoryview, number: int) -> str:
    return bytes(_first(message, number)).decode()


def _first(message: memoryview, number: int) -> memoryview:
    """The content of the first such field; empty where there is none."""
    return next((part for found, part in _fields(message) if found == number), memoryview(b""))


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and content of each field; of a number, its bytes as they stand.

    Raises:
        IndexError, ValueError: it is no such message.
    """
    at, length = 0, len(message)
    while at < length:
        tag, at = _varint(message, at)
        begin = at
        match tag & 7:
            case 0:
                _, at = _varint(message, at)
            case 1:
                at += 8
            case 2:
                size, begin = _varint(message, at)
                at = begin + size
            case 5:
                at += 4
            case _:
                raise ValueError("no such wire type")
        if at > length:
            raise ValueError("a field ends after its message")
        yield tag >> 3, message[begin:at]


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    if (byte := message[at]) < 0x80:  # nearly all are
        return byte, at + 1
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("no such number")
