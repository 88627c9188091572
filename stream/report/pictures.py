"""The pictures of a report, and how much its masks flicker, which only the video can tell."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby

import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from ..archive.archive import MaskArchive
from ..archive.masked_frames import MaskedVideo, place_of
from ..decode.pixels import network_input
from ..decode.source import open_source
from ..encode.overlay import Overlay, color_mask
from ..frames import SegmentedFrame
from ..masks.flicker import FlickerMeter
from ..spec import PixelClass

_SIDE, _QUALITY = 960, 80  # of a picture's longer side, to be enlarged, and of its JPEG: some 50 kB
_NO_INPUT = (1, 1)  # size of the network's input, which nobody looks at
_STRETCH = 9  # masks, from each keyframe on, over which flicker is measured


def choose_keyframes(shares: NDArray[np.float32], positions: NDArray[np.int64], count: int) -> list[int]:
    """Of as many equal stretches of the masks at `positions`, each the one before which most changes.

    `shares` are of the same masks; where there are not so many, all are chosen.
    """
    if not len(positions):
        return []
    changes = np.abs(np.diff(shares, axis=0, prepend=shares[:1])).sum(axis=1)
    stretches = np.array_split(np.arange(len(positions)), min(count, len(positions)))
    return [int(positions[stretch[np.argmax(changes[stretch])]]) for stretch in stretches]


def mask_pictures(masks: MaskArchive, classes: Sequence[PixelClass], keyframes: Sequence[int]) -> dict[int, str]:
    """The masks in the colours of `classes`, by position, as URIs."""
    pictures = {}
    for position in keyframes:
        mask = masks[position]
        size = _size(*mask.shape)
        small = np.asarray(cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST), np.uint8)
        pictures[position] = _uri(color_mask(small, classes))
    return pictures


def video_pictures(
    pair: MaskedVideo,
    overlay: Overlay,
    keyframes: Sequence[int],
    readable: NDArray[np.int64],
    on_picture: Callable[[int], None],
) -> tuple[dict[int, str], float]:
    """The overlays of the keyframes, by position, as URIs; and the flicker of the masks from each of them on.

    Raises:
        ArchiveError: the video is not the one that the masks were made from.
        SourceError: it cannot be read.
    """
    wanted = np.intersect1d(np.add.outer(keyframes, np.arange(_STRETCH)), readable).tolist()
    reformatter, meter = VideoReformatter(), FlickerMeter()
    pictures: dict[int, str] = {}
    last = -1
    for position, result in _visited(pair, wanted):
        if position in keyframes:
            info = result.frame.info
            size = _size(info.height, round(info.width * info.sample_aspect_ratio))
            pictures[position] = _uri(network_input(overlay.render(result), size, reformatter))
            on_picture(len(pictures))
        if position != last + 1:
            meter.reset()
        meter.add(network_input(result.frame.picture, result.mask.shape, reformatter), result.mask)
        last = position
    return pictures, meter.rate


def _visited(pair: MaskedVideo, positions: Sequence[int]) -> Iterator[tuple[int, SegmentedFrame]]:
    """The masks at those positions and their frames, in order."""
    records = pair.masks.records
    opened = partial(open_source, pair.video, stream=pair.masks.header.stream, picture_rate=pair.masks.picture_rate)
    with opened() as source:
        pair.refuse_other_size(source.info)
        can_jump = records[0].time_base == source.info.time_base
    for _, group in groupby(enumerate(positions), key=lambda item: item[1] - item[0] if can_jump else 0):
        run = [position for _, position in group]  # one behind the other, or all that there are
        with opened() as source:
            place = place_of(records[run[0]], source.info)
            frames = pair.frames(source.frames(lambda _: _NO_INPUT, place=place), to_the_end=True, only=frozenset(run))
            yield from zip(run, frames, strict=False)


def _size(height: int, width: int) -> tuple[int, int]:
    scale = min(1.0, _SIDE / max(height, width))
    return max(round(height * scale), 1), max(round(width * scale), 1)


def _uri(rgb: NDArray[np.uint8]) -> str:
    encoded, content = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert encoded, "a JPEG can hold any small picture"
    return f"data:image/jpeg;base64,{base64.b64encode(content.tobytes()).decode()}"
