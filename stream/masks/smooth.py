"""Class scores blended over time, so that masks are steady from frame to frame.

What the frames before said is moved along optical flow to where things are now, and believed as far as the picture
before, moved alike, looks like the present one. So nothing smears behind moving things, and a cut starts anew.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from .deciding_state import SmootherState, View
from .flow import Flow, beside_partings, explained, exposed, four_channels, halved, matched, origins_of

# Measured on CamVid's valid.txt, which is at 15 Hz, with the model in the box: more costs IoU, less flickers.
_MEMORY_S = 0.3  # seconds after which what was weighs 1/e, where the pictures agree
_MAX_MEMORY = 0.9  # weight of what was, as at 30 Hz: each move blurs it a little, and equal times must not freeze it
_FRAME_S = 1 / 15  # where times are not known
_RESIDUAL = 21.0  # levels of difference at which it has 1/e of that
_ALIKE = 16.0  # levels of difference up to which a point of the picture before explains one of this
# Below, it is a cut. Over seven drives the frame before explained 0.76 at least, and one three frames back 0.57; of 378
# pairs from different drives none explained more than 0.22.
_MIN_EXPLAINED = 0.4
_MAX_GAP_S = 0.3  # at 0.2 s smoothing still pays, at 0.4 s it costs IoU

Plane = NDArray[np.float32]  # (h, w)

# OpenCV moves a picture of four channels in the time of one and a half planes: measured, putting planes together,
# moving and taking them apart again costs half of moving them one by one. Of two channels it would take longer, and
# round the origins.
_TOGETHER = 4


class Smoother:
    """Blends the scores of one video's frames, given in order. For one thread.

    The first frame, a frame of another size, after a cut, or after a gap in time comes out as it went in.

    >>> import numpy as np
    >>> from roadmask import Smoother
    >>> picture = np.full((64, 96, 3), 128, np.uint8)
    >>> sure, unsure = np.zeros((2, 32, 48), np.float32), np.zeros((2, 32, 48), np.float32)
    >>> sure[0], unsure[1] = 4, 1  # the second frame says, by a little, that all is of the other class
    >>> smoother = Smoother()
    >>> for scores in (sure, unsure):
    ...     blended = smoother.blend(scores, picture)
    >>> int(blended.argmax(0).max())  # it is not believed
    0
    """

    def __init__(self, eye: Eye | None = None) -> None:
        """One `eye` may serve all smoothers that are given the same pictures, each an array of its own."""
        self._eye = eye or Eye(shared=False)
        self._trust = np.exp(-np.square(np.arange(256) / _RESIDUAL))  # by the difference between the pictures
        self._past = MovingPlanes(0, 0, 0)
        self.reset()

    def reset(self) -> None:
        """The next frame does not follow from the last one."""
        self._view: View | None = None
        self._time: Fraction | None = None

    def state(self) -> SmootherState | None:
        """What another one goes on from to the same results, by `restore`."""
        if self._view is None:
            return None
        return SmootherState(self._time, self._view, self.scores())

    def restore(self, state: SmootherState | None) -> None:
        self.reset()
        if state is not None:
            self._keep(state.scores, state.view)
            self._time = state.time

    def blend(
        self,
        scores: NDArray[np.float32],
        picture: NDArray[np.uint8],
        *,
        time: Fraction | None = None,
        motion: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """The frame's `scores` (classes, h, w) blended with those of the frames before; good until the next call.

        Where there are none before, or they do not count, it is `scores` itself.

        Args:
            scores: any that are compared with each other: a class twice as large stays so.
            picture: (H, W, 3) RGB, what the network saw.
            time: of the frame, in seconds; None where frames are known to follow each other, at a rate that is not.
            motion: (h, w, 2) as of `Flow`, back to the last frame that was blended, where this one is known to follow.
        """
        view = self._eye.view(picture, *scores.shape[1:])
        gap_s = _FRAME_S if time is None or self._time is None else float(time - self._time)
        result = scores
        is_like = self._view is not None and self._past.shape == (1 + len(scores), *view.bright.shape)
        if is_like and 0 <= gap_s <= _MAX_GAP_S:
            result = self._with_past(scores, view, gap_s, motion)
        self._keep(result, view)
        self._time = time
        return result

    def scores(self) -> NDArray[np.float32]:
        """Of the last frame that was blended: a copy."""
        return self._past.planes()[1:]

    def _with_past(
        self, scores: NDArray[np.float32], view: View, gap_s: float, motion: NDArray[np.float32] | None
    ) -> NDArray[np.float32]:
        """The blend; `scores` where too little of the picture can be explained by the one before: then it is a cut."""
        assert self._view is not None
        is_followed = motion is not None
        if motion is None:
            motion = self._eye.motion(view, self._view)
        origins, change, difference = matched(view.small, self._view.small, motion, limit=_ALIKE)
        if not is_followed and explained(difference, origins, limit=_ALIKE) < _MIN_EXPLAINED:
            return scores
        difference = beside_partings(difference, origins)
        bright, *past = moved = self._past.moved(origins_of(motion, *view.bright.shape))
        memory = min(math.exp(-gap_s / _MEMORY_S), _MAX_MEMORY)
        weights = self._weights(view.bright, exposed(bright, change), difference, memory)
        for blended, present in zip(past, scores, strict=True):
            cv2.subtract(present, blended, dst=self._news)
            cv2.accumulateProduct(self._news, weights, blended)
        return moved[1:]

    def _weights(
        self, bright: NDArray[np.uint8], expected: NDArray[np.uint8], difference: NDArray[np.uint8], memory: float
    ) -> NDArray[np.float32]:
        """(h, w): of the present, by its brightness, what was `expected`, and the `difference` at half the size."""
        height, width = bright.shape
        # Blurred: one pixel's noise is no sign of another thing. Upright, as is what is thin in a street: poles stay.
        of_brightness = cv2.blur(cv2.absdiff(bright, expected), (1, 7))
        worst = cv2.max(of_brightness, cv2.resize(difference, (width, height), interpolation=cv2.INTER_LINEAR))
        return np.asarray(cv2.LUT(worst, (1 - memory * self._trust).astype(np.float32)), np.float32)

    def _keep(self, result: NDArray[np.float32], view: View) -> None:
        if self._past.shape != (1 + len(result), *view.bright.shape):
            self._past = MovingPlanes(1 + len(result), *view.bright.shape)
            self._news = np.empty(view.bright.shape, np.float32)  # of a class: how the present differs from the past
        self._past.keep([view.bright.astype(np.float32), *result])
        self._view = view


def _view(picture: NDArray[np.uint8], height: int, width: int) -> View:
    whole = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    small = halved(np.asarray(whole, np.uint8))
    bright, gray = (cv2.cvtColor(item, cv2.COLOR_RGB2GRAY) for item in (whole, small))
    return View(np.asarray(bright, np.uint8), four_channels(small), np.asarray(gray, np.uint8))


class Eye:
    """Looks at pictures and how they move, at each once for all who ask. For one thread.

    Before a piece two smoothers are given each frame, and a quarter of what that takes is to look.
    """

    def __init__(self, *, shared: bool = True) -> None:
        self._shared = shared  # otherwise what is the same array may be another picture
        self._flow = Flow()
        self._seen: tuple[NDArray[np.uint8], View] | None = None
        self._moved: tuple[View, View, NDArray[np.float32]] | None = None

    def view(self, picture: NDArray[np.uint8], height: int, width: int) -> View:
        if not self._shared:
            return _view(picture, height, width)
        if self._seen is None or self._seen[0] is not picture or self._seen[1].bright.shape != (height, width):
            self._seen = (picture, _view(picture, height, width))
        return self._seen[1]

    def motion(self, now: View, before: View) -> NDArray[np.float32]:
        """As of `Flow`."""
        if self._moved is None or self._moved[0] is not now or self._moved[1] is not before:
            self._moved = (now, before, self._flow.motion(now.gray, before.gray))
        return self._moved[2]


class MovingPlanes:
    """A number of planes (h, w) of one frame, to be moved to where things are in the next. For one thread."""

    def __init__(self, count: int, height: int, width: int) -> None:
        self.shape = (count, height, width)
        groups = -(-count // _TOGETHER)
        # In one piece: then the system gives it in large pages, which are found sooner.
        room = np.empty((2 * groups + 1) * _TOGETHER * height * width, np.float32)
        parts = room.reshape(2 * groups + 1, height, width, _TOGETHER)
        self._groups, self._moved_group = list(parts[:groups]), parts[groups]
        self._moved = parts[groups + 1 :].reshape(groups * _TOGETHER, height, width)

    def keep(self, planes: Sequence[Plane]) -> None:
        """Copy the planes of a frame."""
        for index, group in enumerate(self._groups):
            chosen = list(planes[index * _TOGETHER : (index + 1) * _TOGETHER])
            missing = _TOGETHER - len(chosen)
            cv2.merge(chosen + chosen[:1] * missing, dst=group)

    def planes(self) -> NDArray[np.float32]:
        """(count, h, w): a copy of the planes kept."""
        apart = np.empty_like(self._moved)
        for number, group in enumerate(self._groups):
            self._split(group, number, apart)
        return apart[: self.shape[0]]

    def moved(self, origins: NDArray[np.float32]) -> NDArray[np.float32]:
        """(count, h, w): the planes with everything where it is now, by `origins` as of `Flow`; till the next call."""
        for number, group in enumerate(self._groups):
            into = self._moved_group
            cv2.remap(group, origins, None, cv2.INTER_LINEAR, dst=into, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
            self._split(into, number, self._moved)
        return self._moved[: self.shape[0]]

    @staticmethod
    def _split(group: NDArray[np.float32], number: int, into: NDArray[np.float32]) -> None:
        # Into planes that are there: making room for new ones takes longer than filling it.
        cv2.split(group, list(into[number * _TOGETHER : (number + 1) * _TOGETHER]))
