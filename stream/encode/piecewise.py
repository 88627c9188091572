"""Encode a video in pieces: each by an encoder of its own, so that none of its pictures depends on another piece."""

from __future__ import annotations

from fractions import Fraction

import av
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from ..frames import begins_piece
from .h264 import H264Encoder


class PiecewiseEncoder:
    """Encodes the pictures of `stream`, from `add_video`, a piece at a time.

    Args:
        stream: of a container whose packets the results will be.
        encoder: that the stream was made with.
    """

    def __init__(self, stream: VideoStream, encoder: H264Encoder) -> None:
        self._stream = stream
        self._encoder = encoder
        self._context: VideoCodecContext | None = None
        self._pictures = 0
        self._last_dts: Fraction | None = None  # seconds

    def encode(self, picture: av.VideoFrame | None) -> list[Packet[VideoStream]]:
        """The packets that are ready once `picture` is taken; `None` asks for the rest."""
        packets = []
        if self._context is not None and (picture is None or begins_piece(self._pictures)):
            packets = self._context.encode(None)
            self._context = None
        if picture is not None:
            self._context = self._context or self._new_context()
            packets += self._context.encode(picture)
            self._pictures += 1
        for packet in packets:
            self._place(packet)
        return packets

    def take_over(self, packet: Packet[VideoStream]) -> Packet[VideoStream]:
        """A packet of an earlier file with the same encoder, in its turn."""
        self._pictures += 1
        self._place(packet)
        return packet

    def _place(self, packet: Packet[VideoStream]) -> None:
        """Into the stream; where encoders follow each other, decoding times may meet."""
        packet.stream = self._stream
        if packet.dts is None:
            return
        unit = packet.time_base
        if self._last_dts is not None and packet.dts * unit <= self._last_dts:
            packet.dts = int(self._last_dts // unit) + 1
        self._last_dts = packet.dts * unit

    def _new_context(self) -> VideoCodecContext:
        stream = self._stream.codec_context
        context = av.CodecContext.create(self._encoder.name, "w")
        assert isinstance(context, VideoCodecContext)
        context.width, context.height, context.pix_fmt = stream.width, stream.height, stream.pix_fmt
        context.time_base, context.framerate = stream.time_base, stream.framerate
        context.gop_size = stream.gop_size
        context.sample_aspect_ratio = stream.sample_aspect_ratio
        context.color_range, context.colorspace = stream.color_range, stream.colorspace
        context.color_primaries, context.color_trc = stream.color_primaries, stream.color_trc
        context.flags = stream.flags  # whether the container wants the header apart
        context.options = dict(self._encoder.options)
        self._encoder.set_up(context)
        return context
