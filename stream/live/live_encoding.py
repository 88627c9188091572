"""The overlay as H.264 that is watched while it is made: each picture is out as soon as it is in.

Where it is taken too slowly, or not at all for a while, a `PacketQueue` holds it.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from fractions import Fraction
from typing import TypeAlias

import av
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ..encode.h264 import ANY_ENCODING, Encoding, H264Encoder, KeyTimes, add_video, choose_encoder, stamp
from ..encode.sound import CameraSound
from ..encode.sound_tracks import AacKind, SoundPacket
from ..frames import Frame

# Written out at once; tables that a reader joins by come every 0.1 s, which is FFmpeg's default. With its length in
# front a picture is known to be whole; without, only when the next one begins.
# Sound comes in packets of its own, and where none comes pictures wait no longer than that for it (microseconds).
_SOUND_OPTIONS = {"pes_payload_size": "0", "max_interleave_delta": "200000"}
_CONTAINER_OPTIONS = {"flush_packets": "1", "omit_video_pes_length": "0", **_SOUND_OPTIONS}

LivePacket: TypeAlias = "Packet[VideoStream] | SoundPacket"


class LiveEncoder:
    """Encodes pictures of one size, without delay, and makes MPEG-TS of them; one thread uses it.

    A keyframe comes every 2 seconds, at the latest.

    `picture` is the first one, for its size, drawn from the frame `first`; nothing of it is encoded yet. `silent`
    leaves out what a camera's microphone hears.

    Raises:
        OutputError: what is asked of the encoder cannot be.
    """

    def __init__(
        self,
        picture: VideoFrame,
        first: Frame,
        *,
        silent: bool = False,
        encoding: Encoding = ANY_ENCODING,
    ) -> None:
        self.info = first.info
        chosen = choose_encoder((picture.height, picture.width), encoding)
        self._pieces = _Pieces()
        # Muxed into memory, and written out elsewhere: FFmpeg's own writing holds the interpreter lock, so that one
        # slow reader would stop every thread, and what goes wrong with it may only be told when the container closes.
        self._container = av.open(self._pieces, "w", format="mpegts", container_options=_CONTAINER_OPTIONS)
        self._stream = add_video(self._container, _without_delay(chosen), picture, first.info)
        self._keys = KeyTimes()
        self._sound: CameraSound | None = None
        if first.heard and not silent:
            self._sound = CameraSound("the live stream", self._container, shift=Fraction(0), first=first.heard)

    @property
    def sound(self) -> AacKind | None:
        """What it makes beside pictures; known from the beginning on."""
        return self._sound.kind if self._sound else None

    def encode(self, picture: VideoFrame, frame: Frame, *, key: bool = False) -> list[LivePacket]:
        """The packets of a picture drawn from `frame`, and of what was heard; `key` makes decoding begin there."""
        stamp(picture, frame, key=self._keys.is_due(frame, key=key))
        heard = self._sound.heard_with(frame) if self._sound else []
        return [*heard, *self._stream.encode(picture)]

    def mpegts(self, packets: list[LivePacket]) -> bytes:
        """Packets as a stretch of a transport stream; such stretches, one after the other, are a stream."""
        self._container.mux(packets)
        return self._pieces.taken()

    def close(self) -> None:
        """Free what it holds. It has kept nothing back."""
        self._container.close()


def _without_delay(encoder: H264Encoder) -> H264Encoder:
    """The encoder so that it waits for no later picture, and makes a keyframe where it is told to."""
    if encoder.name == "libx264":
        options = {name: encoder.options[name] for name in ("crf", "preset", "x264-params")}
        # A second thread would hold back a picture, or cut each into slices at a cost in size.
        return replace(encoder, options=options | {"tune": "zerolatency", "forced-idr": "1"}, threads=1)
    return replace(encoder, options=encoder.options | {"tune": "ull", "delay": "0", "zerolatency": "1"})


class _Pieces:
    """A file of the muxer's that can only be appended to."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: bytes) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def taken(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


class PacketQueue:
    """Packets of `longest_s` at most, from one thread to another.

    No reader can do anything with a picture whose predecessor is missing. So a full queue is emptied, and a closed one
    takes nothing; the next packet to be taken in is a keyframe, which is to be made where `needs_key` says so. Sound
    comes along, and is not counted.
    """

    def __init__(self, longest_s: float) -> None:
        self.dropped = 0
        self.overflowed = 0  # of the dropped: those that were taken too slowly
        self._longest_s = longest_s
        self._packets: deque[LivePacket] = deque()
        self._changed = threading.Condition()
        self._is_open = False
        self._needs_key = True

    @property
    def is_open(self) -> bool:
        """Whether packets are wanted."""
        return self._is_open

    @property
    def needs_key(self) -> bool:
        """Whether the next packet must be a keyframe."""
        return self._needs_key

    def open(self) -> None:
        """Packets are wanted from the next keyframe on."""
        with self._changed:
            self._is_open = self._needs_key = True
            self._changed.notify_all()

    def wait_until_open(self, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._is_open, timeout_s)

    def shut(self) -> None:
        """Packets are not wanted until it is opened again; those that wait are dropped."""
        with self._changed:
            self._is_open, self._needs_key = False, True
            self._clear()

    def drop(self) -> None:
        """A picture was not even encoded."""
        with self._changed:
            self.dropped += 1

    def _clear(self) -> int:
        """Drop what waits; returns how many pictures that are."""
        pictures = sum(not is_sound(packet) for packet in self._packets)
        self.dropped += pictures
        self._packets.clear()
        return pictures

    def put(self, packet: LivePacket) -> None:
        """Take it in, or drop it; never waits."""
        with self._changed:
            if self._is_full(packet):
                self.overflowed += self._clear()
                self._needs_key = True
            if not self._is_open or (self._needs_key and (is_sound(packet) or not packet.is_keyframe)):
                self.dropped += not is_sound(packet)
                return
            self._needs_key = False
            self._packets.append(packet)
            self._changed.notify_all()

    def _is_full(self, packet: LivePacket) -> bool:
        if not self._packets:
            return False
        return _time(packet) - _time(self._packets[0]) >= self._longest_s

    def take(self, timeout_s: float) -> LivePacket | None:
        """The oldest, waited for as long as that."""
        with self._changed:
            self._changed.wait_for(lambda: self._packets, timeout_s)
            return self._packets.popleft() if self._packets else None


def is_sound(packet: LivePacket) -> bool:
    return isinstance(packet.stream, AudioStream)


def _time(packet: LivePacket) -> Fraction:
    assert packet.pts is not None
    return packet.pts * packet.time_base
