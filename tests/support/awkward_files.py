"""Makers of awkward files: videos of many kinds, and damage to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.stream import Disposition

FRAMES = 25


Make = Callable[[Path], object]


def video(
    codec: str,
    pixels: str = "yuv420p",
    *,
    size: tuple[int, int] = (48, 64),
    frames: int = FRAMES,
    pts: Sequence[int] | None = None,
    base: Fraction = Fraction(1, 25),
    gop: int = 5,
    kind: str | None = None,
    options: dict[str, str] | None = None,
    muxer: dict[str, str] | None = None,
    **settings: Any,
) -> Make:
    """A file with one video stream; `settings` are attributes of the encoder, `rotation` of the stream."""

    def make(path: Path) -> None:
        with av.open(path, "w", format=kind, container_options=muxer or {}) as container:
            add(container, codec, pixels, size, pts or range(frames), base, gop, options or {}, settings)

    return make


def add(
    container: Any,
    codec: str,
    pixels: str,
    size: tuple[int, int],
    pts: Sequence[int],
    base: Fraction,
    gop: int,
    options: dict[str, str],
    settings: dict[str, Any],
) -> None:
    if codec == "libx264" and "x264-params" not in options:
        options = options | {"x264-params": "mbtree=0"}  # of small pictures it makes another file each time
    stream = container.add_stream(codec, rate=25, options=options)
    stream.height, stream.width = size
    stream.pix_fmt, stream.gop_size, stream.time_base = pixels, gop, base
    stream.codec_context.time_base = base
    for name, value in settings.items():
        if name == "rotation":
            stream.set_display_rotation(value)
        elif name == "mirrored":
            stream.set_display_rotation(0, value, False)
        else:
            setattr(stream.codec_context, name, value)
    for picture in pictures(size, pts, base, pixels):
        container.mux(stream.encode(picture))
    container.mux(stream.encode())


def pictures(size: tuple[int, int], pts: Sequence[int], base: Fraction, pixels: str) -> Iterator[av.VideoFrame]:
    noise = np.random.default_rng(1).integers(0, 255, (*size, 3), np.uint8)
    for number, time in enumerate(pts):
        picture = av.VideoFrame.from_ndarray(np.roll(noise, 2 * number, axis=1), "rgb24").reformat(format=pixels)
        picture.pts, picture.time_base = time, base
        yield picture


def still(suffix: str, *, pixels: type = np.uint8, channels: int = 3) -> Make:
    def make(path: Path) -> None:
        shape = (48, 64, channels) if channels > 1 else (48, 64)
        picture = np.random.default_rng(1).integers(0, np.iinfo(pixels).max, shape, pixels)
        path.write_bytes(cv2.imencode(suffix, picture)[1].tobytes())

    return make


def with_cover(path: Path, told: Disposition = Disposition.attached_pic) -> None:
    """A picture of the case before the video, and what the file says of it."""
    with av.open(path, "w") as container:
        cover: Any = container.add_stream("mjpeg", rate=25)
        cover.height, cover.width, cover.pix_fmt = 96, 128, "yuvj420p"
        cover.disposition = told
        stream: Any = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        container.mux(cover.encode(next(pictures((96, 128), [0], Fraction(1, 25), "yuvj420p"))))
        for picture in pictures((48, 64), range(FRAMES), Fraction(1, 25), "yuv420p"):
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def streams(*sizes: tuple[int, int], default: int | None = None) -> Make:
    """Several video streams."""

    def make(path: Path) -> None:
        with av.open(path, "w") as container:
            added = []
            for number, (height, width) in enumerate(sizes):
                stream: Any = container.add_stream("mpeg4", rate=25)
                stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
                stream.disposition = Disposition.default if number == default else Disposition(0)
                added.append(stream)
            for stream, size in zip(added, sizes, strict=True):
                for picture in pictures(size, range(FRAMES), Fraction(1, 25), "yuv420p"):
                    container.mux(stream.encode(picture))
                container.mux(stream.encode())

    return make


def remuxed(make: Make, change: Callable[[list[Any]], list[Any]], *, cover: bool = False, **muxer: str) -> Make:
    """The packets of another file, changed."""

    def remake(path: Path) -> None:
        before = path.with_name(f"before_{path.name}")
        make(before)
        with av.open(before) as source, av.open(path, "w", container_options=muxer) as target:
            stream: Any = target.add_stream_from_template(source.streams.video[0])
            stream.disposition = Disposition.attached_pic if cover else Disposition(0)
            for packet in change([packet for packet in source.demux(video=0) if packet.size]):
                packet.stream = stream
                target.mux_one(packet)
        before.unlink()

    return remake


def retimed(make: Make, times: Callable[[int, Any], int | None]) -> Make:
    """With other decoding and presentation times."""

    def change(packets: list[Any]) -> list[Any]:
        for number, packet in enumerate(packets):
            packet.pts = packet.dts = times(number, packet)
        return packets

    return remuxed(make, change)


def cut(make: Make, share: float, begin: float = 0) -> Make:
    """A part of the file alone."""
    return altered(make, lambda data: data[int(len(data) * begin) : int(len(data) * share)])


def cut_behind(make: Make, mark: bytes, offset: int) -> Make:
    """Up to so many bytes behind the last place where that stands."""
    return altered(make, lambda data: data[: data.rindex(mark) + len(mark) + offset])


def zeroed(make: Make, begin: float, end: float) -> Make:
    def change(data: bytearray) -> bytearray:
        first, last = int(len(data) * begin), int(len(data) * end)
        data[first:last] = bytes(last - first)
        return data

    return altered(make, change)


def noisy(make: Make, places: int = 3) -> Make:
    """With wrong bytes here and there behind the header."""

    def change(data: bytearray) -> bytearray:
        for number in range(places):
            at = len(data) * (2 * number + 3) // (2 * places + 4)
            data[at : at + 20] = bytes(255 - byte for byte in data[at : at + 20])
        return data

    return altered(make, change)


def without(make: Make, begin: float, end: float) -> Make:
    return altered(make, lambda data: data[: int(len(data) * begin)] + data[int(len(data) * end) :])


def altered(make: Make, change: Callable[[bytearray], bytes | bytearray]) -> Make:
    def remake(path: Path) -> None:
        make(path)
        path.write_bytes(change(bytearray(path.read_bytes())))

    return remake


def field(make: Make, mark: bytes, offset: int, value: bytes) -> Make:
    """With another number in a header, so many bytes behind a mark."""

    def change(data: bytearray) -> bytearray:
        at = data.index(mark) + len(mark) + offset
        data[at : at + len(value)] = value
        return data

    return altered(make, change)


def joined(*makes: Make) -> Make:
    """One file behind the other."""

    def make(path: Path) -> None:
        content = b""
        for part in makes:
            part(path)
            content += path.read_bytes()
        path.write_bytes(content)

    return make


def text(content: str | bytes) -> Make:
    return lambda path: path.write_bytes(content.encode() if isinstance(content, str) else content)


def sound(path: Path) -> None:
    with av.open(path, "w") as container:
        stream: Any = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def with_sound(codec: str, audio: str, sample_format: str) -> Make:
    def make(path: Path) -> None:
        with av.open(path, "w") as container:
            track: Any = container.add_stream(audio, rate=44100, layout="mono")
            track.format = sample_format
            stream: Any = container.add_stream(codec, rate=25)
            stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
            for picture in pictures((48, 64), range(FRAMES), Fraction(1, 25), "yuv420p"):
                container.mux(stream.encode(picture))
            container.mux(stream.encode())
            frame = av.AudioFrame(sample_format, "mono", 44100)
            frame.sample_rate, frame.pts = 44100, 0
            container.mux(track.encode(frame))
            container.mux(track.encode())

    return make
