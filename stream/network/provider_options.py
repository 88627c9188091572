"""What each execution provider is told. Names and meanings are those of ONNX Runtime's documentation.

One rule for precision: it is the model file's. A float32 model is computed in float32, on NVIDIA's GPUs since 2020 with
products rounded to 10 bits (TF32, their default); whoever wants fp16 exports a model in it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime

from ..system.machine import cache_folder
from .providers import Placement

Shape = tuple[int, int, int]  # pictures, height, width


@dataclass(frozen=True, slots=True)
class Work:
    """What a session is made for, as far as providers care."""

    shape: Shape | None  # None for any
    threads: int
    model_sha256: str = ""
    fp16: bool = False  # the graph computes in fp16


def compiled_folder(placement: Placement, work: Work) -> Path:
    """Where what was compiled for exactly this work is kept.

    ONNX Runtime's own names are not enough: TensorRT engines of models of one architecture, or of one model at two
    sizes, share a name (microsoft/onnxruntime#6455, #32254), and Core ML's survive an upgrade that they do not fit.
    TensorRT's version and the GPU's architecture are in the engine's name already.
    """
    pictures, height, width = work.shape or (0, 0, 0)
    shape = f"{pictures}x{height}x{width}" if work.shape else "any"
    model = f"{work.model_sha256[:16]}-{shape}"
    return cache_folder() / placement.device.name / f"onnxruntime-{onnxruntime.__version__}" / model


def provider_options(placement: Placement, work: Work) -> dict[str, Any]:
    """The options of the placement's provider."""
    name, folder = placement.device.name, str(compiled_folder(placement, work))
    if name == "cuda":
        return placement.options | _cuda()
    if name == "tensorrt":
        return placement.options | _tensorrt(folder, fp16=work.fp16)
    if name == "openvino":
        return placement.options | _openvino(placement, folder, work.threads)
    if name == "coreml":
        return _coreml(folder)
    if name == "migraphx":
        return placement.options | {"migraphx_model_cache_dir": folder}
    return placement.options


def rest_options(placement: Placement) -> dict[str, Any]:
    """The options of providers that take what the placement's own does not know: CUDA's, beside TensorRT."""
    return placement.options | _cuda()


def _cuda() -> dict[str, Any]:
    """`do_copy_in_default_stream` stays as it is: without it, copies may race (microsoft/onnxruntime#4829)."""
    return {
        # The default, EXHAUSTIVE, times every algorithm again for each new size, the last and smaller batch among
        # them: up to a second each (PaddlePaddle/PaddleX#5057: 634 ms against 1.9 ms, and no slower afterwards).
        "cudnn_conv_algo_search": "HEURISTIC",
        # A video is of one size, so what was asked for will be asked for again. Powers of two take up to twice of it.
        "arena_extend_strategy": "kSameAsRequested",
    }


def _tensorrt(folder: str, *, fp16: bool) -> dict[str, Any]:
    """No `trt_profile_*_shapes`: sizes are fixed, so there is no range to say.

    `trt_fp16_enable`: TensorRT 10 refuses a graph in fp16 without; from 11 on the graph's own types count alone.
    """
    return {
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": folder,
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": folder,
        "trt_fp16_enable": fp16,
    }


def _openvino(placement: Placement, folder: str, threads: int) -> dict[str, Any]:
    """By `load_config`: the options of the same meaning are deprecated since 1.23."""
    kind = str(placement.options["device_type"])
    config = {"EXECUTION_MODE_HINT": "ACCURACY", "CACHE_DIR": folder}
    if kind == "CPU":
        config["INFERENCE_NUM_THREADS"] = str(threads)
    return {"load_config": json.dumps({kind.partition(".")[0]: config})}


def _coreml(folder: str) -> dict[str, Any]:
    return {
        "ModelFormat": "MLProgram",
        "MLComputeUnits": "ALL",
        "RequireStaticInputShapes": "1",
        "ModelCacheDirectory": folder,
    }
