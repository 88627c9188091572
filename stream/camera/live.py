"""Frames from a camera, for as long as it is wanted: watch that they come, connect again when they do not.

Three things may be waiting at any time, and each has its end: for a picture until the time-out, for the next try until
its pause is over, and both until `stop` is set. The frames' times go on rising, whatever the camera's own clock does,
over every reconnection.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from functools import partial
from threading import Event
from types import TracebackType
from typing import Self

from av.video.reformatter import VideoReformatter

from ..decode.deinterlace import Deinterlace, deinterlaced
from ..decode.display import Display, rotation
from ..decode.hardware_decode import HardwareDecoder
from ..decode.opening import MAX_PIXELS
from ..decode.pixels import network_input
from ..decode.place import FrameClock, Selection
from ..decode.source import InputSize
from ..errors import SourceError, Stopped
from ..frames import Frame, Moment, Place, VideoInfo
from .camera import Camera
from .connection import Connection, Lost, Picture
from .lost import pause_s
from .status import CameraState, CameraStatus

_POLL_S = 0.1  # how long it may take until `stop` is noticed
_JOIN_S = 0.3  # for a connection's thread to end; one in a read that hangs ends when FFmpeg's time-out does
_PORT_S = 1.0  # for one to let its port go, without which there is no other
_PROVEN_S = 2.0  # of frames, after which a connection counts as a good one

_WAITING = "waiting for a keyframe"

TIME_BASE = Fraction(1, 90_000)  # RTP's own for video
_KEYLESS_S = 1.0  # of packets without a picture, after which it is told what is waited for
_LONGEST_GOP_S = 300.0  # without a keyframe, though packets come; then asking anew may bring one
# What a network held up comes late, and then all at once: a clock that is behind for no longer is right.
_BEHIND_S, _BEHIND_FOR_S = 5, 5
_GAP_S = 60  # by which a stream's own time may go on between two frames that came together


class LiveSource:
    """A `Source` that reads a camera or a pipe, and waits for its first frame on being made.

    Args:
        camera: what to read.
        status: told of every change and count.
        stop: set it, and the frames end soon, wherever the connection is.
        selection: which frames to give.
        hardware: to decode with, where it starts; `None` for software.
        max_pixels: larger pictures are not decoded; no memory is taken for them.
        deinterlace: "auto" for pictures that say that they are interlaced, "on" for all, "off" for none.

    Raises:
        SourceError: as often as `camera.max_retries` allows, it could not be had.
        Stopped: `stop` was set before there was a frame.
    """

    def __init__(
        self,
        camera: Camera,
        *,
        status: CameraStatus,
        stop: Event,
        selection: Selection,
        hardware: HardwareDecoder | None = None,
        max_pixels: int = MAX_PIXELS,
        deinterlace: Deinterlace = "auto",
    ) -> None:
        self.missing_s = Fraction(0)  # it declares no length
        self.failure: str | None = None  # why the frames ended, where nobody asked for it
        self._camera = camera
        self._status = status
        self._stop = stop
        self._selection = selection
        self._connect = partial(Connection, camera, status, hardware=hardware, max_pixels=max_pixels)
        self._deinterlace = deinterlace
        self._reformatter = VideoReformatter()
        self._clock: LiveClock | FrameClock = LiveClock(waits=camera.every_frame)
        self._connection: Connection | None = None
        self._pictures = self._keep_connected()
        first = next(self._pictures, None)
        if first is None:
            self._status.change(CameraState.ENDED, self.failure or "stopped")
            if self.failure is None:
                raise Stopped
            raise SourceError(f"{camera.name}: {self.failure}")
        self._first = [first]  # until it is given
        self.info = self._info(first)
        if not camera.endless:
            self._clock = FrameClock(self.info.time_base, self.info.rate)

    @property
    def undecodable(self) -> int:
        return self._status.numbers().undecodable

    @property
    def dropped(self) -> int:
        return self._status.numbers().dropped

    def frames(self, input_size: InputSize, *, place: Place | None = None) -> Iterator[Frame]:  # noqa: ARG002 - a file's
        """As `Source` says, each with the `info` of its own stretch of the stream."""
        displayed, info, size = Display(), self.info, input_size(self.info)
        timed = deinterlaced(
            self._timed(),
            self._deinterlace,
            picture_of=lambda timed: timed[1].picture,
            replaced=lambda timed, picture: (timed[0], replace(timed[1], picture=picture)),
        )
        for index, pts, item in self._selection.of(timed, self.info.time_base):
            if _look(item) != self._look:
                info = self._info(item)
                size = input_size(info)
                if self._status.reason != _describe(item):  # else it came with a new connection, and was told
                    self._status.change(CameraState.RUNNING, _describe(item))
            picture = displayed(item.picture)
            yield Frame(
                index=index,
                pts=pts,
                time_base=info.time_base,
                picture=picture,
                input=network_input(picture, size, self._reformatter),
                info=info,
                arrived=item.arrived,
                heard=_moment(item),
            )

    def _timed(self) -> Iterator[tuple[int, Picture]]:
        for item in self._all():
            if isinstance(self._clock, FrameClock):
                yield self._clock.pts(item.picture), item
            else:
                pts = item.picture.pts
                yield self._clock.pts(None if pts is None else pts * item.time_base, item.arrived), item

    def _all(self) -> Iterator[Picture]:
        yield self._first.pop()
        yield from self._pictures

    def _info(self, item: Picture) -> VideoInfo:
        self._look = _look(item)
        turn = rotation(item.picture)
        width, height, aspect = item.picture.width, item.picture.height, item.sample_aspect_ratio
        if turn in (90, 270):
            width, height, aspect = height, width, 1 / aspect
        return VideoInfo(
            width=width,
            height=height,
            rate=item.rate,
            frame_count=None,
            duration=None,
            time_base=TIME_BASE if self._camera.endless else item.time_base,
            rotation=turn,
            sample_aspect_ratio=aspect,
            codec=item.codec,
            pixel_format=item.picture.format.name,
            has_audio=item.sound is not None,
            live=self._camera.endless,
        )

    def _keep_connected(self) -> Generator[Picture, None, None]:
        """The pictures of one connection after the other; ends where `stop` or `failure` is set, or a pipe ends."""
        tries, pauses, has_run = 0, 0, False
        while not self._stop.is_set():
            self._status.change(CameraState.CONNECTING)
            try:
                is_first = True
                for item in self._connected():
                    if self._status.state is not CameraState.RUNNING:
                        self._status.change(CameraState.RUNNING, _describe(item))
                    if is_first:
                        self._status.count(reconnects=int(has_run))
                        # What gave a frame is soon tried again.
                        is_first, pauses, has_run, began = False, 0, True, item.arrived
                    elif tries and item.arrived - began > _PROVEN_S:
                        tries = 0
                    yield item
            except Lost as lost:
                tries, pauses = tries + 1, pauses + 1
                if not self._may_retry(lost, tries, pauses):
                    return

    def _connected(self) -> Iterator[Picture]:
        """The pictures of a new connection, until `stop` is set."""
        if self._connection is not None and self._camera.url.startswith("udp://"):
            self._connection.join(_PORT_S)
        connection = self._connection = self._connect()
        if isinstance(self._clock, LiveClock):
            self._clock.restart()
        try:
            while (item := self._next(connection)) is not None:
                yield item
        finally:
            connection.abandon()

    def _next(self, connection: Connection) -> Picture | None:
        timeout_s = self._camera.timeout_s
        waiting_since = time.monotonic()
        while not self._stop.is_set():
            try:
                return connection.next_picture(_POLL_S)
            except TimeoutError:
                if refusal := connection.refusal:
                    connection.cut()
                    raise Lost(refusal) from None
                if timeout_s is None:
                    continue
            now = time.monotonic()
            if now - max(waiting_since, connection.hopeful_at, connection.asks_at) < timeout_s:
                if now - waiting_since < _LONGEST_GOP_S:
                    self._tell_waiting(connection.hopeful_at - waiting_since, timeout_s)
                    continue
                raise Lost(f"no keyframe for {_LONGEST_GOP_S:g} s")
            was_open, silence = connection.opened, connection.silence  # cut off, FFmpeg may open what it has
            connection.cut()
            if was_open:
                self._status.change(CameraState.STALLED, silence)
            raise Lost(silence)
        return None

    def _tell_waiting(self, keyless_s: float, timeout_s: float) -> None:
        """Once: packets come and give no picture, as of a stream that was joined long before its next keyframe."""
        is_running = self._status.state is CameraState.RUNNING
        if keyless_s > (timeout_s if is_running else _KEYLESS_S) and self._status.reason != _WAITING:
            self._status.change(CameraState.CONNECTING, _WAITING)

    def _may_retry(self, lost: Lost, tries: int, pauses: int) -> bool:
        """Wait until it is time for the next try, if there is to be one."""
        most = self._camera.max_retries
        if not self._camera.endless:
            self.failure = None if lost.ended else str(lost)
            return False
        if most is not None and tries > most:
            self.failure = f"{lost}; given up after {tries} {'try' if tries == 1 else 'tries'}"
            return False
        pause = pause_s(pauses, refused=lost.refused)
        self._status.change(CameraState.RECONNECTING, str(lost), retry_s=pause)
        self._stop.wait(pause)
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        with suppress(ValueError):  # it still runs, on a thread that did not stop in time
            self._pictures.close()
        if self._connection is not None:
            self._connection.join(_JOIN_S)
        asked = self._stop.is_set() or exc is not None
        end = "all that was asked for" if self._camera.endless else "end of stream"
        self._status.change(CameraState.ENDED, self.failure or ("stopped" if asked else end))


def _look(item: Picture) -> tuple[object, ...]:
    """What no file can change in its middle."""
    picture = item.picture
    return picture.width, picture.height, rotation(picture), item.sample_aspect_ratio, item.codec


def _moment(item: Picture) -> Moment | None:
    if item.sound is None:
        return None
    return Moment(item.sound, None if item.picture.pts is None else item.picture.pts * item.time_base)


def _describe(item: Picture) -> str:
    rate = f", {float(item.rate):g} fps" if item.rate else ""
    return f"{item.picture.width}x{item.picture.height} {item.codec}{rate}"


class LiveClock:
    """Gives pts in units of `TIME_BASE`, 0 for the first frame.

    The stream's own clock counts, however late its frames come, and however early: a playlist's server sends faster
    than it plays. Where it steps back, leaps ahead or stays behind, it is set by the time of arrival, and where it
    stands still, frames have that. So a gap in the frames is a gap in their times.

    Args:
        waits: frames come when they are asked for, so that all may come late.
    """

    def __init__(self, *, waits: bool = False) -> None:
        self._waits = waits
        self._started: float | None = None  # arrival of the first frame
        self._arrived = 0.0  # of the last one
        self._camera_time: Fraction | None = None  # of the last one; None where the next one's does not follow from it
        self._offset = Fraction(0)  # from the camera's time to ours
        self._behind_since: float | None = None  # arrival of the first frame that was
        self._pts = -1

    def restart(self) -> None:
        """The camera's clock starts anew with the next frame."""
        self._camera_time = None

    def pts(self, camera_time: Fraction | None, arrived: float) -> int:
        """The time of the next frame.

        Args:
            camera_time: as the camera says, in seconds; `None` where it does not.
            arrived: on our own clock, in seconds.
        """
        if self._started is None:
            self._started = self._arrived = arrived
        if camera_time is None or camera_time == self._camera_time:
            time = self._by_arrival(arrived)
        else:
            if self._is_off(camera_time, arrived):
                self._offset = self._by_arrival(arrived) - camera_time
                self._behind_since = None
            time = camera_time + self._offset
        self._camera_time, self._arrived = camera_time, arrived
        self._pts = max(round(time / TIME_BASE), self._pts + 1)
        return self._pts

    def _is_off(self, camera_time: Fraction, arrived: float) -> bool:
        if self._camera_time is None or camera_time < self._camera_time:
            return True
        if camera_time - self._camera_time > arrived - self._arrived + _GAP_S:
            return True
        assert self._started is not None
        if self._waits or camera_time + self._offset > arrived - self._started - _BEHIND_S:
            self._behind_since = None
            return False
        self._behind_since = arrived if self._behind_since is None else self._behind_since
        return arrived - self._behind_since > _BEHIND_FOR_S

    def _by_arrival(self, arrived: float) -> Fraction:
        """Since the first frame; where earlier ones were ahead of that, as long after the last as it came after it."""
        assert self._started is not None
        if self._pts < 0:
            return Fraction(0)
        return max(Fraction(arrived - self._started), self._pts * TIME_BASE + Fraction(arrived - self._arrived))
