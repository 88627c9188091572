"""Where a drive was, and how fast: the positions that cameras write into a track beside the pictures.

Text, as subtitles, is read as NMEA sentences, or as degrees and a speed in the ways in which people write them. GoPro's
track `gpmd` is a tree of keys and values: https://github.com/gopro/gpmf-parser.
"""

from __future__ import annotations

import logging
import re
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial, reduce
from operator import xor
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.stream import Stream
from numpy.typing import NDArray

from ..errors import SourceError
from .opening import open_file
from .video_stream import DISCARD_ALL, tells_chapters

log = logging.getLogger(__name__)

TEXTS = ("mov_text", "subrip", "text", "webvtt", "ass")  # FFmpeg's names of subtitles that are text
_HELD_S = 1.5  # for which a position is that of the picture, before and after it
_BRIDGED_S = 5.0  # from one position to the next, between which the way is taken to be straight
_MOST_WITHOUT = 600  # texts without one, after which a track is not read any further
_MOST_TEXT = 4096  # characters of one that are looked at
_KMH = {"km/h": 1.0, "kmh": 1.0, "kph": 1.0, "mph": 1.609344, "m/s": 3.6, "kn": 1.852, "kt": 1.852}


class Position(NamedTuple):
    latitude: float  # degrees, north and
    longitude: float  # east are positive
    speed_kmh: float  # nan where it is not told


Read = Callable[[bytes], list[Position]]  # those of a packet, evenly over its time; a `ValueError` where it is damaged


@dataclass(frozen=True, slots=True, eq=False)
class GpsTrack:
    """Positions in the order of their times."""

    times: NDArray[np.float64]  # (n) seconds on the file's clock, rising
    latitudes: NDArray[np.float64]  # (n) degrees
    longitudes: NDArray[np.float64]  # (n) degrees; beyond 180 where the way leads across it
    speeds: NDArray[np.float64]  # (n) km/h; nan where it is not told

    def at(self, time: float) -> Position | None:
        """The position then, between those before and after; `None` where there is none near."""
        after = int(np.searchsorted(self.times, time, side="right"))
        before = after - 1
        if 0 < after < len(self.times) and self.times[after] - self.times[before] <= _BRIDGED_S:
            part = (time - self.times[before]) / (self.times[after] - self.times[before])
        else:
            near = [at for at in (before, after) if 0 <= at < len(self.times) and abs(self.times[at] - time) <= _HELD_S]
            if not near:
                return None
            before = after = near[0]
            part = 0.0
        place = (
            float(values[before] + part * (values[after] - values[before]))
            for values in (self.latitudes, self.longitudes, self.speeds)
        )
        latitude, longitude, speed = place
        return Position(latitude, (longitude + 180) % 360 - 180, speed)


def read_gps(path: Path) -> GpsTrack | None:
    """The positions of a file; `None` where it has none. A track of them that cannot be read is told."""
    try:
        with open_file(path) as container:
            return _read(container, path)
    except SourceError as exc:
        log.warning("%s; its positions are not known", exc)
        return None


def _read(container: InputContainer, path: Path) -> GpsTrack | None:
    readers = {stream.index: read for stream in container.streams if (read := _reader(stream))}
    if not readers:
        return None
    for stream in container.streams:
        if stream.index not in readers:
            with suppress(AttributeError):  # so that an mp4 is not read whole, where PyAV can say so
                stream.discard = DISCARD_ALL  # type: ignore[assignment]
    found: dict[int, list[tuple[float, Position]]] = {index: [] for index in readers}
    damaged, without = Counter[int](), Counter[int]()
    for packet in _packets(container, [container.streams[index] for index in readers]):
        index = packet.stream_index
        begin, length = float(packet.pts * packet.time_base), float((packet.duration or 0) * packet.time_base)
        try:
            positions = readers[index](bytes(packet))
        except ValueError:
            damaged[index] += 1
            continue
        found[index] += [(begin + length * n / len(positions), one) for n, one in enumerate(positions)]
        without[index] += not positions
        if all(not found[at] and without[at] > _MOST_WITHOUT for at in readers):
            break
    best = max(found, key=lambda index: len(found[index]))
    if damaged.total():
        told = f"of its GPS track {damaged.total()} parts are damaged" if found[best] else "its GPS track is damaged"
        log.warning("%s: %s", path, told)
    elif not found[best] and any(container.streams[index].type == "data" for index in readers):
        log.info("%s: its GPS track holds no position", path)
    return _track(found[best]) if found[best] else None


def _packets(container: InputContainer, streams: Sequence[Stream]) -> Iterator[Any]:
    """Up to the first that cannot be read."""
    try:
        for packet in container.demux(streams):
            if packet.pts is not None and packet.size:
                yield packet
    except av.FFmpegError:
        return


