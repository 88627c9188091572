"""The overlay as H.264 that is watched while it is made: each picture is out as soon as it is in.

Where it is taken too slowly, or not at all for a while, a `PacketQueue` holds it.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from typing import TypeAlias

import av
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ..encode.h264 import DEFAULT_CRF, DEFAULT_PRESET, H264Encoder, KeyTimes, add_video, choose_encoder, stamp
from ..frames import Frame

# Written out at once; tables that a reader joins by come every 0.1 s, which is FFmpeg's default. With its length in
# front a picture is known to be whole; without, only when the next one begins.
_CONTAINER_OPTIONS = {"flush_packets": "1", "omit_video_pes_length": "0"}

VideoPacket: TypeAlias = "Packet[VideoStream]"


class LiveEncoder:
    """Encodes pictures of one size, without delay, and makes MPEG-TS of them; one thread uses it.

    A keyframe comes every 2 seconds, at the latest.

    `picture` is the first one, for its size, drawn from the frame `first`; nothing of it is encoded yet. The rest is as
    `choose_encoder` takes it.

    Raises:
        OutputError: what is asked of the encoder cannot be.
    """

    def __init__(
        self,
        picture: VideoFrame,
        first: Frame,
        *,
        encoder: str = "auto",
        device: str = "cpu",
        crf: int = DEFAULT_CRF,
        preset: str = DEFAULT_PRESET,
    ) -> None:
        self.info = first.info
        chosen = choose_encoder(encoder, size=(picture.height, picture.width), device=device, crf=crf, preset=preset)
        self._pieces = _Pieces()
        # Muxed into memory, and written out elsewhere: FFmpeg's own writing holds the interpreter lock, so that one
        # slow reader would stop every thread, and what goes wrong with it may only be told when the container closes.
        self._container = av.open(self._pieces, "w", format="mpegts", container_options=_CONTAINER_OPTIONS)
        self._stream = add_video(self._container, _without_delay(chosen), picture, first.info)
        self._keys = KeyTimes()

    def encode(self, picture: VideoFrame, frame: Frame, *, key: bool = False) -> list[Packet[VideoStream]]:
        """The packets of a picture drawn from `frame`; `key` makes it one that decoding can begin at."""
        stamp(picture, frame, key=self._keys.is_due(frame, key=key))
        return self._stream.encode(picture)

    def mpegts(self, packets: list[Packet[VideoStream]]) -> bytes:
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
    takes nothing; the next packet to be taken in is a keyframe, which is to be made where `needs_key` says so.
    """

    def __init__(self, longest_s: float) -> None:
        self.dropped = 0
        self.overflowed = 0  # of the dropped: those that were taken too slowly
        self._longest_s = longest_s
        self._packets: deque[VideoPacket] = deque()
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

    def shut(self) -> None:
        """Packets are not wanted until it is opened again; those that wait are dropped."""
        with self._changed:
            self._is_open, self._needs_key = False, True
            self.dropped += len(self._packets)
            self._packets.clear()

    def drop(self) -> None:
        """A picture was not even encoded."""
        with self._changed:
            self.dropped += 1

    def put(self, packet: VideoPacket) -> None:
        """Take it in, or drop it; never waits."""
        with self._changed:
            if self._is_full(packet):
                self.dropped += len(self._packets)
                self.overflowed += len(self._packets)
                self._packets.clear()
                self._needs_key = True
            if not self._is_open or (self._needs_key and not packet.is_keyframe):
                self.dropped += 1
                return
            self._needs_key = False
            self._packets.append(packet)
            self._changed.notify_all()

    def _is_full(self, packet: VideoPacket) -> bool:
        if not self._packets:
            return False
        assert packet.pts is not None
        assert self._packets[0].pts is not None
        return (packet.pts - self._packets[0].pts) * packet.time_base >= self._longest_s

    def take(self, timeout_s: float) -> VideoPacket | None:
        """The oldest, waited for as long as that."""
        with self._changed:
            self._changed.wait_for(lambda: self._packets, timeout_s)
            return self._packets.popleft() if self._packets else None
