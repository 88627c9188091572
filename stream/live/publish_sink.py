"""Publish the overlay to a media server, or to a port: what happens there neither delays nor ends a run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Self

from av.video.frame import VideoFrame

from ..encode.h264 import ANY_ENCODING, Encoding
from ..errors import OutputError
from ..frames import SegmentedFrame, Sink
from .live_encoding import LiveEncoder, PacketQueue
from .publisher import Publisher, Sample, parse_target

log = logging.getLogger(__name__)

_WAITING_S = 2.0  # of packets wait at most: a slow server gets what is new, not all there was


class PublishSink(Sink):
    """A `Sink` that encodes what `render` draws and hands it to a process which sends it.

    Frames that the server does not take, be it slow, hanging or away, are not sent and counted; nothing is drawn or
    encoded while it is away. `write` raises nothing on its account: the connection is made again, until the run ends.

    Args:
        url: rtsp://, rtsps://, rtmp://, rtmps:// or udp:// (MPEG-TS).
        render: draws a result: a new yuv420p frame of even size, which this sink may write the time into.
        timeout_s: a server that takes nothing for so long is given up, and tried again.
        must_arrive: whether a run is in vain whose stream no server has taken by its end.
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
        encoding: Encoding = ANY_ENCODING,
    ) -> None:
        target = parse_target(url, timeout_s=timeout_s)
        self.name = target.name
        self.written = 0  # frames given to it
        self._must_arrive = must_arrive
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
            self._begin(result)
        elif not self._queue.is_open:
            self._queue.drop()
        else:
            picture = self._render(result)
            for packet in self._encoder.encode(picture, result.frame, key=self._queue.needs_key):
                self._queue.put(packet)

    def _begin(self, result: SegmentedFrame) -> None:
        """The first picture, or the first after a change, only shows the server what is to come."""
        self._close()
        picture = self._render(result)
        with closing(self._new_encoder(picture, result.frame, silent=True)) as encoder:
            sample = encoder.mpegts(encoder.encode(picture, result.frame))
        self._encoder = self._new_encoder(picture, result.frame)
        self._publisher.publish(Sample(sample, result.frame.time_base, self._encoder.sound))
        self._queue.drop()

    def _close(self) -> None:
        if self._encoder is not None:
            self._encoder.close()
            self._encoder = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._publisher.stop()
        self._close()
        if self._must_arrive and kind is None and self.written and not self.connections:
            raise OutputError(
                f"{self.name}: none of {self.written} frames was sent: no server there took them; start one, or -o FILE"
            )
        log.info("%s: %d of %d frames sent", self.name, self.written - self.dropped, self.written)
