"""What is taken where the user leaves it open: the device, and of the twins in the box the float or the int8 one.

By what the CPU has: a table is better than a race at every start, and a run that goes on has to choose as it did. What
was measured, speed and mean IoU, is in stream/README.md under "Which runtime, which twin": the quickest is taken that
loses at most 0.3 points. So the int8 twin where the CPU has VNNI, in OpenVINO if that is installed; else float32 in
ONNX Runtime. A file that is named is taken as it is, a float one in OpenVINO where the CPU computes in bfloat16.
"""

from __future__ import annotations

from typing import NamedTuple

from ..system.machine import computes_in
from .providers import DEVICES, Placement, is_there, placement_of

# What "auto" tries before the CPU. What compiles for minutes must be asked for by name.
_FIRST = ("cuda", "coreml", "directml")


class Choice(NamedTuple):
    placement: Placement
    int8: bool  # the model


def choices(device: str, int8: bool | None) -> tuple[Choice, ...]:
    """What `device` may mean, best first: one for a device that is named, perhaps several for "auto".

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
