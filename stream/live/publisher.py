"""Keep a server supplied with packets, whatever it does: connect, watch, connect again after growing pauses.

Which servers these can be, and what FFmpeg has to know for each, is a `PublishTarget`. What sends is a process of its
own, in which `main` runs: FFmpeg's writing to a server that hangs cannot be broken off, and holds the interpreter lock.
There it stops nobody else, and a watchdog of C's ends the process.
"""

from __future__ import annotations

import faulthandler
import io
import logging
import os
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, BinaryIO

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.stream import Stream

from ..camera.camera import Camera
from ..camera.lost import pause_s, reason_of
from ..encode.sound_tracks import AacKind
from ..errors import OutputError
from ..system.helper_process import HelperGone, HelperProcess, say, take_orders
from ..system.url import UnclearUrl, Url, parse_url, redacted
from .live_encoding import PacketQueue

log = logging.getLogger(__name__)

_POLL_S = 0.1  # how long it may take until the end is noticed
_FINISH_S, _KILL_S = 1.0, 0.5  # for the last packets and a goodbye; for what is left after a kill
_SETTLED_S = 10.0  # a connection that held for so long starts the pauses anew
_COMPLAIN_S = 10.0  # between two lines about packets that are taken too slowly
_MUXERS = {"rtsp": "rtsp", "rtsps": "rtsp", "rtmp": "flv", "rtmps": "flv", "udp": "mpegts"}
_HEAD = struct.Struct(">IqqBB")  # bytes that follow, pts, dts, whether it is a keyframe, and whether it is sound
_SPARE_S = 1.0  # by which the watchdog comes later than FFmpeg's own time-outs, which tell more
_DATAGRAM_BYTES = 7 * 188  # packets of MPEG-TS that fit an Ethernet frame; FFmpeg's own would be split


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """What a server must know of a stream before its packets."""

    mpegts: bytes  # its tables and first keyframe
    time_base: Fraction  # of its pictures
    sound: AacKind | None  # that comes with them


@dataclass(frozen=True, slots=True)
class _Lost:
    reason: str
    refused: bool = False


