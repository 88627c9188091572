"""A camera that films its own frame numbers, so that a test knows which of the frames sent have arrived.

Pictures are encoded as they are needed, and cut into RTP packets by FFmpeg's own packetizer.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.codec.context import Flags
from av.video.frame import PictureType
from numpy.typing import NDArray

VideoCodec = Literal["h264", "hevc", "mjpeg"]

CLOCK = 90_000  # ticks a second, of every video over RTP
NUMBERS = 1 << 16  # they begin again after that many
_BITS = 16
_BLOCK = 8  # rows of a bit; under them are as many with the bit turned over, so that damage is not read as a number
_PACKET_BYTES = 1200
PAYLOAD_TYPES: dict[VideoCodec, int] = {"h264": 96, "hevc": 98, "mjpeg": 26}
_X265 = "log-level=none:pools=none:frame-threads=1:repeat-headers=1"
_ENCODERS: dict[VideoCodec, tuple[str, str, dict[str, str]]] = {
    "h264": ("libx264", "yuv420p", {"preset": "ultrafast", "tune": "zerolatency", "forced-idr": "1"}),
    "hevc": (
        "libx265",
        "yuv420p",
        {"preset": "ultrafast", "tune": "zerolatency", "forced-idr": "1", "x265-params": _X265},
    ),
    "mjpeg": ("mjpeg", "yuvj420p", {"huffman": "default"}),  # RFC 2435 knows no tables but the standard's
}


@dataclass(frozen=True, slots=True)
class Film:
    """What a camera's pictures look like."""

    width: int = 160
    height: int = 96
    rate: int = 25
    codec: VideoCodec = "h264"
    gop: int = 25  # frames from one key frame to the next
    clip: Path | None = None  # pictures under the numbers, over and over; None for a texture that moves


@dataclass(frozen=True, slots=True)
class Shot:
    """One encoded frame."""

    number: int
    pts: int  # in ticks of `CLOCK`, without end
    is_key: bool
    codec: VideoCodec
    bytes: bytes
    rtp: tuple[bytes, ...]  # packets; their sequence numbers, times and source are for the sender to set


class NumberedCamera:
    """Encodes frames one at a time; one thread uses it."""

    def __init__(self, film: Film) -> None:
        self.film = film
        self._backgrounds = _backgrounds(film)
        self._wire = _Wire()
        self._muxer = av.open(self._wire, "w", format="rtp", options={"packetsize": str(_PACKET_BYTES)})
        encoder, pixel_format, options = _ENCODERS[film.codec]
        self.stream = self._muxer.add_stream(encoder, rate=film.rate, options=options)
        _set_up(self.stream.codec_context, film, pixel_format)
        self.stream.time_base = Fraction(1, CLOCK)

    def shoot(self, number: int, *, pts: int, key: bool = False) -> Shot:
        """The next frame; `key` makes it one that decoding can begin at."""
        pixels = next(self._backgrounds)
        draw_number(pixels, number)
        frame = av.VideoFrame.from_ndarray(pixels, format=self.stream.codec_context.pix_fmt)
        frame.pts, frame.time_base = pts, Fraction(1, CLOCK)
        if key:
            frame.pict_type = PictureType.I
        (packet,) = self.stream.encode(frame)
        encoded, is_key = bytes(packet), packet.is_keyframe
        packet.pts = packet.dts = None  # a clock that is set back is no matter of the muxer's
        packet.pts = packet.dts = self._wire.next_pts()
        self._muxer.mux(packet)
        return Shot(number % NUMBERS, pts, is_key, self.film.codec, encoded, self._wire.taken())

    def close(self) -> None:
        self._muxer.close()


class _Wire:
    """What the muxer writes to: a call for each packet, some of them RTCP."""

    def __init__(self) -> None:
        self._packets: list[bytes] = []
        self._pts = 0

    def write(self, packet: bytes) -> int:
        if not 192 <= packet[1] <= 223:  # RTCP: a sender's own
            self._packets.append(bytes(packet))
        return len(packet)

    def next_pts(self) -> int:
        self._pts += 1
        return self._pts

    def taken(self) -> tuple[bytes, ...]:
        taken, self._packets = tuple(self._packets), []
        return taken


