"""One connection to a camera, from opening to its end, on a thread of its own.

Only that thread touches the container, as PyAV crashes the process where two do. A read that hangs cannot be broken off
from outside but where the socket is ours, as of HTTP and RTSP: other connections are left to themselves then, and their
threads end when FFmpeg's own time-out does.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from ..decode.decoder import UNDECODABLE
from ..decode.hardware_decode import HardwareDecoder, as_software
from ..decode.opening import ANY_TAGS, MAX_PIXELS, demuxed
from ..decode.video_stream import pixels_of, rate_of, video_stream
from ..errors import SourceError
from ..frames import HeardSound
from ..pipeline import Cancelled, Channel
from .camera import Camera
from .ear import Ear
from .http import Web, WebFile
from .jpegs import jpegs
from .lost import reason_of
from .relay import RtspRelay
from .status import CameraStatus

_WAITING = 4  # pictures: evens out a network's bursts, and adds little delay where the model is the slower one
_KNOWN_ARRIVALS = 64  # packets that a decoder may hold back
_SNAPSHOTS = Fraction(1)  # a second, of a camera that gives one picture an answer, where nothing else is asked for


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
    sound: HeardSound | None = None  # that it comes with


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
        # When its last packet came after which a picture may still come: none has failed to make one of a keyframe.
        self.hopeful_at = 0.0  # on `time.monotonic`'s clock
        self.asks_at = 0.0  # likewise, for the next picture, of a camera that gives one an answer
        self._camera = camera
        self._hardware = hardware
        self._max_pixels = max_pixels
        self._status = status
        self._pictures: Channel[Picture] = Channel(_WAITING, drop_oldest=not camera.every_frame)
        self._dropped = 0
        self._abandoned = threading.Event()
        self._link: RtspRelay | Web | None = None  # what stands between FFmpeg and the camera
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
        self._abandoned.set()
        waiting = self._pictures.cancel()
        if not self._camera.every_frame:  # else these are not wanted, rather than too many
            self._status.count(dropped=waiting + self._pictures.dropped - self._dropped)
        self._dropped = self._pictures.dropped

    @property
    def refusal(self) -> str | None:
        """Why nothing will come, where that is known before FFmpeg has come to an end with it."""
        return self._link.refusal if self._link else None

    @property
    def silence(self) -> str:
        """What has not come within the time-out, and what may help."""
        late = f"for {self._camera.timeout_s:g} s"
        if self.opened:
            return f"no frame {late}"
        if not (isinstance(self._link, RtspRelay) and self._link.has_begun):
            return f"no answer {late}"
        is_udp = dict(self._camera.options).get("rtsp_transport") == "udp"
        cure = "; a firewall may keep UDP out: --rtsp-transport tcp" if is_udp else ""
        return f"it plays, and no picture comes {late}{cure}"

    def cut(self) -> None:
        """Break off what hangs, as far as that can be done."""
        if self._link:
            self._link.cut()

    def join(self, timeout_s: float) -> None:
        """Wait for its thread, as long as that."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        error: BaseException | None = None
        started = time.monotonic()
        try:
            with ExitStack() as stack:
                self._read(stack)
        except Cancelled:
            pass
        except Lost as exc:
            error = exc
        except SourceError as exc:
            error = Lost(str(exc).removeprefix(f"{self._camera.name}: "))
        except (av.FFmpegError, OSError) as exc:
            took_s = time.monotonic() - started
            error = Lost(
                self.refusal or reason_of(exc, self._camera, opened=self.opened, took_s=took_s),
                refused=isinstance(exc, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)),
            )
        except BaseException as exc:  # noqa: BLE001 - carried to the thread that reads
            error = exc
        self._pictures.close(error)

    def _read(self, stack: ExitStack) -> None:
        """Open what the camera's URL is of, and decode it to its end."""
        camera = self._camera
        if camera.url.startswith(("rtsp://", "rtsps://")):
            self._decode(stack.enter_context(self._open(lambda: self._relayed(stack))))
        elif camera.url.startswith(("http://", "https://")):
            self._link = web = Web(camera, self._status)
            file = stack.enter_context(closing(web.open()))
            file.refuse_page()
            if camera.format is None and "framerate" in dict(camera.options) and not file.is_one_jpeg:
                raise SourceError("--input-rate is for cameras that give one picture an answer; here comes a stream")
            if camera.format in (None, "mpjpeg", "mjpeg") and file.holds_jpegs:
                self._decode_jpegs(web, file)
                return
            if camera.format != "hls" and not file.is_playlist:
                files = [file]
                self._decode(stack.enter_context(self._open(lambda: _taken(files, web, stack))))
                return
            file.close()
            url = str(file.address if camera.allow_redirects else file.address.without_credentials())
            self._decode(stack.enter_context(self._open(lambda: url, web)))
        else:
            url = stack.enter_context(_address(camera))
            self._decode(stack.enter_context(self._open(lambda: url)))

    def _relayed(self, stack: ExitStack) -> str:
        """Of a relay that takes one client: FFmpeg opens another where it tries again."""
        self._link = relay = stack.enter_context(RtspRelay(self._camera))
        return relay.url

    def _decode_jpegs(self, web: Web, file: WebFile) -> None:
        """Pictures that have no time but when they came."""
        if self._hardware and self._hardware.required:
            raise SourceError(
                f"JPEGs over HTTP are decoded in software; --decode {self._hardware.kind} is not for them"
            )
        context = av.CodecContext.create("mjpeg", "r")
        context.options = {"max_pixels": str(self._max_pixels)}
        self.opened = True
        for content, rate in self._jpegs(web, file):
            arrived = time.monotonic()
            try:
                pictures = context.decode(av.Packet(content))
            except UNDECODABLE as exc:
                if isinstance(exc, av.ArgumentError) and not context.width:  # a decoder that may not make them
                    raise self._too_large("cannot be decoded, or are") from None
                self._status.count(undecodable=1)
                continue
            for picture in pictures:
                aspect = Fraction(context.sample_aspect_ratio or 1)
                self._put(Picture(picture, arrived, Fraction(1, 25), rate, aspect, "mjpeg"))

    def _jpegs(self, web: Web, file: WebFile) -> Iterator[tuple[bytes, Fraction | None]]:
        """JPEGs, and how many come a second, where that is known.

        Where an answer is one picture, the address is asked again and again.
        """
        if not file.is_one_jpeg:
            yield from ((content, None) for content in jpegs(file.read))
            return
        rate = Fraction(dict(self._camera.options).get("framerate", _SNAPSHOTS))
        while True:
            asked = time.monotonic()
            with closing(file):
                content = next(jpegs(file.read), None)
            if content is None:
                return
            yield content, rate
            self.asks_at = asked + float(1 / rate)
            if self._abandoned.wait(max(self.asks_at - time.monotonic(), 0)):
                return
            file = web.open()

    def _decode(self, container: InputContainer) -> None:
        stream = video_stream(container, self._camera.name)
        if pixels_of(stream) > self._max_pixels:
            raise self._too_large(f"of {stream.width}x{stream.height} are")
        self.opened = True
        # With frame threads a decoder holds pictures back, which a pipe does not mind.
        stream.thread_type = "AUTO" if self._camera.every_frame and not self._camera.endless else "SLICE"
        stream.codec_context.options = {"max_pixels": str(self._max_pixels)}
        reformatter = VideoReformatter() if stream.codec_context.is_hwaccel else None
        arrivals, had_key = _Arrivals(), False
        ear = Ear(container, self._status)
        packets = demuxed(container, stream, *ear.tracks)
        for packet in packets:
            if packet.stream_index != stream.index:
                ear.hear(packet)
                continue
            ear.see(packet)
            arrivals.note(packet)
            had_key = had_key or packet.is_keyframe
            if packet.size and not had_key:
                self.hopeful_at = time.monotonic()
            try:
                pictures = packet.decode()
            except UNDECODABLE as exc:
                if isinstance(exc, av.ArgumentError) and not pixels_of(stream):  # a decoder that may not make them
                    raise self._too_large("cannot be decoded, or are") from None
                self._status.count(undecodable=1)
                continue
            for picture in pictures:
                had_key = False
                software = as_software(picture, reformatter) if reformatter else picture
                self._give(software, stream, arrivals.of(picture), ear.sound)

    def _open(self, source: Callable[[], str | WebFile], web: Web | None = None) -> InputContainer:
        """Have FFmpeg open what `source` gives, anew for each try; with `web` that is a playlist, with pieces there.

        Raises what FFmpeg raises, and `SourceError` where hardware that is required does not start.
        """
        camera = self._camera
        options, io_open = dict(camera.options) | {"max_pixels": str(self._max_pixels)}, None
        if web:
            # Else FFmpeg takes what it is given for connections of its own.
            options |= {"http_persistent": "0", "http_multiple": "0"}
            io_open = None if camera.allow_redirects else web.open_piece

        def opened(hwaccel: HWAccel | None) -> InputContainer:
            opens = source()
            given = dict(options)
            if isinstance(opens, WebFile):
                given = {name: value for name, value in given.items() if not name.endswith("timeout")}
                given["protocol_whitelist"] = ""  # of what a list or a description in it names, nothing is opened
            container: InputContainer = av.open(
                opens,
                "r",
                format="hls" if web else camera.format,
                options=given,
                timeout=camera.socket_timeout_s,
                hwaccel=hwaccel,
                io_open=io_open,
                **ANY_TAGS,
            )
            return container

        return (self._hardware and self._hardware.start(camera.name, opened)) or opened(None)

    def _too_large(self, are: str) -> Lost:
        return Lost(f"its pictures {are} larger than --max-pixels {self._max_pixels}; raise it", refused=True)

    def _give(self, picture: av.VideoFrame, stream: VideoStream, arrived: float, sound: HeardSound | None) -> None:
        time_base = picture.time_base or stream.time_base
        assert time_base, "every stream that gave a frame has one"
        self._put(
            Picture(
                picture,
                arrived,
                Fraction(time_base),
                rate_of(stream),
                Fraction(stream.sample_aspect_ratio or 1),
                stream.codec_context.name,
                sound,
            )
        )

    def _put(self, item: Picture) -> None:
        self._pictures.put(item)
        self._status.count(received=1, damaged=int(item.picture.is_corrupt))


def _taken(files: list[WebFile], web: Web, stack: ExitStack) -> WebFile:
    """The file that is open; once that has been read, another of the same."""
    return files.pop() if files else stack.enter_context(closing(web.open()))


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
