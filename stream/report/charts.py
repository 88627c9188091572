"""The parts of a report's page that are drawn: curves of shares and of change.

Curves are SVG, with their values for the script that shows them under the pointer. They are stretched to the page's
width, so nothing in them is text: labels are HTML beside them. What comes out of files is escaped: archives come from
anywhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from ..spec import PixelClass
from .run import RunLook, clock
from .scan import Curve

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


def shares_section(run: RunLook) -> str:
    means = np.nanmean(run.scan.shares, axis=0)
    legend = "".join(
        f"<li><button type='button' data-class='{number}' aria-pressed='false'>{swatch(item)}{escaped_name(item)}"
        f"<span>{percent(mean)}</span></button></li>"
        for number, (item, mean) in enumerate(zip(run.header.classes, means, strict=True))
    )
    marks = "".join(_mark(run, number, item.keyframe.position) for number, item in enumerate(run.pictures, 1))
    plot = _plot(run, share_svg(run.curve, run.header.classes), ("100 %", "50 %", "0 %"))
    values = values_json(run.curve, run.header.classes)
    return (
        "<section class='card'><h3>Share of each class over time</h3>"
        f"<div class='chart' data-kind='shares'>{plot}<div class='marks'>{marks}</div></div>"
        f"<ul class='legend'>{legend}</ul>"
        f"<script type='application/json' class='values'>{values}</script></section>"
    )


def _mark(run: RunLook, number: int, position: int) -> str:
    left = place_of_time(run.curve, time_of(run, position))
    target, frame = f"#{run.anchor}-frame-{number}", index_of(run, position)
    return f"<a href='{target}' style='left:{left:.2%}' title='Frame {frame}'>{number}</a>"


def _plot(run: RunLook, svg: str, labels: Sequence[str]) -> str:
    ticks = "".join(f"<span style='left:{place:.2%}'>{text}</span>" for place, text in time_ticks(run.curve))
    rows = "".join(f"<span>{label}</span>" for label in labels)
    return (
        f"<div class='levels' aria-hidden='true'>{rows}</div>"
        "<div class='plot' tabindex='0' role='img' aria-label='Values under the pointer, or by the arrow keys'>"
        f"{svg}<div class='cursor' hidden></div><div class='tip' role='status' hidden></div></div>"
        f"<div class='ticks' aria-hidden='true'>{ticks}</div>"
    )


def change_section(run: RunLook) -> str:
    limit = highest_change(run.curve)
    numbers = [(percent(run.scan.changed_share, digits=2), "of the pixels change their class from mask to mask")]
    if run.flicker is not None:
        numbers.insert(0, (percent(run.flicker.rate, digits=2), "flicker: of the points followed along optical flow"))
        hint = (
            f"Flicker was measured over {run.flicker.pairs} pairs of masks spread over the run; motion does not count "
            "in it, as it does in the change of pixels. Peaks are cuts and turns, or masks that jump."
        )
    else:
        hint = (
            "Motion counts as change here; with --video the report tells flicker along optical flow. "
            "Peaks are cuts and turns, or masks that jump."
        )
    told = "".join(f"<div><b>{value}</b><span>{what}</span></div>" for value, what in numbers)
    chart = _plot(run, change_svg(run.curve, limit), (percent(limit, digits=0), "", "0 %"))
    return (
        f"<section class='card'><h3>Change and flicker</h3><div class='numbers'>{told}</div>"
        f"<div class='chart is-low' data-kind='changed'>{chart}</div><p class='hint'>{hint}</p></section>"
    )


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
