"""The parts of a report's page that are drawn: shares over time, change, and the transitions between classes."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from ..spec import PixelClass
from .charts import change_svg, highest_change, place_of_time, share_svg, time_ticks, values_json
from .run import RunLook
from .words import escaped_name, index_of, percent, swatch, time_of

_HOT = 0.6  # of the heat's range, from which on dark letters cannot be read
_BLANK = 0.0005  # transitions that would be told as 0.0 %


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


def transitions_section(run: RunLook) -> str:
    rows, present = run.scan.transition_shares, run.scan.transitions.sum(axis=1) > 0
    shown = np.flatnonzero(present | (run.scan.transitions.sum(axis=0) > 0))
    if not len(shown):
        return ""
    off = rows[np.ix_(shown, shown)].copy()
    np.fill_diagonal(off, np.nan)
    strongest = max(float(np.nanmax(off, initial=0)), _BLANK)
    classes = run.header.classes
    heads = "".join(f"<th scope='col'><span>{escaped_name(classes[number])}</span></th>" for number in shown)
    lines = []
    for before in shown:
        cells = "".join(_cell(rows[before, after], strongest, classes[before], classes[after]) for after in shown)
        lines.append(f"<tr><th scope='row'>{swatch(classes[before])}{escaped_name(classes[before])}</th>{cells}</tr>")
    return (
        "<section class='card'><h3>Transitions</h3>"
        "<p class='hint'>Of a row's class, the share of its pixels that are the column's class in the next mask, "
        "in percent. Framed: those that stay.</p>"
        f"<div class='scroll'><table class='transitions'><thead><tr><td></td>{heads}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div></section>"
    )


def _cell(share: float, strongest: float, before: PixelClass, after: PixelClass) -> str:
    if np.isnan(share):
        return "<td></td>"
    stays = before is after
    # The root, so that rare transitions can be told from none.
    heat = 0.0 if stays else min(share / strongest, 1.0) ** 0.5
    text = f"{share * 100:.1f}" if stays or share >= _BLANK else ""
    title = f"{before.name} to {after.name}: {share * 100:.3f} %"
    kind = " class='stays'" if stays else " class='is-hot'" if heat > _HOT else ""
    return f"<td{kind} style='--heat:{heat:.2f}' title='{escape(title, quote=True)}'>{text}</td>"
