"""Look into a model file before it is trusted: it may read no other file, and has to come to an end.

ONNX is a protobuf message, of which a few fields matter here; they are walked without making anything of the rest
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

from collections.abc import Iterator
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


def refuse_bad_model(path: Path) -> None:
    """Raises `ModelError`: the file cannot be read, is no ONNX, keeps data in other files, or could run for ever."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ModelError(f"{path}: larger than a model file can be (2 GB)")
        content = memoryview(path.read_bytes())
    except OSError as exc:
        raise ModelError(f"{path}: cannot be read ({exc.strerror or exc})") from exc
    if bytes(content[:4]) == b"PK\x03\x04":  # a zip, as torch's checkpoints are
        raise ModelError(f"{path}: no model file; if it is a checkpoint, make one of it: roadmask export {path}")
    try:
        _look_into(content, "model", path)
    except (IndexError, ValueError, RecursionError) as exc:
        raise ModelError(f"{path}: not an ONNX file, or a damaged one") from exc


def _look_into(message: memoryview, kind: str, path: Path) -> None:
    for number, part in _fields(message):
        if kind == "node" and number == _NODE_KIND and bytes(part) in _ENDLESS:
            raise ModelError(f"{path}: has a {bytes(part).decode()}, which may never end; export the network without")
        if kind == "tensor" and (number == _TENSOR_EXTERNAL or (number == _TENSOR_PLACE and any(part))):
            raise ModelError(f"{path}: keeps weights in another file, which is not read; export it into one file")
        if number in _INSIDE[kind]:
            _look_into(part, _INSIDE[kind][number], path)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and content of each field; of a number, its bytes as they stand.

    Raises:
        IndexError, ValueError: it is no such message.
    """
    at = 0
    while at < len(message):
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
        if at > len(message):
            raise ValueError("a field ends after its message")
        yield tag >> 3, message[begin:at]


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("no such number")
