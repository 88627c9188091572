"""Open a video file and yield its frames: `open_source(path)`. For cameras and pipes see `live`.

Every frame that can be decoded comes out, once, in order and upright; damage is skipped and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import chain, dropwhile, islice
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, cast

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from ..errors import SourceError
from ..frames import Frame, VideoInfo
from .clock import FrameClock
from .display import Display
from .ending import declared_s, missing_s
from .hardware_decode import HardwareDecoder, as_software
from .look import look_of
from .network_input import network_input
from .opening import MAX_PIXELS, declared_size, open_container, open_file
from .selection import Place, Selection
from .sent_packets import SentPackets
from .upright import rotation

_READ_ERRORS_IN_A_ROW = 8  # then the container is taken to be lost; a demuxer may fail for ever without moving on
# Pixels of a picture up to which one is decoded at a time: quick enough, and always the same. FFmpeg's decoders that
# have several in hand find damage in one when others have made use of it, or have gone out.
_MOST_AT_A_TIME = 1920 * 1088
_FROM_ITS_OWN_0 = ("matroska", "nut")  # containers whose declared length is where their last frame ends
_MOST_ASPECT = 8  # of a pixel: one that is wider or higher is damage, and would make pictures of no height

InputSize = Callable[[VideoInfo], tuple[int, int]]  # the network's (height, width) for a video


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
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
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

    Raises:
        SourceError: not there, not a video, no frame can be decoded, or hardware that is required does not start.
    """
    selection = Selection(start or Fraction(0), end, stride, max_frames)
    return FileSource(Path(url), selection=selection, hardware=hardware, max_pixels=max_pixels, stream=stream)


