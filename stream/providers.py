"""Which ONNX Runtime execution provider a device name means, and whether it is there."""

from __future__ import annotations

from typing import Any

import onnxruntime

from .errors import DeviceError

# Device names users type to provider names, best first for "auto". The order of preference among accelerators is by
# how little can go wrong: TensorRT and OpenVINO compile for minutes or want other precisions, so they are asked for.
PROVIDERS = {
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
_AUTO = ("cuda", "coreml", "directml", "cpu")


def provider_for(device: str) -> tuple[str, dict[str, Any]]:
    """The provider and its options for `device`: "auto", "cpu", "cuda", "cuda:1", "tensorrt", ...

    Raises:
        DeviceError: the name is unknown, or this ONNX Runtime has no such provider.
    """
    name, _, number = device.lower().partition(":")
    available = onnxruntime.get_available_providers()
    if name == "auto":
        name = next(candidate for candidate in _AUTO if PROVIDERS[candidate] in available)
    if name not in PROVIDERS:
        raise DeviceError(f"device {device!r} is not known; choose auto, {', '.join(PROVIDERS)}")
    if PROVIDERS[name] not in available:
        there = [candidate for candidate, provider in PROVIDERS.items() if provider in available]
        raise DeviceError(
            f"device {device!r} is not there: this onnxruntime has {', '.join(there)}"
            + ("; for NVIDIA GPUs: pip install onnxruntime-gpu" if name in ("cuda", "tensorrt") else "")
        )
    if not number:
        return PROVIDERS[name], {}
    if not number.isdigit():
        raise DeviceError(f"device {device!r}: what follows the colon must be a number, as in cuda:1")
    return PROVIDERS[name], {"device_id": int(number)}


def device_of(provider: str) -> str:
    """The device name users know a provider by."""
    return next((device for device, name in PROVIDERS.items() if name == provider), provider)
