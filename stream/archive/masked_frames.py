"""The frames of a video with the masks of an archive: each mask to the frame that it was made from."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from statistics import mode
from typing import Literal

from ..errors import ArchiveError
from ..frames import Frame, Place, SegmentedFrame, VideoInfo
from .archive import MaskArchive
from .manifest import MaskRecord

Gaps = Literal["hold", "skip"]  # frames between two masks: the one before is held, or the frame is left out

_STEPS_LOOKED_AT = 1000


@dataclass(frozen=True, slots=True, eq=False)
class MaskedVideo:
    """An archive and the video that it is said to be of. For one thread at a time."""

    masks: MaskArchive
    video: Path  # its name, for messages

    def frames(
        self,
        frames: Iterable[Frame],
        *,
        gaps: Gaps = "skip",
        to_the_end: bool = False,
        only: Container[int] | None = None,
    ) -> Iterator[SegmentedFrame]:
        """Those of the video's frames that have a mask, with it: matched by index, and the times must agree.

        Those before the first mask are left out, and so are those after the last one has been held for the usual step.
        With `to_the_end` the frames are the video's last ones too, so no mask may be left over. With `only`, masks at
        other positions are not read.

        Raises:
            ArchiveError: a mask cannot be read, or the video is not the one that they were made from.
        """
        records = self.masks.records
        end = records[-1].index + usual_step(records) if records else 0
        following, loaded = -1, -1  # positions of the next mask, and of the one at hand
        for frame in frames:
            if following < 0:
                following = bisect_left(records, frame.index, key=lambda record: record.index)
            if frame.index >= end:
                return
            if following < len(records) and records[following].index == frame.index:
                self._refuse_other_frame(frame, records[following])
                following += 1
            elif gaps == "skip" or following == 0:
                continue
            if only is not None and following - 1 not in only:
                continue
            if loaded != following - 1:
                loaded = following - 1
                mask = self.masks[loaded]
            yield SegmentedFrame(frame, mask, ignores=self.masks.header.ignored is not None)
        if to_the_end and 0 <= following < len(records):
            left = records[following]
            raise ArchiveError(
                f"{self.masks.path}: goes on with frame {left.index} at {seconds(left.time)}, "
                f"where {self.video} has ended; name the whole video that they are of"
            )

    def place(self, time: Fraction | None, info: VideoInfo) -> Place | None:
        """Where to jump to in the video for what is shown from `time` on; `None` for its beginning.

        `time` is in seconds from the first frame; `None` for the first mask. To jump is safe as the archive knows the
        index of the frame that is met, and its pts says whether it is the one.
        """
        records = self.masks.records
        if not records:
            return None
        position = 0
        if time is not None and records[0].index == 0:  # else it is not known when the video begins
            position = max(bisect_right(records, records[0].time + time, key=lambda record: record.time) - 1, 0)
        return place_of(records[position], info)

    def refuse_other_size(self, info: VideoInfo) -> None:
        """Raises `ArchiveError` where the masks are of another size than the video's first picture."""
        header = self.masks.header
        if (header.width, header.height) != (info.width, info.height):
            raise ArchiveError(
                f"{self.masks.path}: its masks are {header.width}x{header.height}, "
                f"{self.video} is {info.width}x{info.height}; it is another video"
            )

    def _refuse_other_frame(self, frame: Frame, record: MaskRecord) -> None:
        # A copy in another container may have its times rounded to that one's ticks.
        is_copy = frame.time_base != record.time_base
        tick = max(frame.time_base, record.time_base) if is_copy else Fraction(0)
        size = (frame.picture.width, frame.picture.height)
        if abs(frame.time - record.time) > tick:
            mask_is, frame_is = f"of {seconds(record.time)}", f"at {seconds(frame.time)}"
        elif (record.width, record.height) != size:
            mask_is, frame_is = f"{record.width}x{record.height}", "{}x{}".format(*size)
        else:
            return
        raise ArchiveError(
            f"{self.masks.path}: the mask of frame {record.index} is {mask_is}, "
            f"but that frame of {self.video} is {frame_is}; it is another video"
        )


def place_of(record: MaskRecord, info: VideoInfo) -> Place | None:
    """Where to jump to for the frame of a mask; `None` for the beginning, where that is it or its time is not known."""
    if record.index == 0 or record.time_base != info.time_base:
        return None
    return Place(0, record.index, record.pts)


def usual_step(records: Sequence[MaskRecord]) -> int:
    """How many frames the masks are apart, as a rule: the stride of the run."""
    steps = [after.index - before.index for before, after in pairwise(islice(records, _STEPS_LOOKED_AT))]
    return mode(steps) if steps else 1


def seconds(time: Fraction) -> str:
    """For messages."""
    return f"{float(time):.3f} s"
