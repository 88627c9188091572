"""What a preview shows: the overlay, the mask alone, or the picture beside its overlay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import av
import numpy as np
from av.video.reformatter import ColorRange

from ..decode.pixels import color_range, planes_of
from ..encode.overlay import Overlay
from ..frames import SegmentedFrame, VideoInfo
from ..spec import PixelClass

View = Literal["overlay", "mask", "side-by-side"]
Draw = Callable[[SegmentedFrame], av.VideoFrame]

_BLACK = {ColorRange.MPEG: 16, ColorRange.JPEG: 0}  # luma
_NO_COLOR = 128  # the middle of both chromas


def view_of(view: View, classes: Sequence[PixelClass], *, drawn: Sequence[bool], alpha: float, legend: bool) -> Draw:
    """What draws a frame: a new yuv420p frame of even size. For one video and one thread."""
    overlay = Overlay(classes, alpha=1.0 if view == "mask" else alpha, drawn=drawn, legend=legend)
    match view:
        case "overlay":
            return overlay.render
        case "mask":
            return lambda result: overlay.render(_on_black(result))
        case "side-by-side":
            plain = Overlay(classes, alpha=0)
            return lambda result: _beside(plain.render(result), overlay.render(result))


def shown_info(view: View, info: VideoInfo) -> VideoInfo:
    """Of the video that is drawn from one such as `info`."""
    return replace(info, width=2 * (info.width + info.width % 2)) if view == "side-by-side" else info


def _on_black(result: SegmentedFrame) -> SegmentedFrame:
    """So that classes which are not drawn leave nothing to see."""
    picture = result.frame.picture
    black = av.VideoFrame(picture.width, picture.height, "yuv420p")
    for plane, value in zip(planes_of(black), (_BLACK[color_range(picture)], _NO_COLOR, _NO_COLOR), strict=True):
        plane[:] = value
    black.colorspace, black.color_range = picture.colorspace, color_range(picture)
    return replace(result, frame=replace(result.frame, picture=black))


def _beside(left: av.VideoFrame, right: av.VideoFrame) -> av.VideoFrame:
    both = av.VideoFrame(left.width + right.width, left.height, "yuv420p")
    for target, one, other in zip(planes_of(both), planes_of(left), planes_of(right), strict=True):
        np.concatenate([one, other], axis=1, out=target)
    both.pts, both.time_base = right.pts, right.time_base
    both.colorspace, both.color_range = right.colorspace, right.color_range
    return both
