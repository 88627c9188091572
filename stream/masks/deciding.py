"""The stage that turns scores into masks: smooths them over time, piece by piece, and decides at the frame's size.

To decide is to enlarge, then to take the best class of each pixel. In this order edges are smooth lines; taking the
best class first and enlarging its labels would leave blocks. Where the grid points around a pixel have one best class
it comes to the same, though, and that is nearly everywhere: only the rest is enlarged, exactly.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..frames import Frame, Position, ScoredFrames, SegmentedFrame, begins_piece, warms_up
from .deciding_state import DecidingState, Known, PieceState
from .familiar import EVERY, Familiarity
from .ignore import Ignored
from .mixed_cells import PIXELS_AT_A_TIME, MixedCells
from .moving_mask import MovingMask
from .reuse import StillClock
from .smooth import Eye, Smoother

# Beyond these, enlarging everything is as quick. Measured with noise blurred to patches of many sizes.
MIN_ENLARGEMENT = 4.0  # pixels of the mask for each of the scores'
MAX_MIXED = 0.02  # mixed cells for each pixel of the mask


class Decided(NamedTuple):
    """A frame with its mask, and what another run could go on from behind it."""

    position: Position
    result: SegmentedFrame
    state: DecidingState | None = None  # now and then
    familiarity: Familiarity = Familiarity()  # of the run's frames, up to this one


class Deciding:
    """Decides the masks of one run, whose frames are given in order. For one thread.

    Args:
        class_count: of the model.
        smooth: blend the scores over time.
        carries: some frames are carried.
        ignored: what is left out of every mask.
        least_lead: of the scores of frames that the model knows; None where that is not known.
        first: the position, among the frames that the run writes, of the first one that is given.
        begin: that of the first whose mask is wanted; those before it warm the smoother up.
        state: of the frame before the first.
        every_s: a state is handed out with a frame about so often; None for never.
        pieces: smooth each piece by itself. Without, as for what nobody can go on with, none is smoothed twice.
    """

    def __init__(
        self,
        class_count: int,
        *,
        smooth: bool,
        carries: bool = False,
        ignored: Ignored | None = None,
        least_lead: float | None = None,
        first: Position = 0,
        begin: Position = 0,
        state: DecidingState | None = None,
        every_s: float | None = None,
        pieces: bool = True,
    ) -> None:
        self._decider = Decider(class_count, carries=carries)
        self._smooth, self._carries = smooth, carries
        self._ignored = ignored
        self._left_out = np.empty((0, 0), np.uint8)  # see `Ignored.pixels`
        self._least_lead = least_lead
        self._familiarity = state.familiarity if state else Familiarity()
        self._first, self._begin = first, max(first, begin)
        self._every_s = every_s
        self._pieces = pieces
        self._stated_at = time.monotonic()
        self._eye = Eye()
        self._piece = _Piece(self._eye, state.piece if state else None, smooth=smooth)
        self._next = _Piece(self._eye, state.next_piece, smooth=smooth) if state and state.next_piece else None
        self._mask = state.mask if state else np.empty((0, 0), np.uint8)
        self._known = state.known if state else None

    def results(self, scored: Iterable[ScoredFrames]) -> Iterator[Decided]:
        for position, (frame, scores) in enumerate(chain.from_iterable(scored), self._first):
            seen = scores
            if self._smooth or self._carries:
                scores = self._smoothed(position, frame, scores)
            if not frame.unchanged:
                self._known = Known(frame.input, frame.time)
            if position < self._begin:
                continue
            self._look(position, frame, seen)
            if not frame.unchanged:
                self._mask = self._without_ignored(self._mask_of(frame, scores))
            result = SegmentedFrame(frame, self._mask, ignores=self._ignored is not None)
            state = self._state() if self._is_due(frame) else None
            yield Decided(position, result, state, self._familiarity)

    def _look(self, position: Position, frame: Frame, scores: NDArray[np.float32] | None) -> None:
        if self._least_lead is None or position % EVERY or frame.unchanged:
            return
        self._familiarity = self._familiarity.with_frame(
            self._piece.scores() if scores is None else scores, self._least_lead
        )

    def _mask_of(self, frame: Frame, scores: NDArray[np.float32] | None) -> NDArray[np.uint8]:
        height, width = frame.picture.height, frame.picture.width
        if scores is not None:
            return self._decider.mask(scores, height, width)
        assert frame.motion is not None
        return self._decider.carried(frame.motion, height, width, self._piece.scores)

    def _without_ignored(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self._ignored:
            if self._left_out.shape != mask.shape:
                self._left_out = self._ignored.pixels(*mask.shape)
            cv2.max(mask, self._left_out, dst=mask)
        return mask

    def _smoothed(self, position: int, frame: Frame, scores: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
        if begins_piece(position) and self._next:
            self._piece, self._next = self._next, None
            self._decider.forget()
        elif warms_up(position) and self._pieces:
            self._next = _Piece(self._eye, smooth=self._smooth)
        if self._next:
            self._next.blend(frame, scores)
        return self._piece.blend(frame, scores) if position >= self._begin else scores

    def _is_due(self, frame: Frame) -> bool:
        if self._every_s is None or time.monotonic() - self._stated_at < self._every_s:
            return False
        if self._carries and not frame.is_key:  # behind one that is, there is no way yet that others go on
            return False
        self._stated_at = time.monotonic()
        return True

    def _state(self) -> DecidingState:
        assert self._known is not None, "a run's first frame is never unchanged"
        following = self._next.state() if self._next else None
        return DecidingState(self._piece.state(), following, self._mask, self._known, self._familiarity)


class _Piece:
    """The smoothing of one piece's frames, and of those before it."""

    def __init__(self, eye: Eye, state: PieceState | None = None, *, smooth: bool = True) -> None:
        self._smooth = smooth
        self._clock = StillClock(state.still if state else None)
        self._smoother = Smoother(eye)
        self._smoother.restore(state.smoother if state else None)

    def blend(self, frame: Frame, scores: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
        """The frame's scores, good until the next call; `None` for one that has none."""
        time = self._clock.time(frame)
        if scores is None:
            return None
        if not self._smooth:
            self._smoother.reset()
        return self._smoother.blend(scores, frame.input, time=time, motion=frame.motion)

    def scores(self) -> NDArray[np.float32]:
        """Of the last frame that had some: a copy."""
        return self._smoother.scores()

    def state(self) -> PieceState:
        return PieceState(self._clock.state, self._smoother.state())


class Decider:
    """Decides masks; keeps its working memory between frames of one size. For one thread.

    Args:
        class_count: of the model.
        carries: some masks are carried.
        min_enlargement, max_mixed: below and above which all is enlarged; the masks are the same, wherever they lie.
        at_a_time: pixels of mixed cells to decide.
    """

    def __init__(
        self,
        class_count: int,
        *,
        carries: bool = False,
        min_enlargement: float = MIN_ENLARGEMENT,
        max_mixed: float = MAX_MIXED,
        at_a_time: int = PIXELS_AT_A_TIME,
    ) -> None:
        self._class_count, self._carries = class_count, carries
        self._min_enlargement, self._max_mixed, self._at_a_time = min_enlargement, max_mixed, at_a_time
        self._coarse, self._fine = _BestClass(), _BestClass()
        self._enlarged = np.empty((0, 0), np.float32)
        self._mixed_cells: MixedCells | None = None
        self._moving: MovingMask | None = None  # the last one

    def mask(self, scores: NDArray[np.float32], height: int, width: int) -> NDArray[np.uint8]:
        """(height, width) class indices from `scores` (classes, h, w); of equal scores the first class wins.

        The scores are enlarged bilinearly with pixel centres at half integers, as the network was trained. A class is
        never wrong by more than the rounding of float32.
        """
        if len(scores) != self._class_count:
            raise ValueError(f"scores are of {len(scores)} classes, not {self._class_count}")
        mask = self._decided(scores, height, width)
        self._moving = MovingMask(mask) if self._carries else None
        return mask

    def carried(
        self, motion: NDArray[np.float32], height: int, width: int, scores: Callable[[], NDArray[np.float32]]
    ) -> NDArray[np.uint8]:
        """The last mask, moved by `motion` (h, w, 2), as of `Flow`, from a later frame back to its own.

        Where it is not there, or of another size, it is made anew, of `scores`.
        """
        if self._moving is None or self._moving.shape != (height, width):
            self._moving = MovingMask(self._decided(scores(), height, width))
        return self._moving.moved(motion)

    def forget(self) -> None:
        """What is carried next are other scores than those of the last mask."""
        self._moving = None

    def _decided(self, scores: NDArray[np.float32], height: int, width: int) -> NDArray[np.uint8]:
        grid = (scores.shape[1], scores.shape[2])
        if height <= grid[0] or width <= grid[1] or height * width < self._min_enlargement * grid[0] * grid[1]:
            return self._enlarge_all(scores, height, width)
        coarse = self._coarse(scores)
        mixed = _mixed(coarse)
        if len(mixed) > self._max_mixed * height * width:
            return self._enlarge_all(scores, height, width)
        if self._mixed_cells is None or self._mixed_cells.shape != (grid, (height, width)):
            self._mixed_cells = MixedCells(grid, (height, width), at_a_time=self._at_a_time)
        mask = self._mixed_cells.spread(coarse)
        self._mixed_cells.decide(scores, mixed, mask)
        return mask

    def _enlarge_all(self, scores: NDArray[np.float32], height: int, width: int) -> NDArray[np.uint8]:
        if self._enlarged.shape != (height, width):
            self._enlarged = np.empty((height, width), np.float32)
        return self._fine(_enlarge(of_class, self._enlarged) for of_class in scores)


def _enlarge(scores: NDArray[np.float32], into: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = into.shape
    cv2.resize(scores, (width, height), dst=into, interpolation=cv2.INTER_LINEAR)
    return into


class _BestClass:
    """Which class has the best score, place by place; keeps its working memory."""

    def __init__(self) -> None:
        self._best = np.empty((0, 0), np.float32)
        self._wins = np.empty((0, 0), np.uint8)

    def __call__(self, scores: Iterable[NDArray[np.float32]]) -> NDArray[np.uint8]:
        """Indices of the best of `scores`, all of one shape; of equal ones the first.

        Each is done with before the next is asked for: one place in memory may serve all.
        """
        for index, candidate in enumerate(scores):
            if index == 0:
                if self._best.shape != candidate.shape:
                    self._best, self._wins = np.empty(candidate.shape, np.float32), np.empty(candidate.shape, np.uint8)
                np.copyto(self._best, candidate)
                mask = np.zeros(candidate.shape, np.uint8)
                continue
            cv2.compare(candidate, self._best, cv2.CMP_GT, dst=self._wins)
            cv2.max(candidate, self._best, dst=self._best)
            # Indices rise, so the latest winner is the largest index: no masked assignment is needed.
            np.bitwise_and(self._wins, np.uint8(index), out=self._wins)
            cv2.max(mask, self._wins, dst=mask)
        return mask


def _mixed(coarse: NDArray[np.uint8]) -> NDArray[np.intp]:
    """The cells whose corners are not all of one class, counted row by row over the (h + 1, w + 1) of them."""
    classes = cv2.copyMakeBorder(coarse, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    corner = classes[:-1, :-1]
    mixed = (corner != classes[1:, :-1]) | (corner != classes[:-1, 1:]) | (corner != classes[1:, 1:])
    return np.flatnonzero(mixed)
