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

# Fields by number: which hold what of interest.
_MODEL_GRAPH, _MODEL_FUNCTION = 7, 25
_GRAPH_NODE, _GRAPH_TENSOR, _GRAPH_SPARSE = 1, 5, 15
_FUNCTION_NODE = 7
_NODE_KIND, _NODE_ATTRIBUTE = 4, 5
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = 5, 6, 10, 11
_ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES = 22, 23
_SPARSE_VALUES, _SPARSE_INDICES = 1, 2
_TENSOR_EXTERNAL, _TENSOR_PLACE = 13, 14


def refuse_bad_model(path: Path) -> None:
    """Raises `ModelError`: the file cannot be read, is no ONNX, keeps data in other files, or could run for ever."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ModelError(f"{path}: larger than a model file can be (2 GB)")
        content = memoryview(path.read_bytes())
    except OSError as exc:
        raise ModelError(f"{path}: cannot be read ({exc.strerror or exc})") from exc
    try:
        for number, part in _fields(content):
            if number == _MODEL_GRAPH:
                _look_into_graph(part, path)
            elif number == _MODEL_FUNCTION:
                _look_into_nodes(part, _FUNCTION_NODE, path)
    except (IndexError, ValueError, RecursionError) as exc:
        raise ModelError(f"{path}: not an ONNX file, or a damaged one") from exc


def _look_into_graph(graph: memoryview, path: Path) -> None:
    for number, part in _fields(graph):
        if number == _GRAPH_TENSOR:
            _refuse_external(part, path)
        elif number == _GRAPH_SPARSE:
            _look_into_sparse(part, path)
    _look_into_nodes(graph, _GRAPH_NODE, path)


def _look_into_nodes(holder: memoryview, field: int, path: Path) -> None:
    for number, node in _fields(holder):
        if number != field:
            continue
        for kind, part in _fields(node):
            if kind == _NODE_KIND and bytes(part) in _ENDLESS:
                raise ModelError(
                    f"{path}: has a {bytes(part).decode()}, which may never end; export the network without"
                )
            if kind == _NODE_ATTRIBUTE:
                _look_into_attribute(part, path)


def _look_into_attribute(attribute: memoryview, path: Path) -> None:
    for number, part in _fields(attribute):
        if number in (_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS):
            _refuse_external(part, path)
        elif number in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS):
            _look_into_graph(part, path)
        elif number in (_ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES):
            _look_into_sparse(part, path)


def _look_into_sparse(tensor: memoryview, path: Path) -> None:
    for number, part in _fields(tensor):
        if number in (_SPARSE_VALUES, _SPARSE_INDICES):
            _refuse_external(part, path)


def _refuse_external(tensor: memoryview, path: Path) -> None:
    for number, part in _fields(tensor):
        if number == _TENSOR_EXTERNAL or (number == _TENSOR_PLACE and any(part)):
            raise ModelError(f"{path}: keeps weights in another file, which is not read; export it into one file")


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
