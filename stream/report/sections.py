"""The parts of a report's page as HTML: the table of all runs, and one run from its name to its flicker."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import accumulate

import numpy as np

from .charts import (
    change_section,
    duration,
    escaped_name,
    hex_color,
    index_of,
    percent,
    shares_section,
    swatch,
    time_of,
)
from .run import RunLook, clock

_PRESENT = 0.001  # of the picture: fewer pixels are as often a slip as a thing


def run_section(run: RunLook, *, alone: bool) -> str:
    """All of one run."""
    parts = [_head(run, alone=alone), _problems(run), _facts(run)]
    if len(run.curve.times):
        parts += [shares_section(run), _pictures(run), _table(run), change_section(run)]
    return f'<article class="run" id="{run.anchor}">{"".join(parts)}</article>'


def _head(run: RunLook, *, alone: bool) -> str:
    title = escape(run.header.source or run.name)
    level = "h1" if alone else "h2"
    count = len(run.scan.indices)
    about = [f"{count:,} mask{'' if count == 1 else 's'}", f"{run.header.width}x{run.header.height}"]
    if count > 1:
        about.append(f"{duration(run)}")
    return f"<header><{level}>{title}</{level}><p>{' · '.join(about)}</p></header>"


def _problems(run: RunLook) -> str:
    if not run.problems:
        return "<p class='note is-good'>No problems: every mask is whole, none is missing, and times rise evenly.</p>"
    items = "".join(
        f"<li class='{'is-serious' if item.is_serious else ''}'>{escape(item.text)}</li>" for item in run.problems
    )
    kind = "is-bad" if any(item.is_serious for item in run.problems) else "is-odd"
    return f"<section class='note {kind}'><h3>Problems</h3><ul>{items}</ul></section>"


def _facts(run: RunLook) -> str:
    header, scan = run.header, run.scan
    digest = (
        f"<code title='{escape(header.model_sha256)}'>{escape(header.model_sha256[:12])}</code>"
        if header.model_sha256
        else ""
    )
    smoothed = {True: "steady over time", False: "each frame by itself", None: ""}[header.smoothed]
    facts = [
        ("Source", escape(header.source or "not known")),
        ("Masks", escape(run.name)),
        ("Model", " ".join(filter(None, [escape(header.model or "not known"), digest]))),
        ("Decided", smoothed),
        ("Frames", f"{scan.indices[0]} to {scan.indices[-1]}{_every(scan.step)}" if len(scan.indices) else "none"),
        ("Time", f"{clock(scan.times[0])} to {clock(scan.times[-1])}" if len(scan.indices) else ""),
        ("Size", f"{header.width}x{header.height}"),
        ("Masks taken again", f"{run.reused:,}, as the picture had not changed" if run.reused else ""),
    ]
    items = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts if value)
    return f"<dl class='facts card'>{items}</dl>"


def _pictures(run: RunLook) -> str:
    figures = []
    for number, picture in enumerate(run.pictures, 1):
        position = picture.keyframe.position
        badge = "<span class='badge'>scene change</span>" if picture.keyframe.is_scene_change else ""
        index, time = index_of(run, position), clock(time_of(run, position))
        figures.append(
            f"<figure id='{run.anchor}-frame-{number}'><img src='{picture.uri}' width='{picture.width}' "
            f"height='{picture.height}' loading='lazy' alt='Frame {index}'>"
            f"<figcaption><b>{number}</b>{time}<span>frame {index}</span>{badge}</figcaption></figure>"
        )
    hint = "" if run.has_video else "<p class='hint'>With <code>--video</code> these are overlays over the frames.</p>"
    return f"<section class='card'><h3>Keyframes</h3>{hint}<div class='pictures'>{''.join(figures)}</div></section>"


def _table(run: RunLook) -> str:
    shares, times = run.scan.shares, run.scan.times
    means = np.nanmean(shares, axis=0)
    largest = float(means.max()) or 1.0
    known = int((~np.isnan(shares).any(axis=1)).sum())
    rows = []
    for number in np.argsort(-means, kind="stable"):
        item, column = run.header.classes[number], shares[:, number]
        low, high = int(np.nanargmin(column)), int(np.nanargmax(column))
        present = float((column >= _PRESENT).sum()) / known
        rows.append(
            f"<tr><th scope='row'>{swatch(item)}{escaped_name(item)}</th>"
            f"<td class='bar'><i style='--part:{means[number] / largest:.4f};background:{hex_color(item)}'></i>"
            f"<span>{percent(means[number])}</span></td>"
            f"<td title='frame {index_of(run, low)} at {clock(times[low])}'>{percent(column[low])}</td>"
            f"<td title='frame {index_of(run, high)} at {clock(times[high])}'>{percent(column[high])}</td>"
            f"<td>{percent(present, digits=0)}</td></tr>"
        )
    return (
        "<section class='card'><h3>Classes</h3><div class='scroll'><table class='classes'><thead><tr>"
        "<th scope='col'>Class</th><th scope='col'>Mean share</th><th scope='col'>Least</th>"
        "<th scope='col'>Most</th><th scope='col'>In masks</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        f"<p class='hint'>Share of the picture. A class is in a mask if it covers at least {percent(_PRESENT)} of it."
        "</p></section>"
    )


def _every(step: int) -> str:
    return f", one in {step}" if step > 1 else ""


def overview(runs: Sequence[RunLook]) -> str:
    """A table of all runs, each with a strip of its mean shares."""
    rows = []
    for run in runs:
        header = run.header
        problems = sum(item.is_serious for item in run.problems)
        state = f'<span class="bad">{problems}</span>' if problems else '<span class="good">none</span>'
        rows.append(
            f'<tr><th scope="row"><a href="#{run.anchor}">{escape(run.name)}</a></th>'
            f"<td>{len(run.scan.indices):,}</td><td>{duration(run)}</td><td>{header.width}x{header.height}</td>"
            f"<td>{percent(run.scan.changed_share)}</td><td>{state}</td><td class='strip-cell'>{_strip(run)}</td></tr>"
        )
    heads = "".join(
        f"<th scope='col'>{name}</th>"
        for name in ("Run", "Masks", "Duration", "Size", "Change", "Problems", "Mean share of each class")
    )
    return (
        f"<section class='card'><h2>{len(runs)} runs</h2><div class='scroll'><table class='runs'>"
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _strip(run: RunLook) -> str:
    if not len(run.curve.times):
        return ""
    means = np.nanmean(run.scan.shares, axis=0).tolist()
    ends = accumulate(means)
    pieces = "".join(
        f"<rect x='{(end - mean) * 100:.2f}' width='{mean * 100:.2f}' height='10' fill='{hex_color(item)}'>"
        f"<title>{escape(item.name)} {percent(mean)}</title></rect>"
        for item, mean, end in zip(run.header.classes, means, ends, strict=True)
    )
    return f"<svg class='strip' viewBox='0 0 100 10' preserveAspectRatio='none'>{pieces}</svg>"
