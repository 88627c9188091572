"""One client of the RTSP server: its requests are answered and frames sent to it, or not, as the faults say."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
import time
from collections.abc import Callable

from tests.support.numbered_camera import CLOCK, PAYLOAD_TYPES, Film, Shot, media_description
from tests.support.rtp_track import Datagrams, Interleaved, Track
from tests.support.rtsp_faults import Faults
from tests.support.rtsp_request import Request, challenges, read_request

_SOUND_RATE, _SOUND_S = 8000, 0.02
_SOUND = bytes([0x80, 0, *[0] * 10]) + b"\xff" * round(_SOUND_RATE * _SOUND_S)  # silence, as G.711 says it
_REPORT_S = 1.0  # from one sender report to the next
_UNSENT_BYTES = 4_000_000  # that a client may let wait before frames pass it by
_REASONS = {200: "OK", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 503: "Service Unavailable"}


class Session:
    """A client, from its connection to its end, on the server's event loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, faults: Faults) -> None:
        self.sent: list[int] = []  # numbers of the frames sent whole
        self.hurt: list[int] = []  # of those that lost a packet
        self.skipped = 0  # frames that the client was too slow for
        self.held_back = 0  # frames that were not sent because of a stall
        self.requests: list[str] = []  # their methods
        self.proofs: list[str] = []  # what was sent to be let in
        self.is_playing = self.is_over = False
        self.clock_shift_s = 0.0  # of its RTP times from now on
        self._reader = reader
        self._transport = writer.transport
        self._writer = writer  # kept, as it closes the connection when it is forgotten
        self._faults = faults
        self._random = random.Random(3)
        self._tracks: dict[str, Track] = {}
        self._first_pts: int | None = None
        self._sounds = 0
        self._reported = self._began = 0.0

    async def serve(self, film: Callable[[], Film], on_play: Callable[[], None]) -> None:
        """Answer until the client is gone.

        Args:
            film: what it is told that it will see.
            on_play: called when it is to see it.
        """
        try:
            if self._faults.hang_at == "connect":
                await self._hang()
            while True:
                await self._answer(await read_request(self._reader), film, on_play)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass  # it is gone, or speaks another language
        finally:
            self.close()

    async def _hang(self) -> None:
        while await self._reader.read(4096):
            pass
        raise ConnectionResetError

    async def _answer(self, request: Request, film: Callable[[], Film], on_play: Callable[[], None]) -> None:
        faults, method = self._faults, request.method
        self.requests.append(method)
        self.proofs += [request.headers["authorization"]] if "authorization" in request.headers else []
        if method == faults.hang_at:
            await self._hang()
        elif method == faults.garbage_at:
            self.send_garbage()
        elif faults.status and method == faults.status_at:
            self._reply(request, faults.status)
        elif faults.user and method != "OPTIONS" and not self._is_proven(request, faults.user):
            self._reply(request, 401, *challenges(faults.auth, faults.nonce))
        elif method == "DESCRIBE" and faults.sends_to:
            self._reply(request, 302, f"Location: {faults.sends_to}")
        elif method == "DESCRIBE":
            head = (f"Content-Base: {request.url}/", "Content-Type: application/sdp")
            self._reply(request, 200, *head, body=self._description(film()))
        elif method == "SETUP":
            self._reply(request, 200, f"Transport: {self._set_up(request)}")
        elif method == "PLAY":
            self._play(request)
            on_play()
        elif method == "TEARDOWN":
            self._reply(request, 200)
            raise ConnectionResetError
        else:
            self._reply(request, 200, "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER")

    def _is_proven(self, request: Request, user: str) -> bool:
        return request.proves(self._faults.auth, user, self._faults.password, self._faults.nonce)

    def _reply(self, request: Request, status: int, *headers: str, body: str = "") -> None:
        lines = [f"RTSP/1.0 {status} {_REASONS.get(status, 'Fault')}", f"CSeq: {request.headers.get('cseq', '0')}"]
        lines += [f"Session: 12345678;timeout={self._faults.session_s}", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self._transport.write((self._faults.line.join([*lines, "", ""]) + body).encode())

    def _description(self, film: Film) -> str:
        head = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=numbers\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\n"
        number, codec = self._faults.sound.split()
        sound = f"m=audio 0 RTP/AVP {number}\r\na=rtpmap:{number} {codec}/{_SOUND_RATE}\r\na=control:audio\r\n"
        media = self._faults.media
        return head + (media_description(film) if media != "audio" else "") + (sound if media != "video" else "")

    def _set_up(self, request: Request) -> str:
        asked = request.headers["transport"]
        carrier: Interleaved | Datagrams
        if channel := re.search(r"interleaved=(\d+)", asked):
            carrier = Interleaved(self._transport, int(channel[1]))
        else:
            ports = re.search(r"client_port=(\d+)-(\d+)", asked)
            assert ports, asked
            carrier = Datagrams(self._transport.get_extra_info("peername")[0], (int(ports[1]), int(ports[2])))
        kind, rate = ("audio", _SOUND_RATE) if request.url.endswith("/audio") else ("video", CLOCK)
        ssrc = 0x5EED_0000 + len(self._tracks)
        self._tracks[kind] = Track(carrier, ssrc=ssrc, rate=rate, first_timestamp=self._faults.first_timestamp)
        return f"{carrier.answer};ssrc={ssrc:08X}"

    def _play(self, request: Request) -> None:
        base, url = self._faults.first_timestamp, request.url.rstrip("/")
        info = ",".join(f"url={url}/{kind};seq=1;rtptime={base}" for kind in self._tracks)
        self._reply(request, 200, "Range: npt=0.000-", f"RTP-Info: {info}")
        self.is_playing = True

    def send(self, shot: Shot) -> bool:
        """A frame, and with it the sound and the reports that are due; returns whether the frame was sent whole."""
        if self._first_pts is None:
            if self._faults.joins_at_key and not shot.is_key:
                return False
            self._first_pts, self._began = shot.pts, time.monotonic()
        if "audio" in self._tracks and self._faults.stalled != "all":
            self._send_sound()
        ticks, is_whole = shot.pts - self._first_pts + round(self.clock_shift_s * CLOCK), False
        if self._faults.stalled != "no":
            self.held_back += 1
        elif "video" in self._tracks:
            is_whole = self._send_frame(shot, ticks)
        if self._faults.reports and time.monotonic() - self._reported >= _REPORT_S:
            self._reported = time.monotonic()
            for track in self._tracks.values():
                track.carrier.carry(track.report(), is_rtcp=True)
        return is_whole

    def _send_frame(self, shot: Shot, ticks: int) -> bool:
        if self._transport.get_write_buffer_size() > _UNSENT_BYTES:
            self.skipped += 1
            return False
        track, lost = self._tracks["video"], 0
        for packet in shot.rtp:
            stamped = track.stamped(packet, ticks, PAYLOAD_TYPES[shot.codec])
            if self._random.random() < self._faults.loss:
                lost += 1
            else:
                track.carrier.carry(stamped)
        (self.hurt if lost else self.sent).append(shot.number)
        return not lost

    def _send_sound(self) -> None:
        track = self._tracks["audio"]
        while self._sounds * _SOUND_S < time.monotonic() - self._began:
            track.carrier.carry(track.stamped(_SOUND, round(self._sounds * _SOUND_S * _SOUND_RATE), 0))
            self._sounds += 1

    def send_garbage(self) -> None:
        """Bytes that mean nothing, between two packets."""
        self._transport.write(self._random.randbytes(3000))

    def send_half(self) -> None:
        """The first half of a packet, and then nothing at all."""
        self._transport.write(struct.pack(">cBH", b"$", 0, 1000) + bytes(500))
        self.is_playing = False

    def say_goodbye(self) -> None:
        """What a server says at the end of its streams; nothing comes after it."""
        for track in self._tracks.values():
            track.carrier.carry(track.bye(), is_rtcp=True)
        self.is_playing = False

    def reset(self) -> None:
        """End the connection as a machine does that has forgotten it."""
        own = self._transport.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._end()
        self._transport.abort()

    def close(self) -> None:
        self._end()
        self._transport.close()

    def _end(self) -> None:
        self.is_playing, self.is_over = False, True
        for track in self._tracks.values():
            track.carrier.close()
