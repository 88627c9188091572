"""The devices a network can run on: what each is called, what it asks for, whether it is there, what it is told.

Names and meanings of options are those of ONNX Runtime's documentation. One rule for precision: it is the model file's.
A float32 model is computed in float32, on NVIDIA's GPUs since 2020 with products rounded to 10 bits (TF32, their
default); whoever wants fp16 exports a model in it. But for OpenVINO on a CPU that computes in bfloat16: it does, unless
it is asked for as openvino:fp32.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import DeviceError
from ..system.machine import cache_folder, computes_in
from ..system.talk import install_command

Shape = tuple[int, int, int]  # pictures, height, width

# What "auto" tries before the CPU. What compiles for minutes must be asked for by name.
_FIRST = ("cuda", "coreml", "directml")


@dataclass(frozen=True, slots=True)
class Device:
    """A kind of device, by the ONNX Runtime execution provider that drives it; or OpenVINO, a runtime of its own."""

    name: str  # as users type it
    provider: str  # empty for OpenVINO
    batch: int = 1  # frames a call, where the user does not say
    workers: int = 1  # calls at a time
    size: str = "default"  # of the network's pictures, where the user does not say: see `spec.SIZES`
    fixed_size: bool = False  # compiles, or plans, for one number and size of pictures
    keeps_compiled: bool = False  # on disk, for later runs
    singly: bool = False  # one picture a call is as quick as several, and the scores are then the same for any batch
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
            "",
            workers=0,
            fixed_size=True,
            keeps_compiled=True,
            singly=True,
            units=r"cpu|fp32|bf16|npu|gpu(\.\d+)?",
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


@dataclass(frozen=True, slots=True)
class Placement:
    """A device, and which of its kind."""

    device: Device
    unit: str = ""  # what followed the colon: "1" of cuda:1, "gpu" of openvino:gpu; empty for the first

    @property
    def options(self) -> dict[str, Any]:
        """The provider options that choose the unit."""
        return {"device_id": int(self.unit)} if self.unit else {}

    @property
    def is_cpu(self) -> bool:
        return self.device.name == "cpu" or self.unit in ("fp32", "bf16")

    @property
    def workers(self) -> int:
        """Calls at a time; 0 for one a thread."""
        return 2 if self.device.name == "openvino" and not self.is_cpu else self.device.workers

    @property
    def kind(self) -> str:
        """As users type it, but for which of several that are alike: all that changes a score."""
        return str(self) if self.device.name == "openvino" else self.device.name

    def __str__(self) -> str:
        return f"{self.device.name}:{self.unit}" if self.unit else self.device.name


def is_there(device: Device) -> bool:
    """Whether what drives it is installed; not, whether it starts."""
    if device.name == "openvino":
        return find_spec("openvino") is not None
    if _is_not_there(device):
        return False
    import onnxruntime

    return device.provider in onnxruntime.get_available_providers()


def _is_not_there(device: Device) -> bool:
    """Whether that is known without ONNX Runtime, whose import OpenVINO need not wait for.

    On Linux its providers are files of their own, but for the CPU's.
    """
    if device.name == "cpu" or sys.platform != "linux" or "onnxruntime" in sys.modules:
        return False
    found = find_spec("onnxruntime")
    folders = (found and found.submodule_search_locations) or []
    library = f"capi/libonnxruntime_providers_{device.name}.so"
    return not any(Path(folder, library).exists() for folder in folders)


def placement_of(device: str) -> Placement:
    """What is meant by "cpu", "cuda", "cuda:1", "openvino:gpu".

    OpenVINO is of the CPU, if nothing else is said, in bfloat16 where that computes in it.

    Raises:
        DeviceError: the name is unknown, or what drives the device is not installed.
    """
    name, colon, unit = device.lower().partition(":")
    if name not in DEVICES:
        raise DeviceError(f"device {device!r} is not known; choose auto, {', '.join(DEVICES)}", usage=True)
    found = DEVICES[name]
    if colon and not (found.units and re.fullmatch(found.units, unit)):
        raise DeviceError(f"device {device!r}: {_what_may_follow(found)}", usage=True)
    if not is_there(found):
        raise DeviceError(_missing(found, device))
    if name == "openvino" and unit in ("", "cpu"):
        unit = "bf16" if computes_in("bf16") else "fp32"
    return Placement(found, unit)


def _missing(device: Device, asked: str) -> str:
    if device.name == "openvino":
        return f"device {asked!r} needs the package openvino: {install_command('openvino')}"
    there = [other.name for other in DEVICES.values() if other.provider and is_there(other)]
    # They bring the same module: installed beside each other, the one that came last wins.
    hint = f"; for it: pip uninstall onnxruntime, then pip install {device.packages}" if device.packages else ""
    if device.name == "rocm":
        hint = "; it went out of onnxruntime with 1.23, use migraphx"
    return f"device {asked!r} is not there: this onnxruntime has {', '.join(there)}{hint}"


def _what_may_follow(device: Device) -> str:
    if not device.units:
        return f"nothing follows {device.name}"
    if device.name == "openvino":
        return "what follows the colon must be cpu, bf16 or fp32 (both on the CPU), gpu, gpu.1 or npu"
    return f"what follows the colon must be a number, as in {device.name}:1"


class Choice(NamedTuple):
    """A device and a model where the user leaves it open: of the twins in the box the float or the int8 one."""

    placement: Placement
    int8: bool  # the model


def choices(device: str, int8: bool | None) -> tuple[Choice, ...]:
    """What `device` may mean, best first: one for a device that is named, perhaps several for "auto".

    By what the CPU has: a table is better than a race at every start, and a run that goes on has to choose as it did.
    What was measured is in stream/README.md under "Which runtime, which twin": the quickest that loses at most 0.3
    points of mean IoU. So int8 where the CPU has VNNI, and OpenVINO if that is installed; else float32 in ONNX Runtime.
    A file that is named is taken as it is, a float one in OpenVINO where the CPU computes in bfloat16.

    Args:
        device: as users call it.
        int8: whether the model is; `None` where that, too, is to be chosen.

    Raises:
        DeviceError: the name is unknown, or what drives the device is not installed.
    """
    if device.lower() != "auto":
        placement = placement_of(device)
        # Who names a precision wants it, and GPUs are not made for QDQ.
        suits = device.lower() in ("cpu", "openvino", "openvino:cpu") and computes_in("int8")
        return (Choice(placement, suits if int8 is None else int8),)
    found = [Choice(Placement(DEVICES[name]), bool(int8)) for name in _FIRST if is_there(DEVICES[name])]
    on_cpu = computes_in("int8") if int8 is None else int8
    if is_there(DEVICES["openvino"]) and computes_in("int8" if on_cpu else "bf16"):
        found.append(Choice(placement_of("openvino"), on_cpu))
    return (*found, Choice(Placement(DEVICES["cpu"]), on_cpu))


@dataclass(frozen=True, slots=True)
class Work:
    """What a session is made for, as far as runtimes care."""

    shape: Shape | None  # None for any
    threads: int  # of a call
    calls: int = 1  # at a time
    alone: bool = False  # while it is done, nothing else wants the cores
    model_sha256: str = ""
    fp16: bool = False  # the graph computes in fp16


def compiled_folder(placement: Placement, work: Work) -> Path:
    """Where what was compiled for exactly this work is kept.

    ONNX Runtime's own names are not enough: TensorRT engines of models of one architecture, or of one model at two
    sizes, share a name (microsoft/onnxruntime#6455, #32254), and Core ML's survive an upgrade that they do not fit.
    TensorRT's version and the GPU's architecture are in the engine's name already.
    """
    pictures, height, width = work.shape or (0, 0, 0)
    if placement.device.name == "openvino":
        return cache_folder() / "openvino"
    import onnxruntime

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
