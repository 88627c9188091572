"""Write the overlay to standard output, for a player or the next program: MPEG-TS, or pictures without a container."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Literal, Self

from av.video.frame import VideoFrame

from ..decode.pixels import color_range, matrix, planes_of
from ..encode.h264 import DEFAULT_CRF, DEFAULT_PRESET
from ..frames import SegmentedFrame
from ..system.disk import writing
from .live_encoding import LiveEncoder
from .stdout import Pipe, ReaderGone, claimed_stdout

log = logging.getLogger(__name__)

StreamFormat = Literal["mpegts", "yuv420p", "bgr24"]


class StreamSink:
    """A `Sink` for standard output, which is its own while it is entered.

    A slow reader slows the run down, as in every pipe; one that goes away is told to `on_gone`, and what comes after
    is not written.

    Args:
        render: draws a result: a new yuv420p frame of even size, which this sink may write the time into.
        format: "mpegts" (H.264 without delay, frame times kept), "yuv420p" or "bgr24": the bare rows of each picture,
            all of the first one's size, which is logged.
        on_gone: called once, where the reader goes away: a run that has no other output may end.
        stop: set where the run is to end; a reader that takes nothing is not waited for then.
        descriptor: write there instead of to standard output.
        encoder: of "mpegts"; see `choose_encoder`, also for the next three.
        device: see there.
        crf: see there.
        preset: see there.

    Raises:
        OutputError: also where standard output is a terminal.
    """

    def __init__(
        self,
        render: Callable[[SegmentedFrame], VideoFrame],
        *,
        format: StreamFormat = "mpegts",  # noqa: A002 - as FFmpeg calls it
        on_gone: Callable[[], None] | None = None,
        stop: Event | None = None,
        descriptor: int | None = None,
        encoder: str = "auto",
        device: str = "cpu",
        crf: int = DEFAULT_CRF,
        preset: str = DEFAULT_PRESET,
    ) -> None:
        self._render = render
        self._format = format
        self._on_gone = on_gone
        self._stop = stop
        self._descriptor = descriptor
        self._gone = False
        self._size: tuple[int, int] | None = None  # width, height of raw pictures, and of the last one before scaling
        self._last_size: tuple[int, int] | None = None
        self._stack = ExitStack()
        self._encoder: LiveEncoder | None = None
        self._new_encoder = partial(LiveEncoder, encoder=encoder, device=device, crf=crf, preset=preset)

    def write(self, result: SegmentedFrame) -> None:
        if self._gone:
            return
        picture = self._render(result)
        with writing(Path("-")):
            try:
                for piece in self._mpegts(picture, result) if self._format == "mpegts" else self._raw(picture, result):
                    self._pipe.write(piece)
            except ReaderGone:
                self._leave()

    def _mpegts(self, picture: VideoFrame, result: SegmentedFrame) -> Iterator[bytes]:
        frame = result.frame
        if self._encoder is None or self._encoder.info is not frame.info:
            self._close()
            # A stretch of the stream of its own, with new tables: readers take the new size from it.
            self._encoder = self._new_encoder(picture, frame)
        yield self._encoder.mpegts(self._encoder.encode(picture, frame))

    def _raw(self, picture: VideoFrame, result: SegmentedFrame) -> Iterator[bytes]:
        if self._size is None:
            self._size = (picture.width, picture.height)
            rate = result.frame.info.rate
            about = f", about {float(rate):g} fps" if rate else ""
            log.info("-: raw video, %s, %dx%d%s", self._format, *self._size, about)
        self._notice_size(picture)
        width, height = self._size
        if (picture.width, picture.height) != self._size or self._format == "bgr24":
            picture = picture.reformat(
                width, height, self._format, src_colorspace=matrix(picture), src_color_range=color_range(picture)
            )
        if self._format == "bgr24":
            yield picture.to_ndarray().tobytes()
        else:
            yield from (plane.tobytes() for plane in planes_of(picture))

    def _notice_size(self, picture: VideoFrame) -> None:
        size = (picture.width, picture.height)
        if size not in (self._size, self._last_size):
            log.warning("-: the picture is %dx%d from here on; it is scaled to %dx%d", *size, *(self._size or size))
        self._last_size = size

    def _leave(self) -> None:
        self._gone = True
        log.info("-: nobody reads standard output any more")
        if self._on_gone:
            self._on_gone()

    def _close(self) -> None:
        if self._encoder is not None:
            self._encoder.close()
            self._encoder = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            own = stack.enter_context(claimed_stdout()) if self._descriptor is None else self._descriptor
            self._pipe = Pipe(own, self._stop)
            stack.callback(self._close)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(exc_type, exc, traceback)
