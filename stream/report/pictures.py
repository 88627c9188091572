"""The pictures of a report, and how much its masks flicker, which only the video can tell.

Keyframes stand for a run: some evenly over its time, others where what is seen changes most.
"""

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
from .scan import MaskScan

_QUALITY = 82  # of JPEG: some 25 kB a picture
_FOLLOWED_PIXELS = 640 * 480  # of the pictures in which points are followed: what `FlickerMeter` has at most
_STRETCHES, _STRETCH = 8, 9  # flicker is measured in so many places, over so many masks in a row
_WINDOW = 12  # masks on each side that are compared: a passing car is no change, another street is
_SCENE_CHANGE = 0.12  # of the picture shows other classes than before; less is a change only beside others
_LEAST_CHANGE = 0.03  # below, one place is as good as another


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


@dataclass(frozen=True, slots=True)
class Keyframe:
    """A mask to show."""

    position: int  # in the manifest
    is_scene_change: bool = False


def choose_keyframes(scan: MaskScan, count: int) -> list[Keyframe]:
    """About `count` masks, in order; all of them where there are no more."""
    known = np.flatnonzero(~np.isnan(scan.shares).any(axis=1))
    if len(known) <= count:
        return [Keyframe(int(position)) for position in known]
    times, changes = scan.times[known], _changes(scan.shares[known])
    chosen = _strongest(times, changes, count // 2)
    is_taken = np.zeros(len(times), bool)
    for moment in times[0] + (np.arange(count) + 0.5) / count * (times[-1] - times[0]):
        is_taken[np.argmin(np.where(is_taken, np.inf, np.abs(times - moment)))] = True
    for place in chosen:  # where it is not among them already, in place of the nearest
        if not is_taken[place]:
            others = np.setdiff1d(np.flatnonzero(is_taken), chosen)
            is_taken[others[np.argmin(np.abs(times[others] - times[place]))]] = False
            is_taken[place] = True
    return [
        Keyframe(int(known[place]), place in chosen and bool(changes[place] >= _SCENE_CHANGE))
        for place in np.flatnonzero(is_taken).tolist()
    ]


def _strongest(times: NDArray[np.float64], changes: NDArray[np.float64], count: int) -> list[int]:
    """Where most changes, in order of time; not two places of one change."""
    apart = (times[-1] - times[0]) / (4 * count)
    chosen: list[int] = []
    around = np.lib.stride_tricks.sliding_window_view(np.pad(changes, _WINDOW), 2 * _WINDOW + 1).max(axis=1)
    peaks = np.flatnonzero((changes == around) & (changes >= _LEAST_CHANGE))
    for place in peaks[np.argsort(-changes[peaks], kind="stable")].tolist():
        if len(chosen) < count and all(abs(times[place] - times[other]) >= apart for other in chosen):
            chosen.append(place)
    return sorted(chosen)


def _changes(shares: NDArray[np.float32]) -> NDArray[np.float64]:
    """How much of the picture shows other classes in the masks from each on than in those before it: 0 to 1."""
    window = min(_WINDOW, len(shares) // 2)
    sums = np.concatenate([np.zeros((1, shares.shape[1])), np.cumsum(shares, axis=0, dtype=np.float64)])
    means = (sums[window:] - sums[:-window]) / window  # of the masks from each place on
    changes = np.zeros(len(shares))
    changes[window : len(means)] = np.abs(means[window:] - means[:-window]).sum(axis=1) / 2
    return changes
