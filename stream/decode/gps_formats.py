"""What cameras write of where they are, and how fast they go: bytes to positions.

Text is read as NMEA sentences, or as degrees and a speed in the ways in which people write them. GoPro's `gpmd` is a
tree of keys and values: https://github.com/gopro/gpmf-parser. Of Novatek's boxes the maker tells nothing:
https://sergei.nz/extracting-gps-data-from-viofo-a119-and-other-novatek-powered-cameras/
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from functools import reduce
from operator import xor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

TEXTS = ("mov_text", "subrip", "text", "webvtt", "ass")  # FFmpeg's names of subtitles that are text
_MOST_TEXT = 4096  # characters of one that are looked at
_KMH = {"km/h": 1.0, "kmh": 1.0, "kph": 1.0, "mph": 1.609344, "m/s": 3.6, "kn": 1.852, "kt": 1.852}
_FASTEST = 1000  # km/h, of what is on a road
_LEAST_FIX = 2  # of GoPro's: 0 is none, 2 and 3 are of two and three dimensions
_STATE = re.compile(rb"([AV])([NS])([EW])\0")  # of Novatek's, behind the time; A is a fix

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


class Fix(NamedTuple):
    latitude: float  # degrees, north and
    longitude: float  # east are positive
    speed_kmh: float  # nan where it is not told


def text_of(codec: str, content: bytes) -> str:
    """What a packet of subtitles says, without marks for its looks; `codec` is one of `TEXTS`."""
    if codec == "mov_text":
        content = content[2 : 2 + int.from_bytes(content[:2])]  # after the text there may be styles
    text = content.decode("utf-8", errors="replace")
    if codec == "ass":
        text = text.split(",", 8)[-1].replace(r"\N", "\n")
    return re.sub(r"<[^<>]{0,99}>|\{\\[^{}]{0,99}\}", "", text).strip("\0 \r\n\t")


def text_fixes(text: str) -> list[Fix]:
    """Those of NMEA sentences; else one, if degrees are written there."""
    text = text[:_MOST_TEXT]
    found = _nmea(text) if "$G" in text else _written(text)
    return list(filter(is_fix, found))


def _nmea(text: str) -> list[Fix]:
    """Of RMC, which tells the speed, too; where there is none, of GGA.

    Raises:
        ValueError: a checksum is wrong, or a field no number.
    """
    found: dict[str, list[Fix]] = {"RMC": [], "GGA": []}
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
        found[kind].append(Fix(latitude, longitude, speed))
    return found["RMC"] or found["GGA"]


def _written(text: str) -> list[Fix]:
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
    return [Fix(*place, float(speed[1]) * _KMH[speed[2].lower()] if speed else np.nan)]


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


def gpmd_fixes(content: bytes) -> list[Fix]:
    """Those of a packet of GoPro's: of GPS9, or else of GPS5. Raises `ValueError` where it is damaged."""
    if not content.startswith(b"DEVC"):
        raise ValueError("no data of a camera")
    found: dict[bytes, list[Fix]] = {}
    for device_key, device in _entries(content):
        for stream_key, stream in _entries(device) if device_key == b"DEVC" else ():
            entries = dict(_entries(stream)) if stream_key == b"STRM" else {}
            for key, read in ((b"GPS9", _gps9), (b"GPS5", _gps5)):
                if key in entries:
                    found.setdefault(key, []).extend(filter(is_fix, read(entries[key], entries)))
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


def _gps5(content: bytes, beside: dict[bytes, bytes]) -> list[Fix]:
    """Latitude, longitude, altitude, speed over ground and in space, as int32."""
    fix = beside.get(b"GPSF", b"")
    if fix and int.from_bytes(fix[:4]) < _LEAST_FIX:
        return []
    rows = np.frombuffer(content[: len(content) // 20 * 20], ">i4").reshape(-1, 5) / _scales(beside, 5)
    return [Fix(row[0], row[1], row[3] * _KMH["m/s"]) for row in rows.tolist()]


def _gps9(content: bytes, beside: dict[bytes, bytes]) -> list[Fix]:
    """As GPS5, then days since 2000 and seconds, and, as uint16, how exact it is and the fix."""
    scales = _scales(beside, 9)
    kinds = np.dtype([("place", ">i4", 7), ("quality", ">u2", 2)])
    rows = np.frombuffer(content[: len(content) // kinds.itemsize * kinds.itemsize], kinds)
    places, fixes = rows["place"] / scales[:7], rows["quality"][:, 1] / scales[8]
    return [
        Fix(row[0], row[1], row[3] * _KMH["m/s"])
        for row, fix in zip(places.tolist(), fixes.tolist(), strict=True)
        if fix >= _LEAST_FIX
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


def box_fix(content: bytes) -> tuple[int, Fix | None]:
    """Second of the day, and where it was then, in degrees and minutes, and knots; no place without a fix.

    Raises:
        ValueError: it is no such box.
    """
    if content[4:12] == b"freeGPS ":
        for match in _STATE.finditer(content, 36, len(content) - 12):
            hour, minute, second, _, month, day = struct.unpack_from("<6I", content, match.start() - 24)
            if hour < 24 and minute < 60 and second < 60 and 1 <= month <= 12 and 1 <= day <= 31:
                state, south, west = (letter.decode() for letter in match.groups())
                latitude, longitude, knots = struct.unpack_from("<3f", content, match.end())
                place = _signed(_of_minutes(latitude), south), _signed(_of_minutes(longitude), west)
                fix = Fix(*place, knots * _KMH["kn"]) if state == "A" else None
                return hour * 3600 + minute * 60 + second, fix
    raise ValueError("no box of Novatek's")


def is_fix(fix: Fix) -> bool:
    """Cameras without one write 0, 0, or anything."""
    is_place = abs(fix.latitude) <= 90 and abs(fix.longitude) <= 180 and fix[:2] != (0, 0)
    return is_place and not fix.speed_kmh > _FASTEST  # nor is it where that is not told
