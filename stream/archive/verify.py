"""Whether a mask archive is whole, and is that of a video: nothing missing, damaged, extra, renamed or shifted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, pairwise
from pathlib import Path

from ..decode.source import open_source
from .archive import MaskArchive
from .manifest import checksum
from .masked_frames import seconds

Told = Callable[[int], None]  # how many masks, or frames, are done

_MOST_GAPS = 8  # told of
_SMALLEST = 16, 16  # of the network's picture, which nobody looks at here


def archive_problems(masks: MaskArchive, on_mask: Told | None = None) -> Iterator[str]:
    """Each a line; none where every mask is there, whole, in order, and of known classes, and nothing else is there."""
    if not masks.is_finished:
        yield f"it was not finished: its run was killed or goes on; masks that are whole: {len(masks)}"
    if masks.is_cut:
        yield "the last line of its manifest is cut off"
    if not len(masks):
        yield "it holds no masks"
    elif masks.ending is not None and masks.ending.frames != len(masks):
        yield f"its run wrote {masks.ending.frames} masks, and its manifest tells of {len(masks)}"
    yield from _order_problems(masks)
    strangers = _Strangers(masks)
    for position in range(len(masks)):
        yield from _mask_problems(masks, position, strangers)
        if on_mask:
            on_mask(position + 1)
    yield from strangers.problems()


def _order_problems(masks: MaskArchive) -> Iterator[str]:
    for position, (before, record) in enumerate(pairwise(masks.records), 1):
        if record.index <= before.index:
            yield f"{masks.place(position)} comes behind frame {before.index} in the manifest"
        if record.time <= before.time:
            yield f"{masks.place(position)} is shown at {seconds(record.time)}, not after {seconds(before.time)}"


def _mask_problems(masks: MaskArchive, position: int, strangers: _Strangers) -> Iterator[str]:
    mask, fault = masks.examine(position)
    if mask is None:
        yield f"the mask of {masks.place(position)} {fault}{strangers.whereabouts(position)}"
    elif fault := masks.unknown_class(mask):
        yield f"the mask of {masks.place(position)} {fault}"


class _Strangers:
    """The PNGs that are not what the manifest says: under names that it does not know, or another mask's."""

    def __init__(self, masks: MaskArchive) -> None:
        self._masks = masks
        known = {record.file for record in masks.records}
        names = Counter(masks.pictures())
        self._twice = [name for name, count in names.items() if count > 1]
        self._unknown = dict.fromkeys(name for name in names if name not in known)
        self._checksums: dict[str, str] | None = None
        self._frames: dict[str, int] = {}
        counts = Counter(record.crc32 for record in masks.records)
        for record in masks.records:
            if counts[record.crc32] == 1:
                self._frames[record.crc32] = record.index

    def whereabouts(self, position: int) -> str:
        """What is known of where a mask that is missing or damaged might be; empty for nothing."""
        record = self._masks.records[position]
        if record.file is None:
            return ""
        if name := self._renamed().get(record.crc32):
            del self._unknown[name]
            del self._renamed()[record.crc32]
            return f"; {name} is that mask, renamed"
        picture = self._masks.picture(record.file)
        frame = None if picture is None else self._frames.get(checksum(picture))
        return "" if frame is None else f"; it is the mask of frame {frame}"

    def _renamed(self) -> dict[str, str]:
        """Names of the unknown ones by checksum; read when something is missing, and not before."""
        if self._checksums is None:
            pictures = {name: self._masks.picture(name) for name in self._unknown}
            self._checksums = {checksum(mask): name for name, mask in pictures.items() if mask is not None}
        return self._checksums

    def problems(self) -> Iterator[str]:
        yield from (f"{name} is extra: the manifest does not know it" for name in self._unknown)
        yield from (f"{name} is in it more than once" for name in self._twice)


