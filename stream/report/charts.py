"""The curves of a report as SVG, and their values for the script that shows them under the pointer.

The pictures are stretched to the page's width, so nothing in them is text: labels are HTML beside them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..spec import PixelClass
from .curve import Curve
from .problems import clock

_WIDTH, _HEIGHT = 1000, 100  # of both pictures' coordinates; a share of 0.1 % is 0.1
_TICKS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400)
_TICKS = 7  # at most, or so


def hex_color(item: PixelClass) -> str:
    """#804080. An archive may come from anywhere: whatever its colours are, this is one."""
    return "#" + "".join(f"{int(value) & 255:02x}" for value in item.color)


def share_svg(curve: Curve, classes: Sequence[PixelClass]) -> str:
    """The stacked shares, the first class on top. Each area reaches to the floor; the next one is painted over it."""
    tops = np.cumsum(curve.shares[:, ::-1], axis=1)[:, ::-1] * _HEIGHT
    x = _x(curve)
    areas = []
    for number, item in enumerate(classes):
        path = "".join(_area(x[piece], _HEIGHT - tops[piece, number]) for piece in curve.pieces)
        areas.append(f'<path data-class="{number}" fill="{hex_color(item)}" d="{path}"/>')
    return _svg("".join(areas))


def change_svg(curve: Curve, highest: float) -> str:
    """The share of pixels that change their class, as a line; `highest` is the picture's upper edge."""
    x, y = _x(curve), _HEIGHT * (1 - curve.changed / highest)
    lines = []
    for piece in curve.pieces:
        places = np.flatnonzero(~np.isnan(y[piece])) + piece.start
        if len(places):
            lines.append("M" + "L".join(_points(x[places], y[places])))
    return _svg(f'<path class="line" d="{"".join(lines)}"/>')


def highest_change(curve: Curve) -> float:
    """A round share, not below any of the curve's."""
    largest = float(np.nanmax(curve.changed)) if np.isfinite(curve.changed).any() else 0.0
    return next((limit for limit in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if largest <= limit), 1.0)


def time_ticks(curve: Curve) -> list[tuple[float, str]]:
    """Where on the page's width, 0 to 1, which time stands."""
    if len(curve.times) < 2:
        return [(0.5, clock(float(curve.times[0])))] if len(curve.times) else []
    first, last = float(curve.times[0]), float(curve.times[-1])
    step = next((step for step in _TICKS_S if (last - first) / step <= _TICKS), _TICKS_S[-1])
    numbers = range(math.ceil(first / step), math.floor(last / step) + 1)
    return [((number * step - first) / (last - first), _tick(number * step, step)) for number in numbers]


def place_of_time(curve: Curve, time: float) -> float:
    """0 to 1, from the curve's left to its right."""
    span = float(curve.times[-1] - curve.times[0])
    return min(max((time - float(curve.times[0])) / span, 0.0), 1.0) if span else 0.5


def values_json(curve: Curve, classes: Sequence[PixelClass]) -> str:
    """For the script: times in ms, shares and changes in hundredths of a percent; fit for a `<script>`."""
    changed = [None if np.isnan(value) else round(float(value) * 10_000) for value in curve.changed]
    content = {
        "names": [item.name for item in classes],
        "colors": [hex_color(item) for item in classes],
        "times": np.rint(curve.times * 1000).astype(int).tolist(),
        "frames": curve.indices.tolist(),
        "shares": np.rint(curve.shares * 10_000).astype(int).tolist(),
        "changed": changed,
    }
    return json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")


def _x(curve: Curve) -> NDArray[np.float64]:
    return np.array([place_of_time(curve, float(time)) * _WIDTH for time in curve.times])


def _area(x: NDArray[np.float64], tops: NDArray[np.float64]) -> str:
    if len(x) == 1:  # a mask between gaps: as narrow as can still be seen
        x, tops = np.array([x[0] - 1, x[0] + 1]), np.repeat(tops, 2)
    return f"M{x[0]:.1f} {_HEIGHT}L{'L'.join(_points(x, tops))}V{_HEIGHT}Z"


def _points(x: NDArray[np.float64], y: NDArray[np.float64]) -> list[str]:
    return [f"{left:.1f} {top:.1f}" for left, top in zip(x, y, strict=True)]


def _svg(content: str) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" aria-hidden="true">{content}</svg>'


def _tick(seconds: float, step: float) -> str:
    text = clock(seconds)
    return text if step < 1 else text.rpartition(".")[0]