class FileSource:
    """A `Source` that reads a file.

    Args:
        path: of the file.
        selection: which frames to give.
        hardware: to decode with, where it starts; `None` for software.
        max_pixels: larger pictures are not decoded; no memory is taken for them.
        stream: which of the file's video streams; see `open_source`.

    Raises:
        SourceError: not there, not a video, no frame can be decoded, or hardware that is required does not start.
    """

    def __init__(
        self,
        path: Path,
        *,
        selection: Selection,
        hardware: HardwareDecoder | None,
        max_pixels: int = MAX_PIXELS,
        stream: int | None = None,
    ) -> None:
        self.undecodable = 0
        self.dropped = 0
        self.missing_s = Fraction(0)
        self.failure = None
        self._path = path
        self._wanted_stream = stream
        self._selection = selection
        self._hardware = hardware
        self._closed = False
        self._displayed = Display()
        self._max_pixels = max_pixels
        self._spoilt: set[int | None] = set()  # pts of packets that the container knows to be damaged
        self._given, self._last_pts = 0, cast("int | None", None)  # pictures up to now, and the last one's pts
        self._container = _open(path, hardware, max_pixels)
        try:
            self._stream = video_stream(self._container, path, stream)
            self._set_up_decoder()
            # One decoder loop for the whole file: a second one would lose the frames still inside the decoder.
            self._pictures = self._decode()
            self._first = self._decode_first()
            self.info = _info(self._container, self._stream, self._first)
            self._declared_s = declared_s(self._container, self._stream)
        except BaseException:
            self._container.close()
            raise

    def frames(self, input_size: InputSize, *, place: Place | None = None) -> Iterator[Frame]:
        size = input_size(self.info)
        reformatter = VideoReformatter()
        given = 0
        first_pts = FrameClock(self.info.time_base, self.info.rate).pts(self._first)
        timed = self._from(place) if place else self._clocked(chain([self._first], self._pictures))
        timed = self._to_the_end(timed, first_pts)
        wanted = self._selection.of(timed, self.info.time_base, place=place, first_pts=first_pts)
        for index, pts, picture in wanted:
            damaged = picture.is_corrupt or picture.pts in self._spoilt
            self._spoilt.discard(picture.pts)
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
        if not given and not self._closed:
            start_s = float(self._selection.start)
            raise SourceError(f"{self._path}: no frame from {start_s:g} s on; the video is shorter")

    def _clocked(self, pictures: Iterable[av.VideoFrame]) -> Iterator[tuple[int, av.VideoFrame]]:
        clock = FrameClock(self.info.time_base, self.info.rate)
        return ((clock.pts(picture), picture) for picture in pictures)

    def _to_the_end(
        self, timed: Iterable[tuple[int, av.VideoFrame]], first_pts: int
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        """The pictures; after the last it is known how much is missing."""
        until = first_pts
        begin = 0 if self._container.format.name.startswith(_FROM_ITS_OWN_0) else first_pts
        for pts, picture in timed:
            until = max(until, pts + (picture.duration or 0))
            yield pts, picture
        if not self._closed:
            self.missing_s = missing_s(self._declared_s, (until - begin) * self.info.time_base, self.info.rate)

    def _from(self, place: Place) -> Iterator[tuple[int, av.VideoFrame]]:
        """The pictures from a place on; by a jump where that leads there, else by decoding all before it."""
        self._pictures.close()
        with suppress(av.FFmpegError):  # not every file can be jumped in; what is met then shows it
            _jump_before(self._container, self._stream, place.pts)
        self._pictures = self._decode()
        timed = dropwhile(lambda item: item[0] < place.pts, self._clocked(self._pictures))
        known, is_it = self._met(place, timed)
        self._given = place.index + len(known)
        return chain(known, timed) if is_it else self._walked(place)

    def _walked(self, place: Place) -> Iterator[tuple[int, av.VideoFrame]]:
        self._pictures.close()
        self._container.close()
        self._container = _open(self._path, self._hardware, self._max_pixels)
        self._stream = video_stream(self._container, self._path, self._wanted_stream)
        self._set_up_decoder()
        self._pictures = self._decode()
        known, is_it = self._met(place, timed := islice(self._clocked(self._pictures), place.index, None))
        if not is_it:
            raise SourceError(f"{self._path}: frame {place.index} is not the one that the run began with")
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

    def _set_up_decoder(self) -> None:
        self._decodes_ahead = _pixels(self._stream) > _MOST_AT_A_TIME
        self._stream.thread_type = "AUTO" if self._decodes_ahead else "SLICE"
        self._stream.codec_context.options = self._decoder_options()

    def _decoder_options(self) -> dict[str, str]:
        # FFmpeg's HEVC decoder alone leaves out pictures in mid-video that lack some of what they are made from. They
        # come out, and are counted as damaged.
        flags = {"flags": "+output_corrupt"} if self._stream.codec_context.name == "hevc" else {}
        return {"max_pixels": str(self._max_pixels)} | flags

    def _decode_first(self) -> av.VideoFrame:
        try:
            return next(self._pictures)
        except StopIteration:
            width, height = declared_size(self._path)
            if width * height > self._max_pixels:
                raise SourceError(
                    f"{self._path}: its pictures of {width}x{height} are larger than --max-pixels {self._max_pixels}"
                ) from None
            raise SourceError(
                f"{self._path}: no frame could be decoded ({self.undecodable} corrupt packets); is the file complete?"
            ) from None

    def _decode(self) -> Generator[av.VideoFrame, None, None]:
        """Decode to the end, counting what cannot be."""
        reformatter = VideoReformatter() if self._stream.codec_context.is_hwaccel else None
        self._given, self._last_pts = 0, None
        sent = SentPackets()
        for packet in self._packets(self._container, self._stream):
            is_last = packet.dts is None and not packet.size
            if not packet.size and not is_last:
                continue  # "the picture before stays": a picture that is not there, as in Theora
            try:
                pictures: Iterable[av.VideoFrame] = packet.decode()
            except av.FFmpegError:
                self.undecodable += 1
                sent.note(packet, failed=True)
                pictures = ()
            else:
                sent.note(packet)
                # Where a transport stream was joined it only looks so.
                if packet.is_corrupt and self._container.format.name != "mpegts":
                    self._spoilt.add(packet.pts)
            if is_last and self._decodes_ahead and not reformatter:
                pictures = chain(pictures, self._rest(sent))
            for picture in pictures:
                self.undecodable += sent.lost_before(picture)
                self._given, self._last_pts = self._given + 1, picture.pts
                yield as_software(picture, reformatter) if reformatter else picture
                # PyAV crashes the process when a container is read after `close`; a generator may outlive the `with`.
                if self._closed:
                    return

    def _rest(self, sent: SentPackets) -> Iterator[av.VideoFrame]:
        """The pictures after those that were given, by decoding all once more, one after the other.

        To be asked when all packets are `sent`; it gives none where the last picture is that of the last packet, and
        that was whole.

        A decoder that has several in hand and meets damage at the end gives up the others, not always with an error.
        """
        if not sent.more_was_to_come(self._last_pts):
            return
        count, last_pts, counted = self._given, self._last_pts, self.undecodable
        self.undecodable = 0
        with open_container(self._path, max_pixels=self._max_pixels) as container:
            stream = video_stream(container, self._path, self._wanted_stream)
            stream.thread_type = "SLICE"
            stream.codec_context.options = self._decoder_options()
            for packet in self._packets(container, stream):
                try:
                    pictures = packet.decode()
                except av.FFmpegError:
                    self.undecodable += bool(packet.size)
                    continue
                for picture in pictures[count:]:
                    if last_pts is None or picture.pts is None or picture.pts > last_pts:
                        yield picture
                count = max(count - len(pictures), 0)
        self.undecodable = max(self.undecodable, counted)

    def _packets(self, container: InputContainer, stream: VideoStream) -> Iterator[av.Packet[VideoStream]]:
        """Read to the end; the last packet is the empty one that flushes the decoder."""
        errors_in_a_row = 0
        while errors_in_a_row < _READ_ERRORS_IN_A_ROW:
            try:
                for packet in container.demux(stream):
                    errors_in_a_row = 0
                    yield packet
            except av.FFmpegError:
                self.undecodable += 1
                errors_in_a_row += 1
            else:
                return
        last = cast("av.Packet[VideoStream]", av.Packet())
        last.stream = stream
        yield last

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closed = True
        # The generator holds this object and this object the generator: unless it ends here, the decoder's tens of
        # megabytes wait for the garbage collector. ValueError: it still runs, on a thread that did not stop in time.
        with suppress(ValueError):
            self._pictures.close()
        self._container.close()


def _jump_before(container: InputContainer, stream: VideoStream, pts: int) -> None:
    """Go to the last keyframe but one before `pts`: after an open one, some pictures lack what they are made from."""
    container.seek(pts, stream=stream)
    last = next((packet.pts for packet in container.demux(stream) if packet.pts is not None), None)
    if last is not None:
        container.seek(min(last, pts) - 1, stream=stream)


def _open(path: Path, hardware: HardwareDecoder | None, max_pixels: int) -> InputContainer:
    container = open_file(path, max_pixels=max_pixels)
    if hardware and (faster := hardware.open(path, max_pixels=max_pixels)):  # that it can be read at all is known then
        container.close()
        return faster
    return container


def video_stream(container: InputContainer, name: Path | str, number: int | None = None) -> VideoStream:
    """The video stream of that number, from 0; without one, the default or else the largest, no cover picture.

    Raises:
        SourceError: of `name`, that it has none which can be decoded, or none of that number.
    """
    streams = _without_covers(container)
    if number is not None:
        streams = list(container.streams.video[number : number + 1])
        if not streams:
            raise SourceError(f"{name}: has no video stream {number}; there are {len(container.streams.video)}, from 0")
    if not streams:
        raise SourceError(f"{name}: holds no video")
    stream = max(streams, key=lambda stream: (bool(stream.disposition & Disposition.default), _pixels(stream)))
    if stream.codec_context is None:
        raise SourceError(f"{name}: no decoder for its video")
    return stream


def _without_covers(container: InputContainer) -> list[VideoStream]:
    return [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]


def _pixels(stream: VideoStream) -> int:
    return stream.width * stream.height if stream.codec_context is not None else 0


def _info(container: InputContainer, stream: VideoStream, first: av.VideoFrame) -> VideoInfo:
    turn = rotation(first)
    width, height = first.width, first.height
    aspect = stream.sample_aspect_ratio or Fraction(1)
    if not 1 / _MOST_ASPECT <= aspect <= _MOST_ASPECT:
        aspect = Fraction(1)
    if turn in (90, 270):
        width, height, aspect = height, width, 1 / aspect
    assert stream.time_base is not None, "every stream that gave a frame has one"
    return VideoInfo(
        width=width,
        height=height,
        rate=stream.average_rate or stream.guessed_rate or None,  # PyAV gives 0 or None where it does not know
        frame_count=stream.frames or None,
        duration=_duration(container, stream),
        time_base=Fraction(stream.time_base),
        rotation=turn,
        sample_aspect_ratio=Fraction(aspect),
        codec=stream.codec_context.name,
        pixel_format=first.format.name,
        has_audio=bool(container.streams.audio),
        live=False,
        stream=container.streams.video.index(stream),
        streams=len(_without_covers(container)),
    )


def _duration(container: InputContainer, stream: VideoStream) -> Fraction | None:
    if stream.duration and stream.time_base:
        return Fraction(stream.duration * stream.time_base)
    return Fraction(container.duration, av.time_base) if container.duration else None
