"""Which class is taken for which: a confusion matrix as a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure  # without pyplot: no window, no global state
from numpy.typing import NDArray

_CELL_INCHES = 0.55
_MARGIN_INCHES = 2.4  # for the names and the title
_LEAST_INCHES = 5  # a title needs its room however few the classes
_MAX_NUMBERED = 40  # classes; with more, the numbers could not be read, and the CSV file has them all
_LEAST_SHOWN = 0.005  # a smaller share would be 0.00


def confusion_plot(confusion: NDArray[np.int64], class_names: Sequence[str], title: str) -> Figure:
    """A row a true class, a column a predicted one; each row adds up to 1. Grey rows are classes that do not occur."""
    pixels = confusion.sum(axis=1, keepdims=True)
    shares = np.divide(confusion, pixels, out=np.full(confusion.shape, np.nan), where=pixels > 0)
    count = len(class_names)
    side = max(_MARGIN_INCHES + _CELL_INCHES * count, _LEAST_INCHES)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.subplots()
    axes.set_facecolor("lightgray")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = [_literal(name) for name in class_names]
    of_all = (pixels[:, 0] / max(int(pixels.sum()), 1)).tolist()
    axes.set_xticks(range(count), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(count), [f"{name}  {share:.1%}" for name, share in zip(names, of_all, strict=True)])
    axes.set(title=_literal(title), xlabel="predicted", ylabel="truth, and its share of the labelled pixels")
    axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    if count <= _MAX_NUMBERED:
        for (row, column), share in np.ndenumerate(shares):
            if share >= _LEAST_SHOWN:
                color = "white" if share > 0.5 else "black"
                axes.text(column, row, f"{share:.2f}", ha="center", va="center", fontsize=8, color=color)
    return figure


def _literal(text: str) -> str:
    """Between two dollar signs, matplotlib would read a formula."""
    return text.replace("$", r"\$")
