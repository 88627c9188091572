"""Which device computes, and in which precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from .errors import TrainingError, first_line
from .settings import Precision

Autocast = AbstractContextManager[Any]


def choose_device(name: str) -> torch.device:
    """The device called `name`; "auto" is the first CUDA GPU, else the CPU.

    Raises:
        TrainingError: there is no such device; a named one is never replaced by another.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as exc:
        raise TrainingError(f"device {name!r} is not known; choose auto, cpu, cuda, cuda:1, ...", usage=True) from exc
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as exc:
        # Of what torch says, the other lines are for its developers.
        raise TrainingError(f"device {name!r} is not there ({first_line(exc)}); try --device auto") from exc
    return device


def choose_autocast(precision: Precision, device: torch.device) -> Autocast:
    """A context for the forward pass: bf16 if asked for, or by "auto" where the hardware computes in it."""
    wanted = precision == "bf16" or (precision == "auto" and _computes_in_bf16(device))
    return torch.autocast(device.type, dtype=torch.bfloat16) if wanted else nullcontext()


def precision_name(autocast: Autocast) -> str:
    return "bf16" if isinstance(autocast, torch.autocast) else "fp32"


def _computes_in_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):  # a young function
        capabilities = torch.cpu.get_capabilities()
        # Emulated on a CPU without these, bf16 is ten times slower than fp32.
        return any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16"))
    return False
