"""Write masks as one lossless video: FFV1, 8-bit grey, every frame a keyframe, in Matroska.

It is the smallest and fastest archive, and what a killed process leaves opens without repair. The manifest is in it
too, as a text track with a line at the time of each mask: Matroska rounds times to milliseconds, and a file beside the
video would get lost. `classes.json` is an attachment.
"""

from __future__ import annotations

from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import av
import numpy as np
from av.container import OutputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from .errors import OutputError
from .frames import SegmentedFrame
from .manifest import CLASSES_NAME, MANIFEST_NAME, ArchiveHeader, header_text, record_line, record_of
from .partial import PartialOutput, closing, writing
from .planes import planes_of

_CODEC: Final = "ffv1"
# Version 3 has a checksum for each slice: damage is found. The encoder knows how many slices suit a size.
_CODEC_OPTIONS = {"level": "3", "slicecrc": "1"}


class MaskVideoSink:
    """A `Sink` for a Matroska file of masks, all of one size."""

    def __init__(self, path: Path, header: ArchiveHeader, *, overwrite: bool = False) -> None:
        self._path = path
        self._header = header
        self._output = PartialOutput(path, overwrite=overwrite)
        self._stack = ExitStack()
        self._container: OutputContainer | None = None
        self._size: tuple[int, ...] = ()

    def write(self, result: SegmentedFrame) -> None:
        with writing(self._path):
            if self._container is None:
                self._container = self._open(result)
            if result.mask.shape != self._size:
                raise OutputError(
                    f"{self._path}: the picture size changes at frame {result.frame.index}, which a video of masks "
                    "cannot follow; use a folder or a .zip"
                )
            height, width = self._size
            picture = av.VideoFrame(width, height, "gray")
            np.copyto(planes_of(picture)[0], result.mask)
            picture.pts, picture.time_base = result.frame.pts, result.frame.time_base
            self._container.mux(self._video.encode(picture))
            self._container.mux(self._line(result))
        self._output.used = True

    def _open(self, result: SegmentedFrame) -> OutputContainer:
        self._size = result.mask.shape
        # Written out at once: a process that is killed loses a frame or two, not fifty.
        container = av.open(self._output.path, "w", options={"flush_packets": "1"})
        container.add_attachment(CLASSES_NAME, "application/json", header_text(self._header).encode())
        self._video = _add_video(container, self._size, result.frame.time_base)
        self._text: Stream = container.add_mux_stream("subrip")
        self._text.metadata["title"] = MANIFEST_NAME
        self._text.disposition = 0  # type: ignore[assignment]  # not "default": players are not to show it unasked
        return container

    def _line(self, result: SegmentedFrame) -> av.Packet[Stream]:
        packet = av.Packet(record_line(record_of(result, None)).encode())
        packet.stream = self._text
        packet.time_base = result.frame.time_base
        packet.pts = packet.dts = result.frame.pts
        packet.duration = 1
        return packet

    def _close(self) -> None:
        if self._container is not None:
            with self._container:
                self._container.mux(self._video.encode(None))

    def __enter__(self) -> Self:
        self._stack.enter_context(self._output)
        self._stack.push(closing(self._path, self._close))
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(exc_type, exc, traceback)


def _add_video(container: OutputContainer, size: tuple[int, ...], time_base: Fraction) -> VideoStream:
    height, width = size
    stream = container.add_stream(_CODEC, options=_CODEC_OPTIONS, width=width, height=height)
    stream.pix_fmt = "gray"
    stream.time_base = time_base
    stream.codec_context.time_base = time_base
    stream.codec_context.gop_size = 1
    return stream
