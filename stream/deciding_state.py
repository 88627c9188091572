"""What deciding masks goes on from, after a frame: the state of smoothing and of reuse, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """A picture whose mask is known."""

    input: NDArray[np.uint8]  # as the frame's
    time: Fraction


@dataclass(frozen=True, slots=True)
class StillState:
    """What a `StillClock` knows."""

    time: Fraction = Fraction(0)  # of the last frame
    unchanged: bool = False  # that frame
    left_out: Fraction = Fraction(0)  # seconds, up to there
    still_since: Fraction = Fraction(0)


class View(NamedTuple):
    """What the scores of a frame are compared by. Colour takes half the resolution, as it does in most video."""

    bright: NDArray[np.uint8]  # (h, w) gray, of the scores' size
    small: NDArray[np.uint8]  # RGB, of half that size
    gray: NDArray[np.uint8]  # likewise


@dataclass(frozen=True, slots=True, eq=False)
class SmootherState:
    """What a `Smoother` keeps of the last frame."""

    time: Fraction | None  # seconds
    view: View
    scores: NDArray[np.float32]  # (classes, h, w), blended


@dataclass(frozen=True, slots=True, eq=False)
class PieceState:
    """What the smoothing of one piece knows of the frames before."""

    still: StillState
    smoother: SmootherState | None


@dataclass(frozen=True, slots=True, eq=False)
class DecidingState:
    """What goes on, after the frame that it comes with, to the same masks."""

    piece: PieceState
    next_piece: PieceState | None  # while it warms up
    mask: NDArray[np.uint8]  # of the frame
    known: Known  # the picture whose mask that is
