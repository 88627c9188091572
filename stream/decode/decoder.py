"""A video file's pictures as its decoder gives them: all that can be had, in order; what cannot is counted."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, cast

import av
from av.container import InputContainer
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from ..errors import SourceError
from .hardware_decode import HardwareDecoder, as_software
from .joined import Gap, packets_and_gaps, video_within
from .opening import declared_size, demuxed, open_container, open_file, torn_fragment, why_not_decoded
from .video_stream import counted, pixels_of, video_stream

log = logging.getLogger(__name__)

# Of a packet; `ValueError` is PyAV 19's where the decoder could not be opened for an earlier one.
UNDECODABLE = (av.FFmpegError, ValueError)
_READ_ERRORS_IN_A_ROW = 8  # then the container is taken to be lost; a demuxer may fail for ever without moving on
# Pixels of a picture up to which one is decoded at a time: quick enough, and always the same. FFmpeg's decoders that
# have several in hand find damage in one when others have made use of it, or have gone out.
MOST_AT_A_TIME = 1920 * 1088


class FileDecoder:
    """Reads a file from its beginning, or from where it is made to.

    Args:
        path: of the file.
        hardware: to decode with, where it starts; `None` for software.
        max_pixels: larger pictures are not decoded; no memory is taken for them.
        stream: which of the file's video streams; see `video_stream`.

    Raises:
        SourceError: not there, not a video, or hardware that is required does not start.
    """

    def __init__(self, path: Path, *, hardware: HardwareDecoder | None, max_pixels: int, stream: int | None) -> None:
        self.undecodable: int  # packets that could not be read or decoded, so far
        self.closed = False
        self.given = 0  # pictures up to now, of all of the file's; whoever jumps says how many were before
        self._path = path
        self._hardware = hardware
        self._max_pixels = max_pixels
        self._wanted_stream = stream
        self._spoilt: set[int | None] = set()  # pts of packets that the container knows to be damaged
        self._last_pts = cast("int | None", None)  # of the last picture that was given
        self._is_joined = False  # with another, which has been met
        self._open()

    def _open(self) -> None:
        self.container = _opened(self._path, self._hardware, self._max_pixels)
        self.is_torn = self.container.file is not None and torn_fragment(self._path) is not None
        self.undecodable = int(self.is_torn)
        try:
            self.stream = video_stream(self.container, self._path, self._wanted_stream)
            self._decodes_ahead = pixels_of(self.stream) > MOST_AT_A_TIME
            self._set_up(self.stream, ahead=self._decodes_ahead)
        except BaseException:
            self.container.close()
            raise
        # One decoder loop for the whole file: a second one would lose the frames still inside the decoder.
        self.pictures = self._decode()

    def first(self) -> av.VideoFrame:
        """To be asked for once, before any other.

        Raises:
            SourceError: there is none, and why.
        """
        try:
            return next(self.pictures)
        except StopIteration:
            width, height = declared_size(self._path)
            if width * height > self._max_pixels:
                raise SourceError(
                    f"{self._path}: its pictures of {width}x{height} are larger than --max-pixels {self._max_pixels}; "
                    f"--max-pixels {width * height} takes them"
                ) from None
            if reason := why_not_decoded(self._path):
                raise SourceError(f"{self._path}: {reason}") from None
            count, note = counted(self.container, self.stream)
            lost = note if count == 0 else f"{self.undecodable} corrupt packets"
            raise SourceError(f"{self._path}: no frame could be decoded ({lost}); is the file complete?") from None

    def is_damaged(self, picture: av.VideoFrame) -> bool:
        """Whether the decoder has patched it up, or the container knows that it is made from damage."""
        damaged = picture.is_corrupt or picture.pts in self._spoilt
        self._spoilt.discard(picture.pts)
        return damaged

    def jump_before(self, pts: int) -> int | None:
        """Go on from somewhere before that time, if the file can be jumped in; `pictures` are then those from there.

        Returns:
            The time from which on they are whole and none is missing; `None` where the file cannot be jumped in.
        """
        self.pictures.close()
        whole_from = None
        with suppress(av.FFmpegError):  # what is met then shows it
            whole_from = _jump_before(self.container, self.stream, pts)
        self.pictures = self._decode(jumped=True)
        return whole_from

    def begin_again(self) -> None:
        """Raises `SourceError`."""
        self.pictures.close()
        self.container.close()
        self._open()

    def close(self) -> None:
        self.closed = True
        # The generator holds this object and this object the generator: unless it ends here, the decoder's tens of
        # megabytes wait for the garbage collector. ValueError: it still runs, on a thread that did not stop in time.
        with suppress(ValueError):
            self.pictures.close()
        self.container.close()

    def _set_up(self, stream: VideoStream, *, ahead: bool = False) -> None:
        stream.thread_type = "AUTO" if ahead else "SLICE"
        # FFmpeg's HEVC decoder alone leaves out pictures in mid-video that lack some of what they are made from. They
        # come out, and are counted as damaged.
        flags = {"flags": "+output_corrupt"} if stream.codec_context.name == "hevc" else {}
        stream.codec_context.options = {"max_pixels": str(self._max_pixels)} | flags

    def _decode(self, *, jumped: bool = False) -> Generator[av.VideoFrame, None, None]:
        """Decode to the end, counting what cannot be; after a jump from the first keyframe on."""
        reformatter = VideoReformatter() if self.stream.codec_context.is_hwaccel else None
        self.given, self._last_pts = 0, None
        sent = SentPackets()
        for packet in self._packets(self.container, self.stream):
            is_last = _flushes(packet)
            # Without a size it says that the picture before stays: one that is not there, as in Theora.
            if not is_last and (not packet.size or (jumped and not packet.is_keyframe)):
                continue
            jumped = False
            pictures = self._pictures_of(packet, sent)
            if is_last and self._is_joined:
                packet.stream.codec_context.flush_buffers()  # it is to go on after what was joined
            elif is_last and self._decodes_ahead and not reformatter:
                pictures = chain(pictures, self._rest(sent))
            for picture in pictures:
                self.undecodable += sent.lost_before(picture)
                self.given, self._last_pts = self.given + 1, picture.pts
                yield as_software(picture, reformatter) if reformatter else picture
                # PyAV crashes the process when a container is read after `close`; a generator may outlive the `with`.
                if self.closed:
                    return

    def _pictures_of(self, packet: av.Packet[VideoStream], sent: SentPackets) -> Iterable[av.VideoFrame]:
        try:
            pictures = packet.decode()
        except UNDECODABLE:
            self.undecodable += 1
            sent.note(packet, failed=True)
            return ()
        sent.note(packet)
        # Where a transport stream was joined it only looks so.
        if packet.is_corrupt and self.container.format.name != "mpegts":
            self._spoilt.add(packet.pts)
        return pictures

    def _rest(self, sent: SentPackets) -> Iterator[av.VideoFrame]:
        """The pictures after those that were given, by decoding all once more, one after the other.

        To be asked when all packets are `sent`; it gives none where the last picture is that of the last packet, and
        that was whole.

        A decoder that has several in hand and meets damage at the end gives up the others, not always with an error.
        """
        if not sent.more_was_to_come(self._last_pts):
            return
        count, last_pts, counted = self.given, self._last_pts, self.undecodable
        self.undecodable = 0
        with open_container(self._path, max_pixels=self._max_pixels) as container:
            stream = video_stream(container, self._path, self._wanted_stream)
            self._set_up(stream)
            for packet in self._packets(container, stream):
                try:
                    pictures = packet.decode()
                except UNDECODABLE:
                    self.undecodable += bool(packet.size)
                    continue
                for picture in pictures[count:]:
                    if last_pts is None or picture.pts is None or picture.pts > last_pts:
                        yield picture
                count = max(count - len(pictures), 0)
        self.undecodable = max(self.undecodable, counted)

    def _packets(self, container: InputContainer, stream: VideoStream) -> Iterator[av.Packet[VideoStream]]:
        """Read to the end; the last packet is the empty one that flushes the decoder."""
        if container.format.name != "mpegts" or self._wanted_stream is not None:
            yield from self._read(container, [stream])
        else:
            yield from self._with_joined(container, stream, container.size)
        yield _flushing(stream)

    def _with_joined(
        self, container: InputContainer, stream: VideoStream, end: int
    ) -> Iterator[av.Packet[VideoStream]]:
        """The packets before byte `end` of the file, of what was joined there, too; see `joined`."""
        for item in packets_and_gaps(self._read(container, container.streams.video), stream, end):
            if not isinstance(item, Gap):
                yield item
            elif found := video_within(self._path, item, stream, max_pixels=self._max_pixels):
                with found[0]:
                    self._tell_of_joined(item.begin)
                    yield _flushing(stream)
                    self._set_up(found[1])
                    yield from self._with_joined(*found, item.end)
                    yield _flushing(found[1])

    def _tell_of_joined(self, begin: int) -> None:
        if not self._is_joined:
            log.warning("%s: another video was joined to it at byte %d; they are read as one", self._path, begin)
        self._is_joined = True

    def _read(self, container: InputContainer, streams: Sequence[VideoStream]) -> Iterator[av.Packet[VideoStream]]:
        errors_in_a_row = 0
        while errors_in_a_row < _READ_ERRORS_IN_A_ROW:
            try:
                for packet in demuxed(container, *streams):
                    errors_in_a_row = 0
                    if not _flushes(packet):
                        yield packet
            except av.FFmpegError:
                self.undecodable += 1
                errors_in_a_row += 1
            else:
                return


def _flushes(packet: av.Packet[VideoStream]) -> bool:
    return packet.dts is None and not packet.size


def _flushing(stream: VideoStream) -> av.Packet[VideoStream]:
    packet = cast("av.Packet[VideoStream]", av.Packet())
    packet.stream = stream
    if stream.time_base:
        packet.time_base = stream.time_base  # which the pictures have that come out for it
    return packet


def _jump_before(container: InputContainer, stream: VideoStream, pts: int) -> int:
    """Go to the last keyframe but one before `pts`: after an open one, some pictures lack what they are made from.

    Returns:
        The time of the last one.
    """
    begin, target, step = stream.start_time or 0, pts, 1
    while True:
        container.seek(max(target, begin), stream=stream)
        first, keys = _keyframes(container, stream, pts)
        if len(keys) > 1 or target <= begin:
            container.seek(max(target, begin), stream=stream)
            return keys[-1] if keys else pts
        # With an index it has led to a keyframe, and the one before is a tick away; without one, to any packet.
        target = min(target, pts if first is None else first) - step
        step = max(2 * step, round(1 / stream.time_base)) if stream.time_base else 2 * step


def _keyframes(container: InputContainer, stream: VideoStream, until: int) -> tuple[int | None, list[int]]:
    """The time of the next packet, and those of the keyframes from there up to `until`."""
    first, keys = None, []
    for packet in demuxed(container, stream):
        if packet.pts is None:
            continue
        first = packet.pts if first is None else first
        if (packet.dts or packet.pts) > until:
            break
        if packet.is_keyframe and packet.pts <= until:
            keys.append(packet.pts)
    return first, keys


def _opened(path: Path, hardware: HardwareDecoder | None, max_pixels: int) -> InputContainer:
    container = open_file(path, max_pixels=max_pixels)
    if hardware and (faster := hardware.open(path, max_pixels=max_pixels)):  # that it can be read at all is known then
        container.close()
        return faster
    return container


class SentPackets:
    """Packets in the order in which a decoder got them."""

    def __init__(self) -> None:
        self._is_torn = False
        self._highest: int | None = None
        self._ahead: list[int] | None = []  # times of those before the first picture

    def note(self, packet: av.Packet[Any], *, failed: bool = False) -> None:
        """The next one; the empty one at the end leaves it as it is."""
        if packet.size or failed:
            self._is_torn = failed or packet.is_corrupt
        if packet.pts is None or packet.is_discard:
            return
        self._highest = packet.pts if self._highest is None else max(self._highest, packet.pts)
        if self._ahead is not None:
            self._ahead.append(packet.pts)

    def lost_before(self, picture: av.VideoFrame) -> int:
        """How many give no picture as they are shown before the first, and lack the keyframe they are made from."""
        ahead, self._ahead = self._ahead, None
        pts = picture.pts
        return sum(time < pts for time in ahead) if ahead and pts is not None else 0

    def more_was_to_come(self, last_pts: int | None) -> bool:
        """Whether the last packet was damaged, or is shown later than the last picture that came out."""
        return self._is_torn or (self._highest is not None and last_pts is not None and self._highest > last_pts)