class Publisher:
    """Sends what is in `queue`, on a thread of its own, once there is a sample.

    The queue is open while the server takes packets; one that takes nothing for `timeout_s` is given up.
    """

    def __init__(self, target: PublishTarget, queue: PacketQueue, *, timeout_s: float) -> None:
        self.connections = 0  # that were made so far
        self.reason = ""  # why the last one was lost, or was none
        self._target = target
        self._queue = queue
        self._timeout_s = timeout_s
        self._sample: Sample | None = None
        self._complained, self._quiet_until = 0, 0.0
        self._stop = threading.Event()
        self._finish_s = _FINISH_S
        self._failure: _Lost | None = None  # as the process tells it
        self._helper: HelperProcess | None = None
        self._thread = threading.Thread(target=self._run, name=target.name, daemon=True)

    def publish(self, sample: Sample) -> None:
        """Packets from here on are of another stream than before, if there was one; it is connected anew."""
        self._queue.shut()
        self._sample = sample
        if not self._thread.is_alive():
            self._thread.start()

    def stop(self, finish_s: float = _FINISH_S) -> None:
        """Send what is left to a server that takes it; returns a second after `finish_s`, whatever the server does."""
        self._finish_s = finish_s
        self._stop.set()
        if not self._thread.is_alive():
            return
        self._thread.join(finish_s)
        if (helper := self._helper) is not None:
            helper.kill()
        self._thread.join(_KILL_S)

    def _run(self) -> None:
        tries = 0
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                lost = self._supply()
            except OSError as exc:
                lost = _Lost(f"no process can be started ({exc.strerror})")
            if lost is None:
                continue
            tries = 1 if time.monotonic() - began > _SETTLED_S else tries + 1
            self.reason, pause = lost.reason, pause_s(tries, refused=lost.refused)
            log.warning("%s: %s; next try in %.1f s", self._target.name, lost.reason, pause)
            self._stop.wait(pause)

    def _supply(self) -> _Lost | None:
        """One connection, from start to end; None where the end was ours."""
        sample = self._sample
        assert sample is not None
        self._failure = None
        with HelperProcess("live.publisher", self._orders(sample), self._hear) as self._helper:
            try:
                self._helper.start(sample.mpegts)
                while self._sample is sample and not self._stop.is_set():
                    self._send_next(self._helper)
                    self._complain()
                if self._queue.is_open:
                    self._send_rest(self._helper)
            except HelperGone:
                self._helper.finish(_FINISH_S)  # it may just be saying why
                return None if self._stop.is_set() else self._failure or self._silent()
            finally:
                self._queue.shut()
        return None

    def _send_next(self, helper: HelperProcess) -> None:
        packet = self._queue.take(_POLL_S)
        if packet is not None:
            helper.send(_packed(packet))
        elif helper.has_ended:
            raise HelperGone

    def _send_rest(self, helper: HelperProcess) -> None:
        while packet := self._queue.take(0):
            helper.send(_packed(packet))
        helper.finish(self._finish_s)

    def _complain(self) -> None:
        if self._queue.overflowed > self._complained and time.monotonic() > self._quiet_until:
            self._complained = self._queue.overflowed
            self._quiet_until = time.monotonic() + _COMPLAIN_S
            log.warning("%s: takes too little; %d frames were not sent so far", self._target.name, self._queue.dropped)

    def _hear(self, words: dict[str, Any]) -> None:
        """On the thread that listens to the process."""
        if words["event"] == "failed":
            self._failure = _Lost(words["reason"], words["refused"])
            return
        self.connections += 1
        dropped = self._queue.dropped
        log.info("%s: publishing%s", self._target.name, f"; {dropped} frames were not sent so far" if dropped else "")
        self._queue.open()

    def _orders(self, sample: Sample) -> dict[str, Any]:
        return {
            "name": self._target.name,
            "url": self._target.url,
            "format": self._target.format,
            "options": dict(self._target.options),
            "timeout_s": self._timeout_s,
            "sound": [sample.sound.rate, sample.sound.layout] if sample.sound else None,
            "time_base": [sample.time_base.numerator, sample.time_base.denominator],
            "sample_bytes": len(sample.mpegts),
        }

    def _silent(self) -> _Lost:
        """Its watchdog ended it, or somebody else did."""
        return _Lost(f"the server has taken nothing for {self._timeout_s:g} s")


@dataclass(frozen=True, slots=True)
class PublishTarget:
    """A server, or a port, that takes a stream."""

    name: str  # in messages; holds no user name, password or stream key
    url: str = field(repr=False)
    format: str  # FFmpeg's name of the muxer
    options: tuple[tuple[str, str], ...]  # the muxer's


def is_published(word: str) -> bool:
    """Whether an output is a URL, and not a file."""
    return "://" in word


def parse_target(url: str, *, timeout_s: float) -> PublishTarget:
    """The target that a URL means, user name and password included; a server has `timeout_s` to answer.

    Raises:
        OutputError: nothing can be published there.
    """
    try:
        address = parse_url(url)
    except UnclearUrl as exc:
        raise OutputError(f"{redacted(url)}: {exc}", usage=True) from None  # what it came from holds the password
    name, scheme = _name(address), address.scheme
    if scheme == "srt":
        raise OutputError(
            f"{name}: this FFmpeg has no SRT; publish to rtsp:// or udp://, from where a server passes it on",
            usage=True,
        )
    if scheme not in _MUXERS:
        raise OutputError(f"{name}: cannot publish to {scheme}://; known are {', '.join(_MUXERS)}", usage=True)
    if not address.host or (scheme == "udp" and not address.port):
        raise OutputError(
            f"{name}: an address to publish to has a host{' and a port' if scheme == 'udp' else ''}", usage=True
        )
    # Pictures wait no longer than that (microseconds) for sound that does not come.
    options = {"flush_packets": "1", "max_interleave_delta": "200000"}
    if _MUXERS[scheme] == "rtsp":
        # Over TCP: what is published is passed on by a server, which would pass on the gaps as well.
        options |= {"rtsp_transport": "tcp", "timeout": str(round(timeout_s * 1e6))}
    elif _MUXERS[scheme] == "flv":
        options |= {"flvflags": "no_duration_filesize"}  # which would be written at the end, where none can go back to
    elif "pkt_size" not in address.rest:
        query = f"{'&' if '?' in address.rest else '?'}pkt_size={_DATAGRAM_BYTES}"
        address = replace(address, rest=address.rest + query)
    return PublishTarget(name, str(address), _MUXERS[scheme], tuple(options.items()))


