"""Small videos that carry what cameras write beside pictures and sound: tags, chapters, subtitles, GoPro's data."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np

RATE = 25
SIZE = (48, 64)
TAGS = {
    "creation_time": "2026-05-01T10:00:00.000000Z",
    "location": "+51.5074-000.1278/",
    "title": "To work",
    "make": "Viofo",
    "model": "A129",
}


class Timed(NamedTuple):
    """What is in a packet of a track, and when."""

    begin_s: float
    length_s: float
    content: str | bytes


def make_drive(
    path: Path,
    *,
    seconds: float = 3,
    late_s: float = 0,
    tags: Mapping[str, str] = TAGS,
    chapters: Sequence[Timed] = (),
    texts: Sequence[Timed] = (),
    codec: str = "mov_text",
    gpmd: Sequence[Timed] = (),
    attached: str = "",
) -> Path:
    """Encode a clip.

    Args:
        path: its suffix names the container.
        seconds: how long it is.
        late_s: time of the first picture; of all else they are given as they are.
        tags: of the file.
        chapters: with their titles.
        texts: of a track of subtitles, none where there are none.
        codec: of that.
        gpmd: of a track of GoPro's.
        attached: the name of a file inside it.
    """
    options = {"movflags": "+use_metadata_tags"} if path.suffix in (".mp4", ".mov") else {}
    with av.open(path, "w", container_options=options) as container:
        container.metadata.update(tags)
        unit = Fraction(1, 1000)
        container.set_chapters(
            [
                {
                    "id": number,
                    "start": round(item.begin_s * 1000),
                    "end": round((item.begin_s + item.length_s) * 1000),
                    "time_base": unit,
                    "metadata": {"title": str(item.content)},
                }
                for number, item in enumerate(chapters)
            ]
        )
        video: Any = container.add_stream("libx264", rate=RATE, width=SIZE[1], height=SIZE[0], options={"bf": "0"})
        video.pix_fmt = "yuv420p"
        packets = []
        if texts:
            packets += _packets(_text_track(container, codec), texts)
        if gpmd:
            track = container.add_data_stream("bin_data")
            track.metadata["handler_name"] = "GoPro MET"
            packets += _packets(track, gpmd)
        if attached:
            container.add_attachment(attached, "text/plain", b"a note")
        first = round(late_s * RATE)
        for number in range(round(seconds * RATE)):
            pixels = np.full((*SIZE, 3), (2 * number + 40) % 250, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = first + number, Fraction(1, RATE)
            packets += video.encode(frame)
        packets += video.encode(None)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def _text_track(container: av.container.OutputContainer, codec: str) -> Any:
    track: Any = container.add_stream(codec)
    track.codec_context.subtitle_header = b"[Script Info]\nScriptType: v4.00+\n"
    track.time_base = track.codec_context.time_base = Fraction(1, 1000)
    track.metadata["language"] = "eng"
    return track


def _packets(track: Any, items: Sequence[Timed]) -> list[av.Packet[Any]]:
    packets = []
    for number, item in enumerate(items):
        content = item.content
        if isinstance(content, str):
            content = content.encode()
            if track.codec_context.name == "mov_text":
                content = struct.pack(">H", len(content)) + content
            elif track.codec_context.name == "ass":
                content = b"%d,0,Default,,0,0,0,,%s" % (number, content)
        packet: Any = av.Packet(content)
        packet.pts = packet.dts = round(item.begin_s * 1000)
        packet.duration, packet.time_base = round(item.length_s * 1000), Fraction(1, 1000)
        packet.is_keyframe, packet.stream = True, track
        packets.append(packet)
    return packets


def gps5(*rows: tuple[float, float, float], fix: int = 3) -> bytes:
    """A packet of GoPro's track: latitude, longitude, and speed in m/s, of each position."""
    scales = (10_000_000, 10_000_000, 1000, 1000, 100)
    values = [(latitude, longitude, 30, speed, speed) for latitude, longitude, speed in rows]
    ints = [round(value * scale) for row in values for value, scale in zip(row, scales, strict=True)]
    stream = (
        klv("STNM", "c", 1, b"GPS")
        + klv("GPSF", "L", 4, struct.pack(">L", fix))
        + klv("SCAL", "l", 4, struct.pack(">5l", *scales))
        + klv("GPS5", "l", 20, struct.pack(f">{len(ints)}l", *ints))
    )
    other = klv("STRM", "\0", 1, klv("ACCL", "s", 6, struct.pack(">6h", *range(6))))
    return klv("DEVC", "\0", 1, klv("DVNM", "c", 1, b"Camera") + other + klv("STRM", "\0", 1, stream))


