"""Publish the overlay to a media server, or to a port: what happens there neither delays nor ends a run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from threading import Event
from typing import Self

from av.video.frame import VideoFrame

from ..encode.h264 import ANY_ENCODING, Encoding
from ..errors import OutputError
from ..frames import SegmentedFrame, Sink
from ..system.talk import number_of
from .live_encoding import LiveEncoder, PacketQueue
from .publisher import Publisher, Sample, parse_target

log = logging.getLogger(__name__)

_POLL_S = 0.1  # how long it may take until the end is noticed
_WAITING_S = 2.0  # of packets wait at most: a slow server gets what is new, not all there was


class PublishSink(Sink):
    """A `Sink` that encodes what `render` draws and hands it to a process which sends it.

    Frames that the server does not take, be it slow, hanging or away, are not sent and counted; nothing is drawn or
    encoded while it is away. `write` raises nothing on its account: the connection is made again, until the run ends.
    What must arrive waits for the first connection, and for the last packets to be taken, for `timeout_s` each.

    Args:
        url: rtsp://, rtsps://, rtmp://, rtmps:// or udp:// (MPEG-TS).
        render: draws a result: a new yuv420p frame of even size, which this sink may write the time into.
        timeout_s: a server that takes nothing for so long is given up, and tried again.
        must_arrive: whether a run is in vain whose stream no server has taken by its end, so that it may be delayed.
        stop: of the run; nothing is waited for once it is set.
        encoding: of what is sent.

    Raises:
        OutputError: nothing can be published there; at the end, that nothing was which must arrive.
    """

    def __init__(
        self,
        url: str,
        render: Callable[[SegmentedFrame], VideoFrame],
        *,
        timeout_s: float = 10.0,
        must_arrive: bool = False,
        stop: Event | None = None,
        encoding: Encoding = ANY_ENCODING,
    ) -> None:
        target = parse_target(url, timeout_s=timeout_s)
        self.name = target.name
        self.written = 0  # frames given to it
        self._must_arrive = must_arrive
        self._timeout_s = timeout_s
        self._stop = stop or Event()
        self._render = render
        self._queue = PacketQueue(_WAITING_S)
        self._publisher = Publisher(target, self._queue, timeout_s=timeout_s)
        self._encoder: LiveEncoder | None = None
        self._new_encoder = partial(LiveEncoder, encoding=encoding)

    @property
    def dropped(self) -> int:
        """Frames that were not sent."""
        return self._queue.dropped

    @property
    def connections(self) -> int:
        """How often the server has taken the stream."""
        return self._publisher.connections

    def write(self, result: SegmentedFrame) -> None:
        self.written += 1
        if self._encoder is None or self._encoder.info is not result.frame.info:
            self._encoder = self._begun(result)
        if not self._queue.is_open:
            self._queue.drop()
            return
        picture = self._render(result)
        for packet in self._encoder.encode(picture, result.frame, key=self._queue.needs_key):
            self._queue.put(packet)

    def _begun(self, result: SegmentedFrame) -> LiveEncoder:
        """The first picture, or the first after a change, shows the server what is to come."""
        self._close()
        picture = self._render(result)
        with closing(self._new_encoder(picture, result.frame, silent=True)) as encoder:
            sample = encoder.mpegts(encoder.encode(picture, result.frame))
        encoder = self._new_encoder(picture, result.frame)
        self._publisher.publish(Sample(sample, result.frame.time_base, encoder.sound))
        until = time.monotonic() + (self._timeout_s if self._must_arrive and not self.connections else 0)
        while time.monotonic() < until and not self._stop.is_set() and not self._queue.wait_until_open(_POLL_S):
            pass
        return encoder

    def _close(self) -> None:
        if self._encoder is not None:
            self._encoder.close()
            self._encoder = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._must_arrive and kind is None and self.connections:
            self._publisher.stop(self._timeout_s)
        else:
            self._publisher.stop()
        self._close()
        if self._must_arrive and kind is None and self.written and not self.connections:
            reason = f" ({self._publisher.reason})" if self._publisher.reason else ""
            raise OutputError(
                f"{self.name}: none of {number_of(self.written, 'frame')} was sent: nothing there took them{reason}; "
                "start a server, or -o FILE"
            )
        log.info("%s: %d of %d frames sent", self.name, self.written - self.dropped, self.written)
