"""Encoded pictures on their way out, to where they may be taken too slowly, or not at all for a while."""

from __future__ import annotations

import threading
from collections import deque
from typing import TypeAlias

from av.packet import Packet
from av.video.stream import VideoStream

VideoPacket: TypeAlias = "Packet[VideoStream]"


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