def gps9(*rows: tuple[float, float, float], fix: int = 3) -> bytes:
    """As `gps5`, of later cameras."""
    scales = (10_000_000, 10_000_000, 1000, 1000, 100, 1, 1000, 100, 1)
    content = b""
    for latitude, longitude, speed in rows:
        values = (latitude, longitude, 30, speed, speed, 9000, 36000)
        ints = [round(value * scale) for value, scale in zip(values, scales[:7], strict=True)]
        content += struct.pack(">7l2H", *ints, 150, fix)
    stream = (
        klv("TYPE", "c", 1, b"lllllllSS")
        + klv("SCAL", "l", 4, struct.pack(">9l", *scales))
        + klv("GPS9", "?", 32, content)
    )
    return klv("DEVC", "\0", 1, klv("STRM", "\0", 1, stream))


def with_boxes(path: Path, places: Sequence[tuple[float, float, float] | bytes | None], *, at: int = 48) -> Path:
    """Puts boxes of Novatek's behind an MP4's own: latitude, longitude and knots, once a second; `None` has no fix.

    `at` is where the time begins, which differs.
    """
    boxes = []
    for second, place in enumerate(places):
        if isinstance(place, bytes):
            boxes.append(place)
            continue
        clock = (23, 59, 58 + second, 26, 5, 1) if second < 2 else (0, 0, second - 2, 26, 5, 2)
        latitude, longitude, knots = place or (0, 0, 0)
        letters = b"AV"[place is None], b"NS"[latitude < 0], b"EW"[longitude < 0]
        minutes = (int(abs(value)) * 100 + abs(value) % 1 * 60 for value in (latitude, longitude))
        content = bytes(at - 12) + struct.pack("<6I", *clock) + bytes([*letters, 0])
        content += struct.pack("<4f", *minutes, knots, 0)
        boxes.append(struct.pack(">I4s4s", 128, b"free", b"GPS ") + content.ljust(128 - 12, b"\0"))
    content = path.read_bytes()
    moov = content.rindex(b"moov") - 4
    size = int.from_bytes(content[moov : moov + 4])
    assert moov + size == len(content), "it is the last box"
    index_size = 16 + 8 * len(boxes)
    offset, index = len(content) + index_size, b""
    for box in boxes:
        index += struct.pack(">II", offset, len(box))
        offset += len(box)
    grown = struct.pack(">I", size + index_size) + content[moov + 4 :]
    index = struct.pack(">I4sII", index_size, b"gps ", 0x101, len(boxes)) + index
    path.write_bytes(content[:moov] + grown + index + b"".join(boxes))
    return path


def klv(key: str, kind: str, size: int, content: bytes) -> bytes:
    """A key with its value: elements of `size` bytes."""
    padding = b"\0" * (-len(content) % 4)
    return struct.pack(">4scBH", key.encode(), kind.encode(), size, len(content) // size) + content + padding


def tags_of(path: Path) -> dict[str, str]:
    """With names in lower case. Of an MP4 with keys FFmpeg 9 gives two dates, that of its header and then theirs."""
    with av.open(path) as container:
        tags = {name.lower(): value for name, value in container.metadata.items()}
    return tags | {name: value.rpartition(";")[2] for name, value in tags.items() if name == "creation_time"}


def chapters_of(path: Path) -> list[Timed]:
    with av.open(path) as container:
        return [
            Timed(float(item["start"] * item["time_base"]), 0, item["metadata"].get("title", ""))
            for item in container.chapters()
        ]


def track_of(path: Path, kind: str) -> list[Timed]:
    """The packets of the first track of that type: subtitle or data; empty texts, which mark an end, are left out."""
    with av.open(path) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        return [
            Timed(float(packet.pts * packet.time_base), float((packet.duration or 0) * packet.time_base), bytes(packet))
            for packet in container.demux(stream)
            if packet.pts is not None and packet.size > 2
        ]
