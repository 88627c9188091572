"""The stage that turns scores into masks: smooths them over time, piece by piece, and decides."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from ..deciding_state import DecidingState, Known, PieceState
from ..frames import Frame, ScoredFrames, SegmentedFrame, begins_piece, warms_up
from .decide import Decider
from .reuse import StillClock
from .smooth import Smoother


class Deciding:
    """Decides the masks of one run, whose frames are given in order. For one thread.

    Args:
        class_count: of the model.
        smooth: blend the scores over time.
        first: the position, among the frames that the run writes, of the first one that is given.
        begin: that of the first whose mask is wanted; those before it warm the smoother up.
        state: of the frame before the first.
        every_s: a state is handed out with a frame about so often; None for never.
    """

    def __init__(
        self,
        class_count: int,
        *,
        smooth: bool,
        first: int = 0,
        begin: int = 0,
        state: DecidingState | None = None,
        every_s: float | None = None,
    ) -> None:
        self._decider = Decider(class_count)
        self._smooth = smooth
        self._first, self._begin = first, max(first, begin)
        self._every_s = every_s
        self._stated_at = time.monotonic()
        self._piece = _Piece(state.piece if state else None)
        self._next = _Piece(state.next_piece) if state and state.next_piece else None
        self._mask = state.mask if state else np.empty((0, 0), np.uint8)
        self._known = state.known if state else None

    def results(self, scored: Iterable[ScoredFrames]) -> Iterator[SegmentedFrame]:
        for position, (frame, scores) in enumerate(chain.from_iterable(scored), self._first):
            if self._smooth:
                scores = self._smoothed(position, frame, scores)
            if scores is not None:
                self._known = Known(frame.input, frame.time)
            if position < self._begin:
                continue
            if scores is not None:
                self._mask = self._decider.mask(scores, frame.picture.height, frame.picture.width)
            result = SegmentedFrame(frame, self._mask)
            yield replace(result, state=self._state()) if self._is_due() else result

    def _smoothed(self, position: int, frame: Frame, scores: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
        if begins_piece(position) and self._next:
            self._piece, self._next = self._next, None
        elif warms_up(position):
            self._next = _Piece()
        if self._next:
            self._next.blend(frame, scores)
        return self._piece.blend(frame, scores) if position >= self._begin else scores

    def _is_due(self) -> bool:
        if self._every_s is None or time.monotonic() - self._stated_at < self._every_s:
            return False
        self._stated_at = time.monotonic()
        return True

    def _state(self) -> DecidingState:
        assert self._known is not None, "a run's first frame is never unchanged"
        return DecidingState(self._piece.state(), self._next.state() if self._next else None, self._mask, self._known)


class _Piece:
    """The smoothing of one piece's frames, and of those before it."""

    def __init__(self, state: PieceState | None = None) -> None:
        self._clock = StillClock(state.still if state else None)
        self._smoother = Smoother()
        self._smoother.restore(state.smoother if state else None)

    def blend(self, frame: Frame, scores: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
        """The frame's scores, good until the next call; `None` for an unchanged one, as it has none."""
        time = self._clock.time(frame)
        return None if scores is None else self._smoother.blend(scores, frame.input, time=time)

    def state(self) -> PieceState:
        return PieceState(self._clock.state, self._smoother.state())