def _name(address: Url) -> str:
    """The last word of an RTMP address is the key that lets one publish there."""
    path = address.rest.partition("?")[0]
    folder, _, key = path.rpartition("/")
    if address.scheme.startswith("rtmp") and key:
        address = replace(address, rest=f"{folder}/***")
    return redacted(str(address))


def _packed(packet: av.Packet[Any]) -> bytes:
    """A packet as `main` reads it."""
    content = bytes(packet)
    assert packet.pts is not None
    assert packet.dts is not None
    is_sound = isinstance(packet.stream, AudioStream)
    return _HEAD.pack(len(content), packet.pts, packet.dts, packet.is_keyframe, is_sound) + content


def main() -> None:
    """Reads orders, a sample of the stream in MPEG-TS, and packets until there are no more.

    Says `opened` when the server takes the stream, `failed` with a reason when it does no more.
    """
    orders, pipe = take_orders()
    camera = Camera(orders["name"], orders["url"], timeout_s=orders["timeout_s"])
    timeout_s, started, opened = orders["timeout_s"] + _SPARE_S, time.monotonic(), False
    try:
        with av.open(io.BytesIO(pipe.read(orders["sample_bytes"])), format="mpegts") as sample:
            with _watchdog(timeout_s):
                container = av.open(orders["url"], "w", format=orders["format"], options=orders["options"])
                streams: list[Stream] = [container.add_stream_from_template(sample.streams.video[0])]
                units = [Fraction(*orders["time_base"])]
                if orders["sound"]:
                    streams.append(sound := _add_sound(container, *orders["sound"]))
                    units.append(Fraction(1, sound.rate))
                container.start_encoding()
            opened = True
            say(event="opened")
            for number, packet in _packets(pipe, units):
                packet.stream = streams[number]
                with _watchdog(timeout_s):
                    container.mux(packet)
            with _watchdog(timeout_s):
                container.close()
    except (av.FFmpegError, OSError) as exc:
        reason = reason_of(exc, camera, opened=opened, took_s=time.monotonic() - started)
        refused = isinstance(exc, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError))
        say(event="failed", reason=reason, refused=refused)
    # At once: closing what failed may hang as well.
    os._exit(0)


def _add_sound(container: OutputContainer, rate: int, layout: str) -> AudioStream:
    """As another process encodes it: such encoders have one header."""
    stream = container.add_stream("aac", rate=rate)
    assert isinstance(stream, AudioStream)
    stream.layout = layout
    return stream


def _packets(pipe: BinaryIO, units: Sequence[Fraction]) -> Iterator[tuple[int, av.Packet[Stream]]]:
    """The number of its stream and the packet; `units` are those of the streams' times."""
    began: Fraction | None = None
    while len(head := pipe.read(_HEAD.size)) == _HEAD.size:
        size, pts, dts, is_key, number = _HEAD.unpack(head)
        content = pipe.read(size)
        if len(content) < size:
            return
        if began is None:
            began = dts * units[number]  # each connection begins at 0, however long the run has been going on
        shift = round(began / units[number])
        if dts < shift:
            continue  # sound from before the first picture
        packet = av.Packet(content)
        packet.pts, packet.dts, packet.time_base = pts - shift, dts - shift, units[number]
        packet.is_keyframe = bool(is_key)
        yield number, packet


@contextmanager
def _watchdog(timeout_s: float) -> Iterator[None]:
    """End the process where this takes longer, whatever holds the interpreter lock."""
    faulthandler.dump_traceback_later(timeout_s, exit=True)  # on standard error, which goes nowhere
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
