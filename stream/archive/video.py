"""Masks as one lossless video: FFV1, 8-bit grey, every frame a keyframe, in Matroska; read and written.

It is the smallest archive, and plays anywhere. The manifest is in it too, as a text track with a line at the time of
each mask: Matroska rounds times to milliseconds, and a file beside the video would get lost. `classes.json` is an
attachment, how the run ended a tag.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from fractions import Fraction
from itertools import dropwhile, islice
from pathlib import Path
from typing import Final

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream
from numpy.typing import NDArray

from ..decode.opening import open_container
from ..decode.pixels import planes_of
from ..frames import Ending
from ..system.matroska import MatroskaWriter, Tracks
from .manifest import (
    CLASSES_NAME,
    MANIFEST_NAME,
    ArchiveHeader,
    MaskRecord,
    ending_text,
    header_text,
    parse_record,
    record_line,
)

ENDING_TAG = "ROADMASK_RUN"

_CODEC: Final = "ffv1"
# Version 3 has a checksum for each slice: damage is found. Rice codes with few contexts: of all settings the smallest
# files and the fastest, as flat areas become run lengths. Fixed, as the encoder might choose by the number of cores.
_CODEC_OPTIONS: Final = {"level": "3", "slicecrc": "1", "coder": "rice", "context": "0"}
_SLICES: Final = (1, 4)  # the fewest that the encoder takes for pictures up to a size, and beyond
_ONE_SLICE_SIZE: Final = (288, 352)


class VideoStore:
    """One container, read once through for its manifest, then by position: forward without seeking.

    Raises:
        OSError, ValueError: not a video that can be read (PyAV's exceptions are also the built-in ones).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._container = open_container(path)
        if not self._container.streams.video or not self._container.streams.subtitles:
            self._container.close()
            raise ValueError("it has no video or no manifest track")
        self._stream = self._container.streams.video[0]
        self._pts: list[int] = []
        self._lines: list[str] = []
        self._read_through()
        self._rest: Iterator[av.Packet[VideoStream]] = iter(())
        self._position = -1  # of the first packet in `_rest`

    def _read_through(self) -> None:
        for packet in self._container.demux(self._stream, self._container.streams.subtitles[0]):
            if packet.pts is None:
                continue
            if packet.stream_index == self._stream.index:
                self._pts.append(packet.pts)
            else:
                self._lines.append(bytes(packet).decode() + "\n")

    @property
    def is_finished(self) -> bool:
        return self._container.duration is not None  # it is written last

    def header(self) -> str:
        for attachment in self._container.streams.attachments:
            if attachment.name == CLASSES_NAME:
                return attachment.data.decode()
        raise KeyError(CLASSES_NAME)

    def ending(self) -> str:
        return self._container.metadata[ENDING_TAG]

    def manifest(self) -> str:
        # A killed process may have left a picture without its line, or the reverse.
        return "".join(self._lines[: len(self._pts)])

    def mask(self, position: int, record: MaskRecord) -> NDArray[np.uint8] | None:  # noqa: ARG002 - as the protocol
        if position != self._position:
            self._go_to(position)
        self._position = position + 1
        for packet in self._rest:
            if packet.pts is not None:
                pictures = packet.decode()
                return np.ascontiguousarray(pictures[0].to_ndarray(), dtype=np.uint8) if pictures else None
        return None

    def _go_to(self, position: int) -> None:
        """Have `_rest` begin with the packet at `position`.

        Where frames are less than a millisecond apart several have one time, of which FFmpeg knows the last only.
        """
        first = bisect_left(self._pts, self._pts[position])
        if first:
            self._container.seek(self._pts[first - 1], stream=self._stream)
        else:
            self._container.close()
            self._container = open_container(self._path)
            self._stream = self._container.streams.video[0]
        packets = (packet for packet in self._container.demux(self._stream) if packet.pts is not None)
        at_time = dropwhile(lambda packet: (packet.pts or 0) < self._pts[position], packets)
        self._rest = islice(at_time, position - first, None)

    def close(self) -> None:
        self._container.close()


def first_record(path: Path) -> MaskRecord:
    """Raises `ValueError` or `OSError` where there is none."""
    with open_container(path) as container:
        for packet in container.demux(container.streams.subtitles):
            if packet.size:
                return parse_record(bytes(packet).decode())
    raise ValueError("it holds no masks")


class VideoWriter:
    """A `MaskWriter` of a Matroska file."""

    def __init__(self, path: Path, header: ArchiveHeader, keep: int) -> None:
        self._path = path
        self._header = header
        self._file: MatroskaWriter | None = None
        if keep:
            self._open(first_record(path), keep)

    def add(self, record: MaskRecord, mask: NDArray[np.uint8]) -> None:
        if self._file is None:
            self._open(record, 0)
        self.add_encoded(record, encoded(mask, self._encoder))

    def add_encoded(self, record: MaskRecord, content: bytes) -> None:
        file = self._file or self._open(record, 0)
        file.add(round((record.time - self._zero) * 1000), content, record_line(record).encode())

    def _open(self, first: MaskRecord, keep: int) -> MatroskaWriter:
        self._size = (first.height, first.width)
        self._zero = min(first.time, Fraction(0))  # the file's times cannot be negative
        self._encoder = mask_encoder(self._size)
        private = self._encoder.extradata
        assert private is not None, "version 3 has one"
        attachment = (CLASSES_NAME, "application/json", header_text(self._header).encode())
        tracks = Tracks("V_FFV1", private, first.width, first.height, MANIFEST_NAME, attachment)
        self._file = MatroskaWriter(self._path, tracks, keep=keep)
        return self._file

    def sync(self) -> None:
        if self._file:
            self._file.sync()

    def finish(self, ending: Ending | None) -> None:
        if self._file:
            self._file.finish({ENDING_TAG: ending_text(ending)} if ending else {})

    def close(self) -> None:
        if self._file:
            self._file.close()


def encoded(mask: NDArray[np.uint8], encoder: VideoCodecContext) -> bytes:
    """A mask as a picture of the video; it depends on no other."""
    height, width = mask.shape
    picture = av.VideoFrame(width, height, "gray")
    np.copyto(planes_of(picture)[0], mask)
    (packet,) = encoder.encode(picture)
    return bytes(packet)


def mask_encoder(size: tuple[int, ...]) -> VideoCodecContext:
    """For masks of this height and width."""
    height, width = size
    few, more = _SLICES
    slices = few if height <= _ONE_SLICE_SIZE[0] and width <= _ONE_SLICE_SIZE[1] else more
    encoder = av.CodecContext.create(_CODEC, "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "gray"
    encoder.time_base = Fraction(1, 1000)
    encoder.gop_size = 1
    encoder.thread_count = 1  # the network has the cores
    encoder.options = _CODEC_OPTIONS | {"slices": str(slices)}
    encoder.open()
    return encoder
