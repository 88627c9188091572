"""The pictures of a report, and how much its masks flicker, which only the video can tell."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from ..archive.archive import MaskArchive
from ..archive.masked_frames import MaskedVideo, place_of
from ..decode.pixels import network_input
from ..decode.source import open_source
from ..encode.overlay import Overlay, color_mask
from ..frames import SegmentedFrame, VideoInfo
from ..masks.flicker import FlickerMeter
from .keyframes import Keyframe

_QUALITY = 82  # of JPEG: some 25 kB a picture
_FOLLOWED_PIXELS = 640 * 480  # of the pictures in which points are followed: what `FlickerMeter` has at most
_STRETCHES, _STRETCH = 8, 9  # flicker is measured in so many places, over so many masks in a row


@dataclass(frozen=True, slots=True)
class Picture:
    """A keyframe to look at."""

    keyframe: Keyframe
    jpeg: bytes
    height: int
    width: int

    @property
    def uri(self) -> str:
        return f"data:image/jpeg;base64,{base64.b64encode(self.jpeg).decode()}"


@dataclass(frozen=True, slots=True)
class Flicker:
    """Points followed along optical flow from mask to mask, and those of them that change their label."""

    tracked: int
    changed: int
    pairs: int  # of masks, looked at

    @property
    def rate(self) -> float:
        return self.changed / self.tracked if self.tracked else float("nan")


def mask_pictures(masks: MaskArchive, keyframes: Sequence[Keyframe], *, width: int) -> list[Picture]:
    """The masks in their colours."""
    pictures = []
    for keyframe in keyframes:
        mask = masks[keyframe.position]
        size = _size(*mask.shape, width=width)
        small = cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST)
        pictures.append(_picture(keyframe, color_mask(np.asarray(small, np.uint8), masks.classes)))
    return pictures


def video_pictures(
    pair: MaskedVideo, keyframes: Sequence[Keyframe], *, width: int, on_frame: Callable[[], None] | None = None
) -> tuple[list[Picture], Flicker]:
    """The overlays of the keyframes, and the flicker of masks spread over the run.

    Raises:
        ArchiveError: the video is not the one that the masks were made from.
        SourceError: it cannot be read.
    """
    shown = {keyframe.position: keyframe for keyframe in keyframes}
    stretches = _stretches(len(pair.masks))
    overlay, reformatter, meter = Overlay(pair.masks.classes), VideoReformatter(), FlickerMeter()
    pictures = []
    for position, result in _visited(pair, [*stretches, *(range(at, at + 1) for at in shown)]):
        if position in shown:
            info = result.frame.info
            size = _size(info.height, round(info.width * info.sample_aspect_ratio), width=width)
            pictures.append(_picture(shown[position], network_input(overlay.render(result), size, reformatter)))
        if any(position in stretch for stretch in stretches):
            if any(position == stretch.start for stretch in stretches):
                meter.reset()
            meter.add(result.frame.input, _at_size(result.mask, result.frame.input))
        if on_frame:
            on_frame()
    return pictures, Flicker(meter.tracked, meter.changed, sum(len(stretch) - 1 for stretch in stretches))


def visits(count: int, keyframes: Sequence[Keyframe]) -> int:
    """How many frames `video_pictures` asks the video for."""
    stretches = _stretches(count)
    apart = [item for item in keyframes if not any(item.position in stretch for stretch in stretches)]
    return sum(map(len, stretches)) + len(apart)


def _stretches(count: int) -> list[range]:
    """Evenly over the masks; one of them all, where they are few."""
    if count <= _STRETCHES * _STRETCH:
        return [range(count)] if count else []
    starts = np.linspace(0, count - _STRETCH, _STRETCHES).astype(int).tolist()
    return [range(start, start + _STRETCH) for start in starts]


def _visited(pair: MaskedVideo, places: Sequence[range]) -> Iterator[tuple[int, SegmentedFrame]]:
    """The masks at those positions and their frames, in order, each once."""
    with open_source(pair.video, stream=pair.masks.header.stream) as source:
        pair.refuse_other_size(source.info)
        can_jump = pair.masks.records[0].time_base == source.info.time_base
    wanted = {position for place in places for position in place}
    for run in _joined(sorted(wanted)) if can_jump else [range(max(wanted) + 1)]:
        with open_source(pair.video, stream=pair.masks.header.stream) as source:
            place = place_of(pair.masks.records[run.start], source.info)
            frames = pair.frames(source.frames(_followed_size, place=place), to_the_end=True)
            yield from ((position, result) for position, result in zip(run, frames, strict=False) if position in wanted)


def _joined(positions: Sequence[int]) -> list[range]:
    """Positions that follow each other, as ranges."""
    ends = [before + 1 for before, after in pairwise(positions) if after > before + 1]
    starts = [after for before, after in pairwise(positions) if after > before + 1]
    return [range(start, end) for start, end in zip([positions[0], *starts], [*ends, positions[-1] + 1], strict=True)]


def _followed_size(info: VideoInfo) -> tuple[int, int]:
    scale = min(1.0, (_FOLLOWED_PIXELS / (info.height * info.width)) ** 0.5)
    return max(round(info.height * scale), 1), max(round(info.width * scale), 1)


def _at_size(mask: NDArray[np.uint8], picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(mask, picture.shape[1::-1], interpolation=cv2.INTER_NEAREST), np.uint8)


def _size(height: int, width_is: int, *, width: int) -> tuple[int, int]:
    """(height, width) at most as wide, and no higher than wide."""
    scale = min(1.0, width / max(width_is, height))
    return max(round(height * scale), 1), max(round(width_is * scale), 1)


def _picture(keyframe: Keyframe, rgb: NDArray[np.uint8]) -> Picture:
    encoded, content = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert encoded, "a JPEG can hold any small picture"
    return Picture(keyframe, content.tobytes(), *rgb.shape[:2])
