"""The page as HTML: the table of all runs, and one run from its name to its pictures.

What comes out of files is escaped: archives come from anywhere. Charts are SVG, stretched to the page's width, so that
nothing in them is text; their values stand beside them for the script that shows them under the pointer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np

from ..masks.familiar import warning_of
from ..spec import PixelClass
from ..system.talk import number_of
from .run import RunLook, clock
from .track import track_section

_PRESENT = 0.001  # of the picture: fewer pixels are as often a slip as a thing
_TIMES = 6  # below a chart, and one more at most
_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, *(60 * minutes for minutes in (1, 2, 5, 10, 20, 30, 60, 120, 240, 480)))


def overview(runs: Sequence[RunLook]) -> str:
    """A table of all runs, each with a strip of its mean shares."""
    heads = ("Run", "Masks", "Duration", "Size", "Change", "Files", "Unlike", "Mean share of each class")
    rows = []
    for run in runs:
        serious = sum(item.is_serious for item in run.problems)
        cells = (
            f"{len(run.scan.indices):,}",
            _duration(run),
            _size(run),
            percent(run.scan.changed_share),
            f"<b class='bad'>{number_of(serious, 'problem')}</b>" if serious else "whole",
            "&ndash;" if run.unlike is None else percent(run.unlike, digits=0),
            f"<div class='strip'>{_strip(run)}</div>",
        )
        rows.append(_row(f"<a href='#{run.anchor}'>{escape(run.name)}</a>", cells))
    return f"<section class='card'><h2>{len(runs)} runs</h2>{_table(heads, rows)}</section>"


def run_section(run: RunLook, *, alone: bool) -> str:
    """All of one run."""
    level = "h1" if alone else "h2"
    count = len(run.scan.indices)
    about = f"{count:,} mask{'' if count == 1 else 's'} · {_size(run)} · {_duration(run)}"
    parts = [f"<header><{level}>{escape(run.header.source or run.name)}</{level}><p>{about}</p></header>"]
    parts += [_unlike(run), _problems(run), _facts(run)]
    if run.pictures:
        parts.append(_shares(run))
        if run.way:
            parts.append(track_section(run.way, run.anchor, list(run.pictures)))
        parts.append(_pictures(run))
    return f"<article class='run' id='{run.anchor}'>{''.join(parts)}</article>"


def _unlike(run: RunLook) -> str:
    warning = warning_of(run.unlike)
    return f"<p class='note is-odd'><b>Look at these masks</b>: the drive {escape(warning)}.</p>" if warning else ""


def _problems(run: RunLook) -> str:
    if not run.problems:
        statistics = f", and {escape(run.statistics)} says the same of them" if run.statistics else ""
        return (
            "<p class='note is-good'><b>Files whole</b>: every mask can be read and is as it was written, none is "
            f"missing, and times rise evenly{statistics}. Whether the masks are right is for you to see.</p>"
        )
    kind = "is-bad" if any(item.is_serious for item in run.problems) else "is-odd"
    items = "".join(f"<li>{escape(item.text)}</li>" for item in run.problems)
    return f"<section class='note {kind}'><h3>Problems</h3><ul>{items}</ul></section>"


def _facts(run: RunLook) -> str:
    header, scan = run.header, run.scan
    decided = {True: "smoothed over time", False: "each frame by itself", None: ""}[header.smoothed]
    facts = {  # what it is, and a few words about it
        "Source": (escape(header.source or "not known"), ""),
        "Masks": (escape(run.name), ""),
        "Model": (escape(header.model or "not known"), f"<code>{escape((header.model_sha256 or '')[:12])}</code>"),
        "Decided": (decided, ""),
        "Left out": (escape(header.ignored or ""), "shares are of the rest"),
        "Masks taken again": (f"{run.reused:,}" if run.reused else "", "as the picture had not changed"),
        "Masks carried along": (f"{run.carried:,}" if run.carried else "", "of frames that the network has not seen"),
    }
    if len(scan.indices):
        step = f", one in {scan.step}" if scan.step > 1 else ""
        times = f"{clock(scan.times[0])} to {clock(scan.times[-1])}"
        facts["Frames"] = (f"{scan.indices[0]} to {scan.indices[-1]}{step}", times)
    facts["Change"] = (percent(scan.changed_share, digits=2), "of the pixels from mask to mask, motion among it")
    if run.unlike is not None:
        facts["Unlike what the model has learnt"] = (percent(run.unlike, digits=0), "of the frames looked at")
    if run.flicker is not None:
        facts["Flicker"] = (percent(run.flicker, digits=2), "of the points followed along optical flow")
    items = [f"<div><dt>{name}</dt><dd><b>{it}</b> {words}</dd></div>" for name, (it, words) in facts.items() if it]
    return f"<dl class='facts card'>{''.join(items)}</dl>"


def _shares(run: RunLook) -> str:
    edges = run.curve.edges
    begin, duration = edges[0], edges[-1] - edges[0]
    ticks = [(time, (time - begin) / duration) for time in round_times(begin, duration)]
    times = "".join(f"<span style='--at:{place:.2%}'>{clock(time)}</span>" for time, place in ticks)
    places = (run.scan.times[list(run.pictures)] - begin) / duration
    marks = [f"<a href='#{run.anchor}-{at}' style='left:{place:.2%}'>{at}</a>" for at, place in enumerate(places, 1)]
    return (
        "<section class='card'><h3>Share of each class over time</h3>"
        "<div class='plot' tabindex='0' role='img' aria-label='Values under the pointer, or by the arrow keys'>"
        f"{_areas(run)}<div class='cursor' hidden></div><div class='tip' role='status' hidden></div></div>"
        f"<div class='times' aria-hidden='true'>{times}</div><div class='marks'>{''.join(marks)}</div>{_classes(run)}"
        f"<script type='application/json' class='values'>{_values(run)}</script></section>"
    )


def round_times(begin: float, duration: float) -> list[float]:
    """Some from `begin` on, in seconds: the multiples of a round number. `begin` may lie a little beside one."""
    step = next((step for step in _STEPS_S if duration / step <= _TIMES), duration / _TIMES)
    first, last = int(np.ceil((begin - 1e-3) / step)), int(np.floor((begin + duration) / step))
    return [number * step for number in range(first, last + 1)]


def _areas(run: RunLook) -> str:
    """The stacked shares, the first class on top. Each reaches to the floor; the next one is painted over it."""
    tops = 100 * (1 - np.cumsum(run.curve.shares[:, ::-1], axis=1)[:, ::-1])
    paths = []
    for number, item in enumerate(run.header.classes):
        steps = "".join(f"V{top:.1f}h1" for top in tops[:, number])
        paths.append(f"<path data-class='{number}' fill='{_color(item)}' d='M0 100{steps}V100z'/>")
    return f"<svg viewBox='0 0 {len(tops)} 100' preserveAspectRatio='none' aria-hidden='true'>{''.join(paths)}</svg>"


def _values(run: RunLook) -> str:
    """For the script: times in ms, shares in hundredths of a percent; fit for a `<script>`."""
    content = {
        "names": [item.name for item in run.header.classes],
        "colors": [_color(item) for item in run.header.classes],
        "times": np.rint(run.curve.edges[:-1] * 1000).astype(int).tolist(),
        "frames": run.curve.indices.tolist(),
        "shares": np.rint(run.curve.shares * 10_000).astype(int).tolist(),
    }
    return json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")


def _classes(run: RunLook) -> str:
    """A table, the largest first; a click on a name shows that class alone in the chart above."""
    means, known = _means(run), run.scan.known
    rows = []
    for number in np.argsort(-means, kind="stable"):
        item, column = run.header.classes[number], run.scan.shares[known, number]
        low, high = known[column.argmin()], known[column.argmax()]
        name = f"<i class='swatch' style='background:{_color(item)}'></i>{escape(item.name)}"
        bar = f"<i style='--part:{means[number] / means.max():.4f};background:{_color(item)}'></i>"
        bar = bar if means[number] >= _PRESENT else ""
        cells = (
            f"{bar}{percent(means[number])}",
            *(f"<span title='{_place(run, at)}'>{percent(run.scan.shares[at, number])}</span>" for at in (low, high)),
            percent(float((column >= _PRESENT).mean()), digits=0),
        )
        rows.append(_row(f"<button type='button' data-class='{number}' aria-pressed='false'>{name}</button>", cells))
    hint = f"<p class='hint'>A class is in a mask if it covers at least {percent(_PRESENT)} of it.</p>"
    return f"{_table(('Class', 'Mean share', 'Least', 'Most', 'In masks'), rows)}{hint}"


def _pictures(run: RunLook) -> str:
    figures = "".join(
        f"<figure id='{run.anchor}-{number}'>"
        "<button type='button' title='Enlarge'>"
        f"<img src='{uri}' alt='Keyframe {number}: {_place(run, position)}'></button>"
        f"<figcaption><b>{number}</b>{_place(run, position)}</figcaption></figure>"
        for number, (position, uri) in enumerate(run.pictures.items(), 1)
    )
    hint = "<p class='hint'>With <code>--video</code> these are overlays over the frames.</p>"
    return (
        f"<section class='card'><h3>Keyframes</h3>{hint if run.flicker is None else ''}"
        f"<div class='pictures'>{figures}</div></section>"
    )


def _strip(run: RunLook) -> str:
    return "".join(
        f"<i style='width:{mean:.2%};background:{_color(item)}' title='{escape(item.name)} {percent(mean)}'></i>"
        for item, mean in zip(run.header.classes, _means(run), strict=True)
    )


def _table(heads: Iterable[str], rows: Iterable[str]) -> str:
    head = "".join(f"<th scope='col'>{name}</th>" for name in heads)
    return f"<div class='scroll'><table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"


def _row(name: str, cells: Iterable[str]) -> str:
    return f"<tr><th scope='row'>{name}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _means(run: RunLook) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    known = run.scan.shares[run.scan.known].astype(np.float64)
    return known.mean(axis=0) if len(known) else np.zeros(known.shape[1])


def _color(item: PixelClass) -> str:
    """#804080. An archive may come from anywhere: whatever its colours are, this is one."""
    return "#" + "".join(f"{int(value) & 255:02x}" for value in item.color)


def _place(run: RunLook, position: int) -> str:
    return f"{clock(run.scan.times[position])} · frame {run.scan.indices[position]}"


def _size(run: RunLook) -> str:
    return f"{run.header.width}x{run.header.height}"


def _duration(run: RunLook) -> str:
    """Until the end of the last mask, which is shown for a while, too."""
    return clock(run.curve.edges[-1] - run.curve.edges[0]) if run.pictures else "&ndash;"


def percent(share: float, *, digits: int = 1) -> str:
    if np.isnan(share):
        return "&ndash;"
    least = 10.0**-digits
    return f"&lt; {least:g} %" if 0 < share * 100 < least / 2 else f"{share * 100:.{digits}f} %"
