"""The data that flows through the stages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice

import av
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class VideoInfo:
    """What is known of a video before its frames are decoded. `None` means not known."""

    width: int  # upright: as a player shows it, after rotation
    height: int
    rate: Fraction | None  # average frames per second
    frame_count: int | None  # as the container declares it
    duration: Fraction | None  # seconds, as declared
    time_base: Fraction  # unit of the frames' pts, in seconds
    rotation: int  # degrees counter-clockwise that the decoder's pictures were turned by to stand upright
    sample_aspect_ratio: Fraction  # width of a pixel by its height, upright; 1 where not declared
    codec: str
    pixel_format: str
    has_audio: bool
    live: bool


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded picture, upright, and its place in the video."""

    index: int  # among the decoded frames of the source, from 0; frames left out by --stride are counted
    pts: int  # in units of `time_base`, as in the source
    time_base: Fraction
    picture: av.VideoFrame  # the decoder's pixels (YUV as a rule), full size; not to be written to
    input: NDArray[np.uint8]  # (h, w, 3) RGB, at the network's size

    @property
    def time(self) -> Fraction:
        """Seconds on the source's own clock."""
        return self.pts * self.time_base


@dataclass(frozen=True, slots=True, eq=False)
class SegmentedFrame:
    """A frame and the class of each of its pixels."""

    frame: Frame
    mask: NDArray[np.uint8]  # (height, width) of the picture; index into `ModelSpec.classes`

    def shares(self, class_count: int) -> NDArray[np.float64]:
        """The share of the picture that each class covers; they add up to 1."""
        return np.bincount(self.mask.ravel(), minlength=class_count)[:class_count] / self.mask.size


def batched(frames: Iterable[Frame], size: int) -> Iterator[tuple[Frame, ...]]:
    """Frames in groups of `size`; the last may be smaller."""
    waiting = iter(frames)
    while batch := tuple(islice(waiting, size)):
        yield batch
