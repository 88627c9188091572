"""What a camera's microphone hears, decoded beside the pictures; whatever is wrong with it stops none of them."""

from __future__ import annotations

from fractions import Fraction

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream

from ..frames import HeardSound
from .status import CameraStatus

_APART_S = 10  # by which sound and pictures that come together may differ in time and still have one clock


class Ear:
    """The sound of one connection, on the thread that reads it.

    Args:
        container: of the connection; its first track is taken.
        status: of the camera, which warns.
    """

    def __init__(self, container: InputContainer, status: CameraStatus) -> None:
        self.tracks: list[AudioStream] = list(container.streams.audio[:1])
        self.sound: HeardSound | None = None
        self._seen: Fraction | None = None  # the time of the picture that came last
        self._apart = Fraction(0)  # from the sound's clock to the pictures'
        for track in self.tracks:
            if (context := track.codec_context) is None:
                status.warn_once("its sound is of a kind that cannot be decoded, and is not recorded")
                continue
            self.sound = HeardSound(context.codec.canonical_name, context.sample_rate, context.layout.nb_channels)

    def see(self, packet: av.Packet[VideoStream]) -> None:
        """A picture's packet has come."""
        if packet.pts is not None:
            self._seen = packet.pts * packet.time_base

    def hear(self, packet: av.Packet[AudioStream]) -> None:
        """A packet of sound has come."""
        if self.sound is None:
            return
        try:
            frames = packet.decode()
        except (av.FFmpegError, ValueError, RuntimeError):  # PyAV's own, too
            return  # it is silent there
        for frame in frames:
            if frame.pts is None or not frame.time_base or self._seen is None:
                continue
            time = frame.pts * frame.time_base + self._apart
            if abs(time - self._seen) > _APART_S:
                self._apart, time = self._apart + self._seen - time, self._seen
            self.sound.add(time, frame)
