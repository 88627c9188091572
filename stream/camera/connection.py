"""One connection to a camera, from opening to its end, on a thread of its own.

Only that thread touches the container, as PyAV crashes the process where two do. A read that hangs cannot be broken off
from outside: the connection is left to itself then, and its thread ends when FFmpeg's own time-out does.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from ..decode.hardware_decode import HardwareDecoder, as_software
from ..decode.opening import MAX_PIXELS
from ..decode.video_stream import pixels_of, video_stream
from ..errors import SourceError
from ..frames import HeardSound
from ..pipeline import Cancelled, Channel
from .camera import SPARE_S, Camera
from .ear import Ear
from .lost import reason_of
from .status import CameraStatus

_WAITING = 4  # pictures: evens out a network's bursts, and adds little delay where the model is the slower one
_KNOWN_ARRIVALS = 64  # packets that a decoder may hold back


class Lost(Exception):  # noqa: N818 - what happened, not what went wrong
    """The connection is over, with the reason in words.

    Args:
        reason: for the user.
        refused: asking again soon would do harm.
        ended: it came to its end, as far as one can tell.
    """

    def __init__(self, reason: str, *, refused: bool = False, ended: bool = False) -> None:
        super().__init__(reason)
        self.refused = refused
        self.ended = ended


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded picture, as it came."""

    picture: av.VideoFrame
    arrived: float  # of its packet, on `time.monotonic`'s clock
    time_base: Fraction
    rate: Fraction | None
    sample_aspect_ratio: Fraction
    codec: str
    sound: HeardSound | None  # that it comes with


class Connection:
    """Connects at once; `next_picture` gives what comes. To be used by one thread, and ended by `abandon`."""

    def __init__(
        self,
        camera: Camera,
        status: CameraStatus,
        *,
        hardware: HardwareDecoder | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.opened = False
        self._camera = camera
        self._hardware = hardware
        self._max_pixels = max_pixels
        self._status = status
        self._pictures: Channel[Picture] = Channel(_WAITING, drop_oldest=not camera.every_frame)
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name=f"camera {camera.name}", daemon=True)
        self._thread.start()

    def next_picture(self, timeout_s: float | None) -> Picture:
        """The next one to process.

        Raises:
            TimeoutError: none came in that time.
            Lost: none will come any more.
        """
        try:
            picture = self._pictures.get(timeout_s)
        except StopIteration:
            raise Lost("the stream ended", ended=True) from None
        dropped = self._pictures.dropped
        self._status.count(dropped=dropped - self._dropped)
        self._dropped = dropped
        return picture

    def abandon(self) -> None:
        """Want no more of it; what still waits is dropped."""
        waiting = self._pictures.cancel()
        if not self._camera.every_frame:  # else these are not wanted, rather than too many
            self._status.count(dropped=waiting + self._pictures.dropped - self._dropped)
        self._dropped = self._pictures.dropped

    def join(self, timeout_s: float) -> None:
        """Wait for its thread, as long as that."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        error: BaseException | None = None
        started = time.monotonic()
        try:
            with _address(self._camera) as url, self._open(url) as container:
                self._decode(container)
        except Cancelled:
            pass
        except Lost as exc:
            error = exc
        except SourceError as exc:
            error = Lost(str(exc).removeprefix(f"{self._camera.name}: "))
        except (av.FFmpegError, OSError) as exc:
            took_s = time.monotonic() - started
            error = Lost(
                reason_of(exc, self._camera, opened=self.opened, took_s=took_s),
                refused=isinstance(exc, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)),
            )
        except BaseException as exc:  # noqa: BLE001 - carried to the thread that reads
            error = exc
        self._pictures.close(error)

    def _decode(self, container: InputContainer) -> None:
        stream = video_stream(container, self._camera.name)
        if pixels_of(stream) > self._max_pixels:
            raise self._too_large(f"of {stream.width}x{stream.height} are")
        self.opened = True
        # With frame threads a decoder holds pictures back, which a pipe does not mind.
        stream.thread_type = "AUTO" if self._camera.every_frame and not self._camera.endless else "SLICE"
        stream.codec_context.options = {"max_pixels": str(self._max_pixels)}
        reformatter = VideoReformatter() if stream.codec_context.is_hwaccel else None
        arrivals = _Arrivals()
        ear = Ear(container, self._camera.name)
        packets: Iterator[Any] = container.demux([stream, *ear.tracks])  # what PyAV makes of each is its stream's
        for packet in packets:
            if packet.stream_index != stream.index:
                ear.hear(packet)
                continue
            ear.see(packet)
            arrivals.note(packet)
            try:
                pictures = packet.decode()
            except av.FFmpegError as exc:
                if isinstance(exc, av.ArgumentError) and not pixels_of(stream):  # a decoder that may not make them
                    raise self._too_large("cannot be decoded, or are") from None
                self._status.count(undecodable=1)
                continue
            for picture in pictures:
                software = as_software(picture, reformatter) if reformatter else picture
                self._give(software, stream, arrivals.of(picture), ear.sound)

    def _open(self, url: str) -> InputContainer:
        """Raises what FFmpeg raises, and `SourceError` where hardware that is required does not start."""
        camera = self._camera

        def opened(hwaccel: HWAccel | None) -> InputContainer:
            return av.open(
                url,
                format=camera.format,
                options=dict(camera.options) | {"max_pixels": str(self._max_pixels)},
                timeout=None if camera.timeout_s is None else camera.timeout_s + SPARE_S,
                metadata_errors="replace",  # cameras write theirs in any encoding
                hwaccel=hwaccel,
            )

        return (self._hardware and self._hardware.start(camera.name, opened)) or opened(None)

    def _too_large(self, are: str) -> Lost:
        return Lost(f"its pictures {are} larger than --max-pixels {self._max_pixels}", refused=True)

    def _give(self, picture: av.VideoFrame, stream: VideoStream, arrived: float, sound: HeardSound | None) -> None:
        time_base = picture.time_base or stream.time_base
        assert time_base is not None, "every stream that gave a frame has one"
        self._pictures.put(
            Picture(
                picture,
                arrived,
                Fraction(time_base),
                stream.average_rate or stream.guessed_rate or None,
                Fraction(stream.sample_aspect_ratio or 1),
                stream.codec_context.name,
                sound,
            )
        )
        self._status.count(received=1, damaged=int(picture.is_corrupt))


@contextmanager
def _address(camera: Camera) -> Iterator[str]:
    """What FFmpeg is to open: of a FIFO the descriptor, once something is in it; to open it by name has no time-out."""
    if camera.writer_s is None:
        yield camera.url
        return
    descriptor = os.open(camera.url, os.O_RDONLY | os.O_NONBLOCK)
    try:
        written = select.poll()
        written.register(descriptor, select.POLLIN)
        if not written.poll(camera.writer_s * 1000):
            raise Lost(f"nobody has written to it for {camera.writer_s:g} s; --timeout waits longer")
        os.set_blocking(descriptor, True)
        yield f"pipe:{descriptor}"
    finally:
        os.close(descriptor)


class _Arrivals:
    """When the packet of a picture came: a decoder gives the picture some packets later."""

    def __init__(self) -> None:
        self._by_pts: OrderedDict[int | None, float] = OrderedDict()

    def note(self, packet: av.Packet[VideoStream]) -> None:
        self._by_pts[packet.pts] = time.monotonic()
        if len(self._by_pts) > _KNOWN_ARRIVALS:
            self._by_pts.popitem(last=False)

    def of(self, picture: av.VideoFrame) -> float:
        return self._by_pts.get(picture.pts) or time.monotonic()
