"""Open a video file and yield its frames: `open_source(path)`. For cameras and pipes see `camera.live`.

Every frame that can be decoded comes out, once, in order and upright; damage is skipped and counted. A recording that
was cut off tells its full length to the end: what is missing of it is counted, too.
"""

from __future__ import annotations

import logging
import math
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import av
from av.container import InputContainer
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from ..errors import SourceError
from ..frames import Frame, Place, VideoInfo
from .decoder import FileDecoder
from .deinterlace import Deinterlace, deinterlaced, how_to_deinterlace
from .display import Display
from .gps import gps_boxes
from .hardware_decode import HardwareDecoder
from .opening import MAX_PIXELS, PICTURE_MS, is_sequence, tell_what_is_behind
from .pixels import network_input
from .place import FrameClock, Selection, look_of
from .video_stream import info_of, picture_times

log = logging.getLogger(__name__)

_FROM_ITS_OWN_0 = ("matroska", "nut")  # containers whose declared length is where their last frame ends

InputSize = Callable[[VideoInfo], tuple[int, int]]  # the network's (height, width) for a video

# Pixels before `start` up to which all of it is decoded, which takes half a second: the surest way to count frames.
_DECODED_BEFORE_START = 1 << 27
_AGREEING = 25  # pictures at the beginning that must be shown when the packets tell
_LEAST_FRAMES = 2  # fewer are what containers round away
_LEAST_S = Fraction(1, 10)
_UNDECLARED = ("mpegts", "mpeg")  # FFmpeg tells what it finds at their ends


class Source(Protocol):
    """A video being read. Its frames are read by one thread, and it is closed after that thread has ended."""

    @property
    def info(self) -> VideoInfo: ...

    @property
    def undecodable(self) -> int:
        """Packets that could not be read or decoded, so far."""

    @property
    def missing_s(self) -> Fraction:
        """Seconds that a file declares to go on for, and does not; known when its frames have ended."""

    @property
    def dropped(self) -> int:
        """Frames discarded to keep up, so far; none of a file's."""

    @property
    def failure(self) -> str | None:
        """Why the frames ended, where a camera was given up."""

    def frames(self, input_size: InputSize, *, place: Place | None = None) -> Iterator[Frame]:
        """The frames, each with a network input of the size that `input_size` gives. To be called once.

        With a `place`, which only a file has, they are those from there on.

        Raises:
            SourceError: no frame was left to give, or the place cannot be found.
        """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None
    ) -> None: ...


def open_source(
    url: str | Path,
    *,
    start: Fraction | None = None,
    end: Fraction | None = None,
    stride: int = 1,
    max_frames: int | None = None,
    hardware: HardwareDecoder | None = None,
    max_pixels: int = MAX_PIXELS,
    stream: int | None = None,
    picture_rate: Fraction | None = None,
    deinterlace: Deinterlace = "auto",
) -> Source:
    """Open a video file and decode its first frame.

    Args:
        url: a file.
        start: leave out the frames before it. Seconds, as is `end`, from the video's first frame.
        end: leave out the frames from it on.
        stride: of the frames between, give each `stride`-th, beginning with the first.
        max_frames: give so many at most.
        hardware: to decode with, where it starts; `None` for software.
        max_pixels: larger pictures are not decoded; no memory is taken for them.
        stream: which of the file's video streams, from 0; `None` for the one that the file calls its default,
            else the largest; no cover picture.
        picture_rate: of numbered pictures, so many a second; `None` for 25.
        deinterlace: "auto" for pictures that say that they are interlaced, "on" for all, "off" for none.

    Raises:
        SourceError: not there, not a video, no frame can be decoded, or hardware that is required does not start.

    >>> from roadmask import open_source
    >>> with open_source("drive.mp4", stride=2) as source:
    ...     print(source.info.width, source.info.height, source.info.rate)
    ...     for frame in source.frames(lambda info: (64, 96)):  # height and width of the network's input
    ...         print(frame.index, float(frame.time), frame.picture.format.name, frame.input.shape)
    128 96 25
    0 0.0 yuv420p (64, 96, 3)
    2 0.08 yuv420p (64, 96, 3)
    """
    selection = Selection(start or Fraction(0), end, stride, max_frames)
    return FileSource(
        Path(url),
        selection=selection,
        hardware=hardware,
        max_pixels=max_pixels,
        stream=stream,
        picture_rate=picture_rate,
        deinterlace=deinterlace,
    )


