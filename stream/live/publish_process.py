"""The process that sends packets to a server. `main` runs in it; `Publisher` starts it.

FFmpeg's writing to a server that hangs cannot be broken off, and holds the interpreter lock: here it stops nobody else,
and a watchdog of C's ends the process.
"""

from __future__ import annotations

import faulthandler
import io
import os
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, BinaryIO

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.stream import Stream

from ..camera.camera import Camera
from ..camera.lost import reason_of
from ..system.helper_process import say, take_orders

_HEAD = struct.Struct(">IqqBB")  # bytes that follow, pts, dts, whether it is a keyframe, and whether it is sound
_SPARE_S = 1.0  # by which the watchdog comes later than FFmpeg's own time-outs, which tell more


def packed(packet: av.Packet[Any]) -> bytes:
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
