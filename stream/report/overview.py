"""The table of all runs of a report."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import accumulate

import numpy as np

from .charts import hex_color
from .run import RunLook
from .words import duration, percent


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
