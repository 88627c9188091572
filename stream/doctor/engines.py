"""The devices that build for minutes before they run: made only where it is asked for, as `roadmask doctor engines`."""

from __future__ import annotations

from collections.abc import Iterator

import onnxruntime

from ..network.providers import DEVICES
from .devices import compared
from .doctor import Finding


def examine() -> Iterator[Finding]:
    available = onnxruntime.get_available_providers()
    there = [device for device in DEVICES.values() if device.building and device.provider in available]
    if there:
        yield from compared(there)
    else:
        yield Finding("engines", "ok", "this onnxruntime has no device that builds before it runs")
