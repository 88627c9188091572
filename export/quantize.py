"""Turn a model file into its int8 twin: smaller, faster on CPUs, nearly the same labels. Reads top to bottom."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from ..stream import Model
from .bias import InputMeans, correct_biases
from .calibration import PICTURE_COUNT, Calibration, find_calibration, given_samples
from .errors import ExportError
from .metadata import quantized_metadata
from .model_file import check_output, placed, write
from .pictures import Picture
from .qdq import find_normalisation, fold_normalisation, share_concat_scales
from .verify import ParityReport, verify

# All that the network is made of, so that no tensor between two of them is float. What is not in this list stays so.
_OPERATORS = ["Conv", "Relu", "Clip", "Add", "Concat", "Resize", "AveragePool", "MaxPool"]


def quantize_model(
    source: Path,
    output: Path,
    data: Path,
    *,
    count: int = PICTURE_COUNT,
    overwrite: bool = False,
    pictures: Sequence[Path] | None = None,
    on_picture: Callable[[int, int], None] | None = None,
) -> ParityReport:
    """Write `output`, the int8 model, and say how it compares with `source`.

    `output` appears only when whole and found to agree; the same model and pictures give the same bytes.

    Args:
        source: a float32 model file, as `export_model` writes it.
        output: ends with .onnx.
        data: to calibrate on, as in `find_calibration`.
        count: of the pictures to calibrate on.
        overwrite: replace `output` if it is there.
        pictures: to compare on; `None` for pictures of `data` that are not calibrated on, where it has such.
        on_picture: told the pictures calibrated on, and how many there are.

    Raises:
        ExportError: `output` cannot or must not be written, or its labels differ too much.
        ModelError: `source` is no model file.
        DataError, SourceError: `data` or one of `pictures` is unusable.
    """
    check_output(output, source, source_kind="model", overwrite=overwrite)
    reference = Model.load(source, device="cpu", workers=1)
    graph = onnx.load_model(source)
    if any(node.op_type in ("DequantizeLinear", "QLinearConv") for node in graph.graph.node):
        raise ExportError(f"{source}: is an int8 model already; give the float32 one or its checkpoint")
    if reference.spec.provenance.get("quantization"):
        raise ExportError(f"{source}: is no float32 model; give the float32 one or its checkpoint")
    calibration = find_calibration(data, reference.spec, count)
    pictures_in_turn = _counted(calibration.pictures, calibration.count, on_picture)
    quantized = quantize_graph(graph, reference.spec.input_name, pictures_in_turn)
    onnx.helper.set_model_props(quantized, quantized_metadata(graph, _note(calibration)))
    onnx.checker.check_model(quantized, full_check=True)
    with placed(output) as temporary:
        write(quantized, temporary)
        compared = calibration.compared if pictures is None else given_samples(pictures)
        return verify(reference, Model.load(temporary, device="cpu", workers=1), compared, "int8")


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # untyped
    """Hands out one picture after the other, as a batch of its own, and shows each to `means`."""

    def __init__(self, input_name: str, pictures: Iterator[Picture], means: InputMeans) -> None:
        self._input_name = input_name
        self._pictures = pictures
        self._means = means

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        picture = next(self._pictures, None)
        if picture is None:
            return None
        self._means.add(picture)
        return {self._input_name: picture[None]}


def _counted(
    pictures: Iterable[Picture], total: int, on_picture: Callable[[int, int], None] | None
) -> Iterator[Picture]:
    for done, picture in enumerate(pictures):
        if on_picture:
            on_picture(done, total)
        yield picture


def quantize_graph(graph: onnx.ModelProto, input_name: str, pictures: Iterator[Picture]) -> onnx.ModelProto:
    """The graph with QuantizeLinear and DequantizeLinear around everything; ONNX Runtime fuses them as it loads.

    Measured with EfficientNet-Lite0 on CamVid's validation pictures, where float32 has 0.716 mIoU and this 0.716:
    - A scale per output channel: the filters of depthwise convolutions differ too much for a common one.
    - Weights of 7 bits (`reduce_range`): CPUs with AVX2 or AVX-512 and without VNNI add two products of 8 bits in
      16 bits, which saturate: without it 97.5 % of the labels stay equal on such a CPU, with it 98.9 %. With 7 bits
      they cannot (2 x 255 x 64 < 2^15), so that all CPUs compute the same.
    - Ranges by the mean of the pictures' minima and maxima: 0.06 points lost on every second picture, 0.26 with the
      extremes of all. Percentiles do as well, but keep every tensor of every picture in memory: gigabytes for ten.
    - Biases make up for what rounding the weights adds to each channel's mean: see `bias`.
    - No layer stays float: the last decoder stage and the classifier in float cost 2 to 10 % of the time, for the
      conversions on their borders.
    """
    means = InputMeans(graph, input_name)
    quantized_graph = onnx.ModelProto()
    quantized_graph.CopyFrom(graph)
    add_pre_process_metadata(quantized_graph)  # or it asks on stderr for what the exporter has done: fold and infer
    normalisation = find_normalisation(graph.graph)
    overrides: dict[str, list[dict[str, Any]]] = {}
    if normalisation:
        overrides[normalisation.tensor] = [
            {"quant_type": QuantType.QUInt8, "scale": normalisation.scale, "zero_point": normalisation.zero_point}
        ]
    with TemporaryDirectory() as folder:
        path = Path(folder, "int8.onnx")
        quantize_static(
            quantized_graph,
            path,
            _Reader(input_name, pictures, means),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_OPERATORS,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            # CalibMaxIntermediateOutputs stays away: in onnxruntime 1.32 it forgets what it has collected.
            extra_options={"CalibMovingAverage": True, "TensorQuantOverrides": overrides},
        )
        quantized = onnx.load_model(path)
    correct_biases(quantized.graph, graph.graph, means)
    if normalisation:
        fold_normalisation(quantized.graph, normalisation)
    share_concat_scales(quantized.graph)
    return quantized


def _note(calibration: Calibration) -> str:
    return (
        "int8: QDQ, weights per channel in 7 bits, biases corrected, activations uint8 by the mean of minima and "
        f"maxima of {calibration.count} pictures ({calibration.origin})"
    )
