"""Where a drive was, and how fast: the positions that cameras write beside the pictures, as a track of times.

They are in subtitles, in GoPro's track `gpmd`, or, of cameras with Novatek's chips (Viofo and many others), in boxes
between the pictures, one a second, of which a list beside the index of the MP4 tells where they are.
"""

from __future__ import annotations

import logging
import os
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
from av.container import InputContainer
from av.stream import Stream
from numpy.typing import NDArray

from ..errors import SourceError
from .boxes import boxes
from .gps_formats import TEXTS, Fix, box_fix, gpmd_fixes, is_fix, text_fixes, text_of
from .opening import demuxed, open_file, open_regular
from .video_stream import DISCARD_ALL, is_read_already

log = logging.getLogger(__name__)

_HELD_S = 1.5  # for which a position is that of the picture, before and after it
_BRIDGED_S = 5.0  # from one position to the next, between which the way is taken to be straight
_SUFFIXES = (".mp4", ".mov")  # of files that may have such boxes
_MOST_BOXES, _MOST_FIXES = 10_000, 86_400  # of other boxes before the list, and in it
_BOX_BYTES = 1024  # of a box, in which its fix is
_DAY_S = 86400
_MOST_WITHOUT = 600  # texts without one, after which a track is not read any further

Read = Callable[[bytes], list[Fix]]  # those of a packet, evenly over its time; a `ValueError` where it is damaged


@dataclass(frozen=True, slots=True, eq=False)
class GpsTrack:
    """Positions in the order of their times."""

    times: NDArray[np.float64]  # (n) seconds on the file's clock, rising
    latitudes: NDArray[np.float64]  # (n) degrees
    longitudes: NDArray[np.float64]  # (n) degrees; beyond 180 where the way leads across it
    speeds: NDArray[np.float64]  # (n) km/h; nan where it is not told

    def at(self, time: float) -> Fix | None:
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
        latitude, longitude, speed = (
            float(values[before] + part * (values[after] - values[before]))
            for values in (self.latitudes, self.longitudes, self.speeds)
        )
        return Fix(latitude, (longitude + 180) % 360 - 180, speed)


def read_gps(path: Path) -> GpsTrack | None:
    """The positions of a file; `None` where it has none. A track of them that cannot be read is told."""
    try:
        with open_file(path) as container:
            return _read(container, path) or _read_boxes(path)
    except (SourceError, OSError) as exc:
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
    found: dict[int, list[tuple[float, Fix]]] = {index: [] for index in readers}
    damaged, without = Counter[int](), Counter[int]()
    for packet in _packets(container, [container.streams[index] for index in readers]):
        index = packet.stream_index
        begin, length = float(packet.pts * packet.time_base), float((packet.duration or 0) * packet.time_base)
        try:
            fixes = readers[index](bytes(packet))
        except ValueError:
            damaged[index] += 1
            continue
        found[index] += [(begin + length * n / len(fixes), one) for n, one in enumerate(fixes)]
        without[index] += not fixes
        if all(not found[at] and without[at] > _MOST_WITHOUT for at in readers):
            break
    best = max(found, key=lambda index: len(found[index]))
    _tell(path, damaged.total(), found[best])
    if not damaged and not found[best] and any(container.streams[index].type == "data" for index in readers):
        log.info("%s: its GPS track holds no position", path)
    return _track(found[best]) if found[best] else None


def _packets(container: InputContainer, streams: Sequence[Stream]) -> Iterator[Any]:
    """Up to the first that cannot be read."""
    try:
        for packet in demuxed(container, streams):
            if packet.pts is not None and packet.size:
                yield packet
    except av.FFmpegError:
        return


def _reader(stream: Stream) -> Read | None:
    """What reads the packets of a track that may hold positions."""
    if stream.type == "data":  # what FFmpeg calls so in an MP4 is GoPro's
        is_gpmd = stream.name == "bin_data" and "mp4" in stream.container.format.name and not is_read_already(stream)
        return gpmd_fixes if is_gpmd else None
    codec = codec_of(stream) if stream.type == "subtitle" else ""
    return (lambda content: text_fixes(text_of(codec, content))) if codec in TEXTS else None


def codec_of(stream: Stream) -> str:
    """FFmpeg's name of it; empty where there is no decoder."""
    return stream.codec_context.codec.canonical_name if stream.codec_context else ""


def _tell(path: Path, damaged: int, found: Sequence[object]) -> None:
    if damaged:
        told = f"of its GPS track {damaged} parts are damaged" if found else "its GPS track is damaged"
        log.warning("%s: %s", path, told)


def _track(found: list[tuple[float, Fix]]) -> GpsTrack:
    rising: list[tuple[float, Fix]] = []
    for time, position in found:
        if not rising or time > rising[-1][0]:
            rising.append((time, position))
    times = np.array([time for time, _ in rising])
    latitudes, longitudes, speeds = np.array([position for _, position in rising]).T
    return GpsTrack(times, latitudes, np.unwrap(longitudes, period=360), speeds)


def gps_boxes(path: Path) -> list[int]:
    """Where in a file the boxes of Novatek's begin."""
    if path.suffix.lower() not in _SUFFIXES:
        return []
    with suppress(OSError), os.fdopen(open_regular(path), "rb") as file:
        begin, end = 0, file.seek(0, os.SEEK_END)
        for kind in (b"moov", b"gps "):
            if (inside := _box(file, begin, end, kind)) is None:
                return []
            begin, end = inside
        file.seek(begin + 8)
        pairs = file.read(min(max(end - begin - 8, 0) // 8, _MOST_FIXES) * 8)
        return [offset for offset, size in struct.iter_unpack(">II", pairs[: len(pairs) // 8 * 8]) if size]
    return []


def _box(file: BinaryIO, at: int, end: int, wanted: bytes) -> tuple[int, int] | None:
    """Begin and end of what is in the first box of that kind."""
    for box in islice(boxes(file, at, end), _MOST_BOXES):
        if box.kind == wanted:
            return box.inside, min(box.end, end)
    return None


def _read_boxes(path: Path) -> GpsTrack | None:
    """Each is of a second; of the camera's clock, by which they are told apart where some are missing."""
    found: list[tuple[float, Fix]] = []
    damaged, first_s = 0, None
    if not (offsets := gps_boxes(path)):
        return None
    with os.fdopen(open_regular(path), "rb") as file:
        for number, offset in enumerate(offsets):
            file.seek(offset)
            try:
                clock_s, fix = box_fix(file.read(_BOX_BYTES))
            except ValueError:
                damaged += 1
                continue
            first_s = clock_s - number if first_s is None else first_s
            if fix and is_fix(fix):
                found.append(((clock_s - first_s) % _DAY_S, fix))
    _tell(path, damaged, found)
    return _track(found) if found else None
