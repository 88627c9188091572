"""Turn a checkpoint into a model file that describes itself. Reads top to bottom."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import torch

from ..stream import Model
from ..stream.spec import MAX_PIXELS
from ..training.checkpoint import Checkpoint, load
from .deploy import DeployedNetwork
from .errors import ExportError
from .metadata import INPUT_NAME, OUTPUT_NAME, metadata
from .model_file import check_output, placed, write
from .pictures import samples
from .verify import ParityReport, verify

_OPSET = 17  # of 2022; every ONNX Runtime that roadmask supports and the other runtimes know it


def export_model(
    checkpoint_path: Path,
    output: Path,
    *,
    overwrite: bool = False,
    pictures: Sequence[Path] | None = None,
    size: tuple[int, int] | None = None,
) -> ParityReport:
    """Write `output`, an ONNX file, and say how it compares with the checkpoint.

    `output` appears only when whole and found to agree; the same checkpoint gives the same bytes.

    Args:
        checkpoint_path: as `roadmask train` wrote it.
        output: ends with .onnx.
        overwrite: replace `output` if it is there.
        pictures: to compare on; `None` for frames of the data set it was trained on.
        size: (height, width) that the model asks for, about; `None` for the one it was scored at in training. With
            another one, those scores are left out of the file, as they would not hold.

    Raises:
        ExportError: `output` cannot or must not be written, or the model disagrees with its checkpoint.
        CheckpointError: not a checkpoint, or a damaged one.
        DataError: one of `pictures` is no picture.
    """
    check_output(output, checkpoint_path, source_kind="checkpoint", overwrite=overwrite)
    checkpoint = _resized(load(checkpoint_path), size)
    compared = samples(checkpoint, pictures)
    network = DeployedNetwork(checkpoint)
    graph = _to_onnx(network, checkpoint)
    onnx.helper.set_model_props(graph, metadata(checkpoint))
    onnx.checker.check_model(graph, full_check=True)
    with placed(output) as temporary:
        write(graph, temporary)
        return verify(network, Model.load(temporary, device="cpu", workers=1), compared, "float32")


def _resized(checkpoint: Checkpoint, size: tuple[int, int] | None) -> Checkpoint:
    if size is None or size == (checkpoint.input_height, checkpoint.input_width):
        return checkpoint
    height, width = size
    if height < 1 or width < 1 or height % checkpoint.stride or width % checkpoint.stride:
        raise ExportError(f"size {width}x{height}: width and height must be multiples of {checkpoint.stride}")
    if height * width > MAX_PIXELS:
        raise ExportError(f"size {width}x{height}: a model takes pictures of {MAX_PIXELS} pixels at most")
    return replace(checkpoint, input_height=height, input_width=width, scores={})


def _to_onnx(network: DeployedNetwork, checkpoint: Checkpoint) -> onnx.ModelProto:
    """The graph, with batch, height and width free, and batch normalisation folded into the convolutions.

    By torch's older exporter. Measured with torch 2.13, both give the same graph of convolutions, clips and resizes
    by scale; the newer one takes 50 s instead of 2 and writes the stack trace of every operation, with the folders
    of whoever exports, into the file.
    """
    height, width = 2 * checkpoint.stride, 3 * checkpoint.stride  # any size will do: nothing in the graph keeps it
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        # It warns, in several ways, that it is the older one. Nothing else is silenced, and what would fix a size or
        # a value in the graph is an error.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("error", torch.jit.TracerWarning)  # type: ignore[attr-defined]  # public, by its docs
        path = Path(folder, "traced.onnx")
        torch.onnx.export(
            network,
            (torch.zeros(1, height, width, 3, dtype=torch.uint8),),
            path,
            dynamo=False,
            opset_version=_OPSET,
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            dynamic_axes={
                INPUT_NAME: {0: "batch", 1: "height", 2: "width"},
                OUTPUT_NAME: {0: "batch", 2: "scores_height", 3: "scores_width"},
            },
        )
        graph = onnx.load_model(path)
    graph.graph.input[0].type.denotation = "IMAGE"
    graph.doc_string = f"roadmask: segments driving pictures into {len(checkpoint.class_names)} classes"
    return graph