class FileSource:
    """A `Source` that reads a file; see `open_source`, which makes it. `selection` is which frames to give."""

    def __init__(
        self,
        path: Path,
        *,
        selection: Selection,
        hardware: HardwareDecoder | None,
        max_pixels: int,
        stream: int | None,
        picture_rate: Fraction | None,
        deinterlace: Deinterlace,
    ) -> None:
        self.dropped = 0
        self.missing_s = Fraction(0)
        self.failure = None
        self._path = path
        self._selection = selection
        self._displayed = Display()
        self._decoder = FileDecoder(path, hardware=hardware, max_pixels=max_pixels, stream=stream)
        if self._decoder.is_torn:
            log.warning("%s: cut off in the head of a fragment, and read up to there", path)
        try:
            first = self._decoder.first()
            self.info = info_of(self._decoder.container, self._decoder.stream, first)
            if picture_rate and is_sequence(path):  # they are `PICTURE_MS` apart, which are of another length then
                unit = 1 / (PICTURE_MS * picture_rate)
                self.info = replace(self.info, rate=picture_rate, time_base=unit)
            self._first_pts = FrameClock(self.info.time_base, self.info.rate).pts(first)
            carried = replace(self.info.carried, first_s=self._first_pts * self.info.time_base)
            has_tracks = carried.has_tracks or bool(gps_boxes(path))
            self.info = replace(self.info, carried=replace(carried, has_tracks=has_tracks))
            if self._decoder.container.format.name.startswith("mov"):
                tell_what_is_behind(path)
            self._first = [first]  # until it is given
            self._declared_s = declared_s(self._decoder.container, self._decoder.stream)
            self._deinterlace = how_to_deinterlace(deinterlace, self._decoder.stream)
        except BaseException:
            self._decoder.close()
            raise

    @property
    def undecodable(self) -> int:
        return self._decoder.undecodable

    def frames(self, input_size: InputSize, *, place: Place | None = None) -> Iterator[Frame]:
        size = input_size(self.info)
        reformatter = VideoReformatter()
        given = 0
        place, timed = self._from(place) if place else self._from_start()
        timed = self._to_the_end(timed)
        wanted = self._selection.of(timed, self.info.time_base, place=place, first_pts=self._first_pts)
        for index, pts, picture in wanted:
            damaged = self._decoder.is_damaged(picture)
            picture = self._displayed(picture)
            yield Frame(
                index=index,
                pts=pts,
                time_base=self.info.time_base,
                picture=picture,
                input=network_input(picture, size, reformatter),
                info=self.info,
                damaged=damaged,
                undecodable=self.undecodable,
            )
            given += 1
        if not given and not self._decoder.closed:
            raise SourceError(f"{self._path}: {self._why_none()}")

    def _why_none(self) -> str:
        """Why no frame was left to give."""
        start, end, length = self._selection.start, self._selection.end, self.info.duration
        if end is not None and length and start < length:
            return f"no frame from {float(start):g} to {float(end):g} s; lower --start, or raise --end"
        told = f" ({float(length):.1f} s)" if length else ""
        return f"no frame from {float(start):g} s on; the video is shorter{told}; lower --start"

    def _all(self) -> Iterator[av.VideoFrame]:
        yield self._first.pop()
        yield from self._decoder.pictures

    def _clocked(self, pictures: Iterable[av.VideoFrame]) -> Iterator[tuple[int, av.VideoFrame]]:
        clock = FrameClock(self.info.time_base, self.info.rate)
        timed = ((clock.pts(picture), picture) for picture in pictures)
        return deinterlaced(
            timed, self._deinterlace, picture_of=lambda item: item[1], replaced=lambda item, picture: (item[0], picture)
        )

    def _to_the_end(self, timed: Iterable[tuple[int, av.VideoFrame]]) -> Iterator[tuple[int, av.VideoFrame]]:
        """The pictures; after the last it is known how much is missing."""
        until = self._first_pts
        begin = 0 if self._decoder.container.format.name.startswith(_FROM_ITS_OWN_0) else self._first_pts
        for pts, picture in timed:
            until = max(until, pts + (picture.duration or 0))
            yield pts, picture
        if not self._decoder.closed:
            self.missing_s = missing_s(self._declared_s, (until - begin) * self.info.time_base, self.info.rate)

    def _from_start(self) -> tuple[Place | None, Iterator[tuple[int, av.VideoFrame]]]:
        """The pictures from the first one that `start` does not leave out, and its place; or all, and none.

        By a jump, where the packets tell which picture it is, and where what is decoded at the beginning and from some
        way before the picture agrees.
        """
        info, start = self.info, self._selection.start
        if not start or start * (info.rate or 25) * info.width * info.height < _DECODED_BEFORE_START:
            return None, self._clocked(self._all())
        start_pts = self._first_pts + math.ceil(start / info.time_base)
        known = picture_times(self._path, info.stream, lambda pts: pts >= start_pts or self._decoder.closed)
        if self._decoder.closed:
            return None, iter(())
        if known is None:
            return None, self._clocked(self._all())
        times = [pts for pts in known[0] if pts >= self._first_pts]  # earlier ones give no picture
        begin = [pts for pts, _ in islice(self._clocked(self._all()), _AGREEING)]
        if begin == times[: len(begin)]:
            index = min(bisect_left(times, start_pts), len(times) - 1)
            place = Place(0, index, times[index])
            if (timed := self._jumped(place, times)) is not None:
                return place, timed
        self._decoder.begin_again()
        return None, self._clocked(self._decoder.pictures)

    def _from(self, place: Place) -> tuple[Place, Iterator[tuple[int, av.VideoFrame]]]:
        """The pictures from a place on; by a jump where that leads there, else by decoding all before it."""
        return place, self._jumped(place) or self._walked(place)

    def _jumped(self, place: Place, times: list[int] | None = None) -> Iterator[tuple[int, av.VideoFrame]] | None:
        """The pictures from a place on; `None` where others are met.

        Args:
            place: to jump to.
            times: of the pictures up to there, as the packets tell; those that are decoded on the way must agree.
        """
        self._first.clear()
        undecodable = self._decoder.undecodable
        whole_from = self._decoder.jump_before(place.pts)
        timed = self._clocked(self._decoder.pictures)
        before: list[int] = []
        damaged = False
        for met in timed:
            pts, picture = met
            damaged |= picture.is_corrupt and pts >= (whole_from or pts)
            if pts >= place.pts:
                break
            before.append(pts)
        else:
            return None
        known, is_it = self._met(place, chain([met], timed))
        if times is not None and whole_from is not None:
            is_it = is_it and not damaged and _since(whole_from, before) == _since(whole_from, times[: place.index])
        if not place.seen:  # where several pictures have one time, the clock makes some up, and it may be any of them
            known += islice(timed, 1)
            is_it = is_it and all(pts == picture.pts for pts, picture in known)
        if not is_it or whole_from is None:
            return None
        self._decoder.undecodable = undecodable  # after a jump some lack what they are made from
        self._decoder.given += place.index - len(before)
        return chain(known, timed)

    def _walked(self, place: Place) -> Iterator[tuple[int, av.VideoFrame]]:
        self._decoder.begin_again()
        timed = islice(self._clocked(self._decoder.pictures), place.index, None)
        known, is_it = self._met(place, timed)
        if not is_it:
            raise SourceError(
                f"{self._path}: frame {place.index} is not the one that the run began with; "
                "pass --overwrite to start anew"
            )
        return chain(known, timed)

    def _met(
        self, place: Place, timed: Iterator[tuple[int, av.VideoFrame]]
    ) -> tuple[list[tuple[int, av.VideoFrame]], bool]:
        """The pictures that the place knows, taken from those that begin there; and whether they are the same."""
        last = place.seen[-1][0] if place.seen else place.index
        taken = list(islice(timed, last - place.index + 1))
        if not taken or taken[0][0] != place.pts or len(taken) <= last - place.index:
            return taken, False
        for index, pts, look in place.seen:
            taken_pts, picture = taken[index - place.index]
            if pts != taken_pts or look != look_of(self._displayed(picture)):
                return taken, False
        return taken, True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._decoder.close()


def _since(begin: int, times: list[int]) -> list[int]:
    return [time for time in times if time >= begin]


def declared_s(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """Seconds that the pictures are declared to last; `None` where a file says nothing of them alone.

    To be asked before reading: some demuxers learn more on the way.
    """
    if container.format.name in _UNDECLARED:
        return None
    if container.format.name == "avi" and stream.frames and stream.average_rate:
        return stream.frames / stream.average_rate  # FFmpeg sets the duration right where the file is cut off
    if stream.duration and stream.time_base:
        return Fraction(stream.duration * stream.time_base)
    if match := re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", "")):  # Matroska
        hours, minutes, seconds = map(Fraction, match.groups())
        return hours * 3600 + minutes * 60 + seconds
    if container.duration and len(container.streams) == 1:
        return Fraction(container.duration, av.time_base)
    return None


def missing_s(declared_s: Fraction | None, had_s: Fraction, rate: Fraction | None) -> Fraction:
    """How much earlier than declared the pictures ended; 0 where no more than rounding."""
    if declared_s is None:
        return Fraction(0)
    missing = declared_s - had_s
    return missing if missing > max(_LEAST_S, Fraction(_LEAST_FRAMES) / (rate or 25)) else Fraction(0)