def _set_up(context: av.VideoCodecContext, film: Film, pixel_format: str) -> None:
    context.width, context.height, context.pix_fmt = film.width, film.height, pixel_format
    context.time_base = Fraction(1, CLOCK)
    context.framerate = Fraction(film.rate)
    context.gop_size, context.max_b_frames, context.thread_count = film.gop, 0, 1


def _backgrounds(film: Film) -> Iterator[NDArray[np.uint8]]:
    """Pictures without numbers, planar YUV 4:2:0, for ever; each may be drawn on."""
    if film.clip is None:
        yield from _texture(film.width, film.height)
    while film.clip:
        with av.open(film.clip) as container:
            for frame in container.decode(video=0):
                yield frame.reformat(film.width, film.height, "yuv420p").to_ndarray()


def _texture(width: int, height: int) -> Iterator[NDArray[np.uint8]]:
    random = np.random.default_rng(7)
    coarse = random.integers(60, 200, (height // 8 + 1, width // 8 + 1), np.uint8)
    texture = np.kron(coarse, np.ones((8, 8), np.uint8))[:height, :width]
    chroma = np.full((height // 2, width), 128, np.uint8)
    step = 0
    while True:
        yield np.concatenate([np.roll(texture, 2 * step, axis=1), chroma])
        step += 1


def draw_number(pixels: NDArray[np.uint8], number: int) -> None:
    """Along the top of a picture whose first rows are luma."""
    width = pixels.shape[1] // _BITS
    for bit in range(_BITS):
        value = number >> bit & 1
        columns = slice(bit * width, (bit + 1) * width)
        pixels[:_BLOCK, columns] = 235 if value else 16
        pixels[_BLOCK : 2 * _BLOCK, columns] = 16 if value else 235


def read_number(picture: av.VideoFrame) -> int | None:
    """The number in a decoded picture of any size; `None` where damage makes it unreadable."""
    plane = picture.planes[0]
    luma = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[: 2 * _BLOCK, : plane.width]
    width = plane.width // _BITS
    blocks = luma[:, : _BITS * width].reshape(2, _BLOCK, _BITS, width).mean(axis=(1, 3))
    bits, inverse = blocks > 128
    if (bits == inverse).any():
        return None
    return int(sum(1 << bit for bit in range(_BITS) if bits[bit]))


def media_description(film: Film) -> str:
    """The lines of an SDP that tell a client what is in the video."""
    payload_type = PAYLOAD_TYPES[film.codec]
    name = {"h264": "H264", "hevc": "H265", "mjpeg": "JPEG"}[film.codec]
    lines = [f"m=video 0 RTP/AVP {payload_type}", f"a=rtpmap:{payload_type} {name}/{CLOCK}"]
    if parameters := _parameters(film):
        lines.append(f"a=fmtp:{payload_type} {parameters}")
    return "\r\n".join([*lines, f"a=framerate:{film.rate}", "a=control:video", ""])


def _parameters(film: Film) -> str:
    if film.codec == "mjpeg":
        return ""
    sets = [base64.b64encode(unit).decode() for unit in _parameter_sets(film)]
    if film.codec == "h264":
        return f"packetization-mode=1; sprop-parameter-sets={','.join(sets[:2])}"
    return "; ".join(f"sprop-{name}={value}" for name, value in zip(("vps", "sps", "pps"), sets, strict=False))


def _parameter_sets(film: Film) -> list[bytes]:
    """The NAL units that head the stream; a comment of the encoder's may follow them."""
    encoder, pixel_format, options = _ENCODERS[film.codec]
    context = av.CodecContext.create(encoder, "w")
    assert isinstance(context, av.VideoCodecContext)
    _set_up(context, film, pixel_format)
    context.options = options
    context.flags |= Flags.global_header
    context.open()
    headers = bytes(context.extradata or b"")
    return [unit for unit in headers.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if unit]
