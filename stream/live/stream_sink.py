"""Write the overlay to standard output, for a player or the next program: MPEG-TS, or pictures without a container.

Nothing else gets into it, and a slow or absent reader ends no run badly.
"""

from __future__ import annotations

import logging
import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Literal, Self

from av.video.frame import VideoFrame

from ..decode.pixels import color_range, converted, matrix, planes_of
from ..encode.h264 import ANY_ENCODING, Encoding
from ..errors import OutputError
from ..frames import SegmentedFrame, Sink
from ..system.disk import writing
from .live_encoding import LiveEncoder

log = logging.getLogger(__name__)

StreamFormat = Literal["mpegts", "yuv420p", "bgr24"]

_POLL_S = 0.1  # how long it may take until `stop` is noticed
_PATIENCE_S = 1.0  # with a reader that takes nothing, once the run is to end
_CHUNK_BYTES = select.PIPE_BUF if hasattr(select, "PIPE_BUF") else 4096


class StreamSink(Sink):
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
        encoding: of "mpegts".

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
        encoding: Encoding = ANY_ENCODING,
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
        self._new_encoder = partial(LiveEncoder, encoding=encoding)

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
            colors = (matrix(picture), color_range(picture))
            picture = converted(picture, self._format, size=(height, width), of=colors)
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

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        self._stack.__exit__(kind, exc, at)


class ReaderGone(Exception):  # noqa: N818 - not an error: how a player ends a run
    """Whoever read the output has closed it, or takes nothing while the run is to end."""


@contextmanager
def claimed_stdout() -> Iterator[int]:
    """A descriptor of standard output that only its owner knows; what others print goes to standard error meanwhile.

    Raises:
        OutputError: it is a terminal, or closed.
    """
    if sys.__stdout__ is None:  # its number leads nowhere since then
        raise OutputError("-: standard output is closed; pipe the video into a player: ... -o - | mpv -")
    if os.isatty(1):
        raise OutputError("-: standard output is a terminal; pipe the video into a player: ... -o - | mpv -")
    own = os.dup(1)
    try:
        sys.stdout.flush()
        os.dup2(2, 1)
        try:
            yield own
        finally:
            sys.stdout.flush()
            os.dup2(own, 1)
    finally:
        os.close(own)


class Pipe:
    """Writes to a descriptor, which stays the caller's, waiting for its reader without being stuck in it.

    Once `stop` is set, the reader is waited for no longer than a second.
    """

    def __init__(self, descriptor: int, stop: Event | None = None) -> None:
        self._descriptor = descriptor
        self._stop = stop or Event()

    def write(self, content: bytes) -> None:
        """Return when the system has all of it.

        Raises:
            ReaderGone: it will not be read.
            OSError: it cannot be written.
        """
        rest = memoryview(content)
        while rest:
            self._wait()
            try:
                # No more than a pipe is sure to have room for: a write of more waits for the reader, whatever `stop`.
                rest = rest[os.write(self._descriptor, rest[:_CHUNK_BYTES]) :]
            except BrokenPipeError as exc:
                raise ReaderGone from exc

    def _wait(self) -> None:
        if sys.platform == "win32":  # its pipes cannot be waited for: there a write waits
            return
        waiting_since: float | None = None
        while not select.select([], [self._descriptor], [], _POLL_S)[1]:
            if not self._stop.is_set():
                continue
            waiting_since = waiting_since or time.monotonic()
            if time.monotonic() - waiting_since >= _PATIENCE_S:
                raise ReaderGone