def _reader(stream: Stream) -> Read | None:
    """What reads the packets of a track that may hold positions."""
    if stream.type == "data":  # what FFmpeg calls so in an MP4 is GoPro's
        is_gpmd = stream.name == "bin_data" and "mp4" in stream.container.format.name and not tells_chapters(stream)
        return gpmd_positions if is_gpmd else None
    codec = codec_of(stream) if stream.type == "subtitle" else ""
    return partial(_positions_in, codec) if codec in TEXTS else None


def codec_of(stream: Stream) -> str:
    """FFmpeg's name of it; empty where there is no decoder."""
    return stream.codec_context.codec.canonical_name if stream.codec_context else ""


def _track(found: list[tuple[float, Position]]) -> GpsTrack:
    rising: list[tuple[float, Position]] = []
    for time, position in found:
        if not rising or time > rising[-1][0]:
            rising.append((time, position))
    times = np.array([time for time, _ in rising])
    latitudes, longitudes, speeds = np.array([position for _, position in rising]).T
    return GpsTrack(times, latitudes, np.unwrap(longitudes, period=360), speeds)


def _is_place(position: Position) -> bool:
    """Cameras without a fix write 0, 0, or anything."""
    return abs(position.latitude) <= 90 and abs(position.longitude) <= 180 and position[:2] != (0, 0)


# Text

_NUMBER = r"(\d{1,5}\.\d{1,12}|\d{1,3}(?=\s*[°º]))"
_SECONDS = r"(?:(\d{1,2}(?:\.\d{1,9})?)\s*(?:[\"\u201d\u2033]|'')\s*)?"
_DEGREES = rf"{_NUMBER}\s*(?:[°º]\s*(?:(\d{{1,2}}(?:\.\d{{1,9}})?)\s*['\u2019\u2032]\s*)?{_SECONDS})?"
_SIGNED = r"([-+]?\d{1,3}\.\d{1,12})"
_LETTER_AFTER = re.compile(rf"(?<![\d.:]){_DEGREES}([NS])\b[^\dA-Za-z]{{0,9}}{_DEGREES}([EW])\b")
_LETTER_BEFORE = re.compile(rf"\b([NS])\s*[:=]?\s*{_DEGREES}[^\dA-Za-z]{{0,9}}([EW])\s*[:=]?\s*{_DEGREES}")
_LABELLED = re.compile(
    rf"\blat[a-z]*[^\w+-]{{0,4}}{_SIGNED}\s*°?\s*([NS]?)[^\w+-]{{0,9}}\blon[a-z]*[^\w+-]{{0,4}}{_SIGNED}\s*°?\s*([EW]?)",
    re.IGNORECASE,
)
_PAIR = re.compile(r"(?<![\d.])([-+]?\d{1,2}\.\d{4,12})[°,;/\s]{0,4}(?=[-+,;/\s])([-+]?\d{1,3}\.\d{4,12})")
_SPEED = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)\s*(km/h|kmh|kph|mph|m/s|kn|kt)(?:ots?|s)?\b", re.IGNORECASE)
_SENTENCE = re.compile(r"\$(G[A-Z](RMC|GGA),([^*$\r\n]*))(?:\*([0-9A-Fa-f]{2}))?")


def _positions_in(codec: str, content: bytes) -> list[Position]:
    return text_positions(text_of(codec, content))


def text_of(codec: str, content: bytes) -> str:
    """What a packet of subtitles says, without marks for its looks; `codec` is one of `TEXTS`."""
    if codec == "mov_text":
        content = content[2 : 2 + int.from_bytes(content[:2])]  # after the text there may be styles
    text = content.decode("utf-8", errors="replace")
    if codec == "ass":
        text = text.split(",", 8)[-1].replace(r"\N", "\n")
    return re.sub(r"<[^<>]{0,99}>|\{\\[^{}]{0,99}\}", "", text).strip("\0 \r\n\t")


def text_positions(text: str) -> list[Position]:
    """Those of NMEA sentences; else one, if degrees are written there."""
    text = text[:_MOST_TEXT]
    found = _nmea(text) if "$G" in text else _written(text)
    return list(filter(_is_place, found))


def _nmea(text: str) -> list[Position]:
    """Of RMC, which tells the speed, too; where there is none, of GGA.

    Raises:
        ValueError: a checksum is wrong, or a field no number.
    """
    found: dict[str, list[Position]] = {"RMC": [], "GGA": []}
    for body, kind, rest, checksum in _SENTENCE.findall(text):
        if checksum and reduce(xor, body.encode(errors="replace"), 0) != int(checksum, 16):
            raise ValueError("a wrong checksum")
        fields = [*rest.split(","), *[""] * 7]
        if kind == "RMC" and fields[1] == "A":
            place, speed = fields[2:6], float(fields[6] or "nan") * _KMH["kn"]
        elif kind == "GGA" and fields[5] not in ("", "0"):
            place, speed = fields[1:5], np.nan
        else:
            continue  # without a fix
        latitude, longitude = (_signed(_of_minutes(float(place[at])), place[at + 1]) for at in (0, 2))
        found[kind].append(Position(latitude, longitude, speed))
    return found["RMC"] or found["GGA"]