class VideoCheck:
    """What comparing an archive with a video found; `any_name`: it may have been renamed since the masks were made.

    Raises:
        SourceError: it is no video that can be decoded.
    """

    def __init__(self, masks: MaskArchive, path: Path, *, any_name: bool = False, on_frame: Told | None = None) -> None:
        self._masks = masks
        self._path = path
        self._any_name = any_name
        self._pts: list[int] = []
        with open_source(path, stream=masks.header.stream, picture_rate=masks.picture_rate) as source:
            self._info = source.info
            for count, frame in enumerate(source.frames(lambda _: _SMALLEST), 1):
                self._pts.append(frame.pts)
                if on_frame:
                    on_frame(count)

    @property
    def frames(self) -> int:
        """Of the video."""
        return len(self._pts)

    def problems(self) -> Iterator[str]:
        """Each a line; none where every mask is that of the frame that it says it is of."""
        if other := list(self._differences()):
            yield f"{self._path} is another video: {'; '.join(other)}"
            return
        frames_by_pts = {pts: index for index, pts in enumerate(self._pts)}
        shifts = [self._shift(position, frames_by_pts) for position in range(len(self._masks))]
        if shifts and all(shift is None for shift in shifts):
            yield f"{self._path} is another video: not one mask has the time of one of its frames"
            return
        for shift, run in groupby(range(len(shifts)), key=lambda position: shifts[position]):
            if shift != 0:
                yield self._misplaced(shift, list(run))

    def _differences(self) -> Iterator[str]:
        info, header = self._info, self._masks.header
        if (info.width, info.height) != (header.width, header.height):
            yield f"its pictures are {info.width}x{info.height}, the masks' were {header.width}x{header.height}"
        units = {record.time_base for record in self._masks.records} - {info.time_base}
        if units:
            yield f"its times count in {info.time_base} s, the masks' in {', '.join(map(str, sorted(units)))} s"
        # Every video of one camera may have the same size and times: only its name tells it from the others.
        if not self._any_name and header.source and Path(header.source).stem != self._path.stem:
            yield f"the masks were made of {header.source} (pass --any-name where it has been renamed)"
        last = self._masks.records[-1].index if len(self._masks) else -1
        if last >= self.frames:
            yield f"it has {self.frames} frames, and there is a mask of frame {last}"

    def _shift(self, position: int, frames_by_pts: dict[int, int]) -> int | None:
        """How many frames later than it says a mask is; None where the video has no frame at its time."""
        record = self._masks.records[position]
        if record.index < self.frames and self._pts[record.index] == record.pts:
            return 0
        frame = frames_by_pts.get(record.pts)
        return None if frame is None else frame - record.index

    def _misplaced(self, shift: int | None, positions: list[int]) -> str:
        first, last = (self._masks.place(positions[number]) for number in (0, -1))
        which = first if len(positions) == 1 else f"{first} to {last}, {len(positions)} masks"
        if shift is None:
            time = self._masks.records[positions[0]].time
            return f"{which}: the video has no frame at the time of the mask ({seconds(time)})"
        frames = "frame" if abs(shift) == 1 else "frames"
        there = self._masks.records[positions[0]].index + shift
        return f"{which}: shifted by {shift:+d} {frames} against {self._path}, whose frame {there} has that time"

    def without_mask(self) -> list[tuple[int, int]]:
        """The video's frames that have no mask, as (first, last) of each run of them."""
        indices = [-1, *(record.index for record in self._masks.records), self.frames]
        return [(before + 1, after - 1) for before, after in pairwise(indices) if after - before > 1]


def told_ranges(ranges: Iterable[tuple[int, int]]) -> str:
    """As in "0-4, 9, 12-30", and how many more there are."""
    told = [str(first) if first == last else f"{first}-{last}" for first, last in ranges]
    rest = len(told) - _MOST_GAPS
    return ", ".join(told[:_MOST_GAPS]) + (f" and {rest} more gaps" if rest > 0 else "")
