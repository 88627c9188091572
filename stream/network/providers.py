"""The devices a network can run on: what each is called, what it asks for, whether it is there, what it is told.

Names and meanings of options are those of ONNX Runtime's documentation. One rule for precision: it is the model file's.
A float32 model is computed in float32, on NVIDIA's GPUs since 2020 with products rounded to 10 bits (TF32, their
default); whoever wants fp16 exports a model in it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime

from ..errors import DeviceError
from ..system.machine import cache_folder

Shape = tuple[int, int, int]  # pictures, height, width


@dataclass(frozen=True, slots=True)
class Device:
    """A kind of device, by the ONNX Runtime execution provider that drives it."""

    name: str  # as users type it
    provider: str
    batch: int = 1  # frames a call, where the user does not say
    workers: int = 1  # calls at a time
    size: str = "default"  # of the network's pictures, where the user does not say: see `spec.SIZES`
    fixed_size: bool = False  # compiles, or plans, for one number and size of pictures
    keeps_compiled: bool = False  # on disk, for later runs
    one_call_at_a_time: bool = False  # a session of it must not be called by two threads at once
    memory_pattern: bool = True  # ONNX Runtime may plan its memory
    rest: tuple[str, ...] = ()  # providers that take what it does not know, before the CPU
    building: str = ""  # what it spends minutes on when it meets a new size; empty if it does not
    units: str = r"\d+"  # what may follow the colon, as a pattern
    packages: str = ""  # that bring it, for messages


# Batches: a CPU gains nothing from them. A GPU with thousands of lanes is not filled by one picture of a small network,
# and is by 8 of 640x352, which take some hundreds of megabytes; more only wait longer. Apple's and Intel's accelerators
# are made for single pictures.
# Two calls at a time where a device takes them: one copies its pictures in and its scores out while the other computes.
# Sizes: what a CPU waits half as long again for, a large GPU has to spare.
DEVICES = {
    device.name: device
    for device in (
        Device(
            "cuda",
            "CUDAExecutionProvider",
            batch=8,
            workers=2,
            size="large",
            packages="'onnxruntime-gpu[cuda,cudnn]'",
        ),
        Device(
            "tensorrt",
            "TensorrtExecutionProvider",
            batch=8,
            workers=2,
            size="large",
            fixed_size=True,
            keeps_compiled=True,
            rest=("CUDAExecutionProvider",),
            building="building a TensorRT engine",
            packages="'onnxruntime-gpu[cuda,cudnn]' 'tensorrt<11'",  # what it was built for, as of 1.31
        ),
        Device(
            "openvino",
            "OpenVINOExecutionProvider",
            fixed_size=True,
            keeps_compiled=True,
            units=r"cpu|npu|gpu(\.\d+)?",
            packages="onnxruntime-openvino",
        ),
        Device("coreml", "CoreMLExecutionProvider", fixed_size=True, keeps_compiled=True, units=""),
        # Its documentation: memory patterns must be off, and a session must not be called by two threads at once.
        Device(
            "directml",
            "DmlExecutionProvider",
            batch=4,
            fixed_size=True,
            one_call_at_a_time=True,
            memory_pattern=False,
            packages="onnxruntime-directml",
        ),
        Device(
            "migraphx",
            "MIGraphXExecutionProvider",
            batch=8,
            size="large",
            fixed_size=True,
            keeps_compiled=True,
            building="compiling with MIGraphX",
            packages="onnxruntime-migraphx",
        ),
        # Gone from ONNX Runtime since 1.23: AMD's GPUs are driven by MIGraphX there.
        Device("rocm", "ROCMExecutionProvider", batch=8, size="large", packages="onnxruntime-rocm"),
        Device("cpu", "CPUExecutionProvider", workers=0, units=""),
    )
}
# What "auto" tries, best first. What compiles for minutes, or computes otherwise than asked, must be asked for by name.
_AUTO = ("cuda", "coreml", "directml", "cpu")


@dataclass(frozen=True, slots=True)
class Placement:
    """A device, and which of its kind."""

    device: Device
    unit: str = ""  # what followed the colon: "1" of cuda:1, "gpu" of openvino:gpu; empty for the first

    @property
    def options(self) -> dict[str, Any]:
        """The provider options that choose the unit."""
        if self.device.name == "openvino":
            return {"device_type": self.unit.upper() or "CPU"}
        return {"device_id": int(self.unit)} if self.unit else {}

    def __str__(self) -> str:
        return f"{self.device.name}:{self.unit}" if self.unit else self.device.name


def placements(device: str) -> tuple[Placement, ...]:
    """What `device` may mean, best first: one for "cpu", "cuda", "cuda:1", "openvino:gpu"; several for "auto".

    Raises:
        DeviceError: the name is unknown, or this ONNX Runtime has no such provider.
    """
    available = onnxruntime.get_available_providers()
    if device.lower() == "auto":
        return tuple(Placement(DEVICES[name]) for name in _AUTO if DEVICES[name].provider in available)
    name, colon, unit = device.lower().partition(":")
    if name not in DEVICES:
        raise DeviceError(f"device {device!r} is not known; choose auto, {', '.join(DEVICES)}", usage=True)
    found = DEVICES[name]
    if colon and not (found.units and re.fullmatch(found.units, unit)):
        raise DeviceError(f"device {device!r}: {_what_may_follow(found)}", usage=True)
    if found.provider not in available:
        raise DeviceError(_missing(found, device, available))
    return (Placement(found, unit),)


def _missing(device: Device, asked: str, available: list[str]) -> str:
    there = [name for name, other in DEVICES.items() if other.provider in available]
    # They bring the same module: installed beside each other, the one that came last wins.
    hint = f"; for it: pip uninstall onnxruntime, then pip install {device.packages}" if device.packages else ""
    if device.name == "rocm":
        hint = "; it went out of onnxruntime with 1.23, use migraphx"
    return f"device {asked!r} is not there: this onnxruntime has {', '.join(there)}{hint}"


def _what_may_follow(device: Device) -> str:
    if not device.units:
        return f"nothing follows {device.name}"
    if device.name == "openvino":
        return "what follows the colon must be cpu, gpu, gpu.1 or npu"
    return f"what follows the colon must be a number, as in {device.name}:1"


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
    options, folder = placement.options, str(compiled_folder(placement, work))
    match placement.device.name:
        case "cuda":
            return rest_options(placement)
        case "tensorrt":
            return options | {
                "trt_engine_cache_enable": True,
                "trt_engine_cache_path": folder,
                "trt_timing_cache_enable": True,
                "trt_timing_cache_path": folder,
                # TensorRT 10 refuses a graph in fp16 without; from 11 on the graph's own types count alone.
                "trt_fp16_enable": work.fp16,
                # No `trt_profile_*_shapes`: sizes are fixed, so there is no range to say.
            }
        case "openvino":
            kind = str(options["device_type"])
            config = {"EXECUTION_MODE_HINT": "ACCURACY", "CACHE_DIR": folder}
            if kind == "CPU":
                config["INFERENCE_NUM_THREADS"] = str(work.threads)
            # By `load_config`: the options of the same meaning are deprecated since 1.23.
            return options | {"load_config": json.dumps({kind.partition(".")[0]: config})}
        case "coreml":
            sizes = {"ModelFormat": "MLProgram", "MLComputeUnits": "ALL", "RequireStaticInputShapes": "1"}
            return sizes | {"ModelCacheDirectory": folder}
        case "migraphx":
            return options | {"migraphx_model_cache_dir": folder}
    return options


def rest_options(placement: Placement) -> dict[str, Any]:
    """CUDA's, also where it takes what TensorRT does not know.

    `do_copy_in_default_stream` stays as it is: without it, copies may race (microsoft/onnxruntime#4829).
    """
    return placement.options | {
        # The default, EXHAUSTIVE, times every algorithm again for each new size, the last and smaller batch among
        # them: up to a second each (PaddlePaddle/PaddleX#5057: 634 ms against 1.9 ms, and no slower afterwards).
        "cudnn_conv_algo_search": "HEURISTIC",
        # A video is of one size, so what was asked for will be asked for again. Powers of two take up to twice of it.
        "arena_extend_strategy": "kSameAsRequested",
    }
