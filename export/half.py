"""Turn a model file into its fp16 twin: half the size, for GPUs that compute fp16 faster, nearly the same labels.

TensorRT and OpenVINO could round by themselves, but each by an option of its own, and TensorRT no longer from version
11 on. A graph in fp16 is understood by all of them, and can be scored before it is used.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

from ..stream import Model
from .errors import ExportError
from .metadata import quantized_metadata
from .model_file import check_output, placed, write
from .pictures import Samples, drawn
from .verify import ParityReport, verify

NOTE = "fp16: weights and sums of the float32 model in 16 bits; pictures stay uint8, scores float32"


def halve_model(source: Path, output: Path, *, samples: Samples | None = None, overwrite: bool = False) -> ParityReport:
    """Write `output`, the fp16 model, and say how it compares with `source`.

    `output` appears only when whole and found to agree; the same model gives the same bytes.

    Args:
        source: a float32 model file, as `export_model` writes it.
        output: ends with .onnx.
        samples: to compare on; `None` draws some.
        overwrite: replace `output` if it is there.

    Raises:
        ExportError: `output` cannot or must not be written, or its labels differ too much.
        ModelError: `source` is no model file.
    """
    check_output(output, source, source_kind="model", overwrite=overwrite)
    reference = Model.load(source, device="cpu", workers=1)
    graph = onnx.load_model(source)
    if reference.spec.provenance.get("quantization"):
        raise ExportError(f"{source}: is no float32 model; give the float32 one or its checkpoint")
    halved = _halved(graph)
    onnx.helper.set_model_props(halved, quantized_metadata(graph, NOTE))
    onnx.checker.check_model(halved, full_check=True)
    with placed(output) as temporary:
        write(halved, temporary)
        compared = samples or drawn(reference.spec.height, reference.spec.width)
        return verify(reference, Model.load(temporary, device="cpu", workers=1), compared, "fp16")


def _halved(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with fp16 inside: uint8 is cast to it, and it to float32 before the output.

    The normalisation is in fp16 as well: 0 to 255 are exact there, and the mean is off by 0.03 levels at most.
    """
    halved = onnx.ModelProto()
    halved.CopyFrom(graph)
    _constants_to_initializers(halved.graph)
    result: onnx.ModelProto = convert_float_to_float16(halved, keep_io_types=True)
    return result


def _constants_to_initializers(graph: onnx.GraphProto) -> None:
    """Or the converter puts its casts of constants at the end, behind those who read them."""
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        tensor = onnx.helper.get_node_attr_value(node, "value")
        tensor.name = node.output[0]
        graph.initializer.append(tensor)
        graph.node.remove(node)
