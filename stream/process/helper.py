"""What a `HelperProcess` has in common with others: how it is told things, how it answers, and how it ends."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from typing import Any, BinaryIO

from .stop import STOPPING

_PR_SET_PDEATHSIG = 1  # prctl(2)


def take_orders() -> tuple[dict[str, Any], BinaryIO]:
    """What was ordered, and the pipe that more comes from until its end, which is the order to end."""
    for number in STOPPING:  # meant for the process that started it, which will say so
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        # A process that is killed cannot say so. The pipe's end would do, but not while FFmpeg hangs in a write.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    pipe = os.fdopen(0, "rb", closefd=False)
    line = pipe.readline()
    if not line:
        sys.exit()
    orders: dict[str, Any] = json.loads(line)
    return orders, pipe


def say(**words: object) -> None:
    """Tell the process that started this one, if it still is."""
    try:
        os.write(1, json.dumps(words).encode() + b"\n")
    except BrokenPipeError:
        sys.exit()