def _written(text: str) -> list[Position]:
    if match := _LABELLED.search(text):
        latitude, south, longitude, west = match.groups()
        place = _signed(float(latitude), south), _signed(float(longitude), west)
    elif match := _LETTER_AFTER.search(text):
        *degrees, south, d, m, s, west = match.groups()
        place = _signed(_degrees(*degrees), south), _signed(_degrees(d, m, s), west)
    elif match := _LETTER_BEFORE.search(text):
        south, d, m, s, west, *degrees = match.groups()
        place = _signed(_degrees(d, m, s), south), _signed(_degrees(*degrees), west)
    elif match := _PAIR.search(text):
        place = float(match[1]), float(match[2])
    else:
        return []
    speed = _SPEED.search(text, match.end()) or _SPEED.search(text)
    return [Position(*place, float(speed[1]) * _KMH[speed[2].lower()] if speed else np.nan)]


def _degrees(degrees: str, minutes: str | None, seconds: str | None) -> float:
    """Of degrees, minutes and seconds; or of 5130.444 and 00007.668, which are degrees and minutes in one."""
    if len(degrees.partition(".")[0]) > len("180"):
        return _of_minutes(float(degrees))
    return float(degrees) + float(minutes or 0) / 60 + float(seconds or 0) / 3600


def _of_minutes(value: float) -> float:
    degrees, minutes = divmod(value, 100)
    return degrees + minutes / 60


def _signed(degrees: float, letter: str) -> float:
    return -degrees if letter.upper() in ("S", "W") else degrees


# gpmd

_FIX = 2  # of GPSF: 0 is none, 2 and 3 are of two and three dimensions


def gpmd_positions(content: bytes) -> list[Position]:
    """Those of a packet of GoPro's: of GPS9, or else of GPS5. Raises `ValueError` where it is damaged."""
    if not content.startswith(b"DEVC"):
        raise ValueError("no data of a camera")
    found: dict[bytes, list[Position]] = {}
    for device_key, device in _entries(content):
        for stream_key, stream in _entries(device) if device_key == b"DEVC" else ():
            entries = dict(_entries(stream)) if stream_key == b"STRM" else {}
            for key, read in ((b"GPS9", _gps9), (b"GPS5", _gps5)):
                if key in entries:
                    found.setdefault(key, []).extend(filter(_is_place, read(entries[key], entries)))
    return found.get(b"GPS9") or found.get(b"GPS5") or []


def _entries(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of each; values are filled up to a multiple of 4 bytes."""
    at = 0
    while at + 8 <= len(content):
        key, _, size, count = struct.unpack_from(">4scBH", content, at)
        if key == b"\0\0\0\0":
            return
        at += 8
        if at + size * count > len(content):
            raise ValueError("cut off")
        yield key, content[at : at + size * count]
        at += -(-size * count // 4) * 4


def _gps5(content: bytes, beside: dict[bytes, bytes]) -> list[Position]:
    """Latitude, longitude, altitude, speed over ground and in space, as int32."""
    fix = beside.get(b"GPSF", b"")
    if fix and int.from_bytes(fix[:4]) < _FIX:
        return []
    rows = np.frombuffer(content[: len(content) // 20 * 20], ">i4").reshape(-1, 5) / _scales(beside, 5)
    return [Position(row[0], row[1], row[3] * _KMH["m/s"]) for row in rows.tolist()]


def _gps9(content: bytes, beside: dict[bytes, bytes]) -> list[Position]:
    """As GPS5, then days since 2000 and seconds, and, as uint16, how exact it is and the fix."""
    scales = _scales(beside, 9)
    kinds = np.dtype([("place", ">i4", 7), ("quality", ">u2", 2)])
    rows = np.frombuffer(content[: len(content) // kinds.itemsize * kinds.itemsize], kinds)
    places, fixes = rows["place"] / scales[:7], rows["quality"][:, 1] / scales[8]
    return [
        Position(row[0], row[1], row[3] * _KMH["m/s"])
        for row, fix in zip(places.tolist(), fixes.tolist(), strict=True)
        if fix >= _FIX
    ]


def _scales(beside: dict[bytes, bytes], count: int) -> NDArray[np.float64]:
    """What the numbers are to be divided by: 16 or 32 bits each."""
    content = beside.get(b"SCAL", b"")
    width = len(content) // count
    if width not in (2, 4) or len(content) != width * count:
        raise ValueError("without scales")
    scales = np.frombuffer(content, f">i{width}").astype(np.float64)
    if not scales.all():
        raise ValueError("a scale of 0")
    return scales
