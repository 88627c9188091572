"""Read masks back from the video that `video_archive_sink` writes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import dropwhile, islice
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from ..decode.opening import open_container
from .manifest import CLASSES_NAME, MaskRecord, parse_record

ENDING_TAG = "ROADMASK_RUN"


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
