"""One stream of RTP packets to one client, over its RTSP connection or over UDP, with the reports that belong to it."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from contextlib import suppress
from typing import Protocol

_NTP_EPOCH = 2_208_988_800  # seconds from 1900 to 1970
_SENDER_REPORT, _BYE = 200, 203


class Carrier(Protocol):
    """Takes packets to the client."""

    def carry(self, packet: bytes, *, is_rtcp: bool = False) -> None: ...

    def close(self) -> None: ...


class Interleaved:
    """Within the RTSP connection."""

    def __init__(self, transport: asyncio.WriteTransport, channel: int) -> None:
        self.answer = f"RTP/AVP/TCP;unicast;interleaved={channel}-{channel + 1}"
        self._transport = transport
        self._channel = channel

    def carry(self, packet: bytes, *, is_rtcp: bool = False) -> None:
        if not self._transport.is_closing():  # asyncio warns of what is written then
            self._transport.write(struct.pack(">cBH", b"$", self._channel + is_rtcp, len(packet)) + packet)

    def close(self) -> None:
        """It ends with the connection."""


class Datagrams:
    """To two ports of the client's: RTP and RTCP."""

    def __init__(self, host: str, ports: tuple[int, int]) -> None:
        self._sockets = tuple(socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in ports)
        for own, port in zip(self._sockets, ports, strict=True):
            own.bind(("127.0.0.1", 0))
            own.connect((host, port))
            own.setblocking(False)
        own_ports = "-".join(str(own.getsockname()[1]) for own in self._sockets)
        self.answer = f"RTP/AVP;unicast;client_port={ports[0]}-{ports[1]};server_port={own_ports}"

    def carry(self, packet: bytes, *, is_rtcp: bool = False) -> None:
        # Nobody is there any more, or there is no room: a sender of UDP cares about neither.
        with suppress(ConnectionError, BlockingIOError):
            self._sockets[is_rtcp].send(packet)

    def close(self) -> None:
        for own in self._sockets:
            own.close()


class Track:
    """A stream with its sequence numbers and times.

    Args:
        carrier: takes the packets.
        ssrc: the stream's number.
        rate: ticks of its clock a second.
        first_timestamp: the time, in RTP's terms, of the first packet.
    """

    def __init__(self, carrier: Carrier, *, ssrc: int, rate: int, first_timestamp: int) -> None:
        self.carrier = carrier
        self._ssrc = ssrc
        self._rate = rate
        self._first = first_timestamp
        self._sequence = self._packets = self._bytes = self._ticks = 0

    def stamped(self, packet: bytes, ticks: int, payload_type: int) -> bytes:
        """The packet with this stream's next number; `ticks` is its time since the first one."""
        self._sequence += 1
        self._packets += 1
        self._bytes += len(packet) - 12
        self._ticks = ticks
        marked = packet[1] & 0x80 | payload_type
        return (
            struct.pack(">BBHII", packet[0], marked, self._sequence & 0xFFFF, self._timestamp(), self._ssrc)
            + packet[12:]
        )

    def _timestamp(self) -> int:
        return (self._first + self._ticks) & 0xFFFF_FFFF

    def report(self) -> bytes:
        """How the stream's clock stands to the world's."""
        since = time.time() + _NTP_EPOCH
        seconds, fraction = int(since), int(since % 1 * (1 << 32))
        body = struct.pack(">IIIIII", self._ssrc, seconds, fraction, self._timestamp(), self._packets, self._bytes)
        return struct.pack(">BBH", 0x80, _SENDER_REPORT, len(body) // 4) + body

    def bye(self) -> bytes:
        """The end of the stream; RFC 3550 wants a report before it."""
        return self.report() + struct.pack(">BBHI", 0x81, _BYE, 1, self._ssrc)
