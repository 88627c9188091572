"""How a report says things: shares, times, classes. What comes out of files is escaped: archives come from anywhere."""

from __future__ import annotations

from html import escape

import numpy as np

from ..spec import PixelClass
from .charts import hex_color
from .problems import clock
from .run import RunLook


def swatch(item: PixelClass) -> str:
    return f"<i class='swatch' style='background:{hex_color(item)}'></i>"


def escaped_name(item: PixelClass) -> str:
    return escape(item.name)


def percent(share: float, *, digits: int = 1) -> str:
    if np.isnan(share):
        return "&ndash;"
    least = 10.0**-digits
    return f"&lt; {least:g} %" if 0 < share * 100 < least / 2 else f"{share * 100:.{digits}f} %"


def duration(run: RunLook) -> str:
    times = run.scan.times
    if len(times) < 2:
        return "&ndash;"
    return clock(float(times[-1] - times[0] + np.median(np.diff(times))))  # the last one is shown for a while, too


def time_of(run: RunLook, position: int) -> float:
    return float(run.scan.times[position])


def index_of(run: RunLook, position: int) -> int:
    return int(run.scan.indices[position])
