"""What a drive carries besides pictures and sound, into the file of its overlay: tags, chapters, subtitles and data.

Times move with the pictures, which begin at 0 s. Where a container takes a track by the packet it is copied; subtitles
that are text are written as the container has text.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

import av
from av.container import OutputContainer
from av.stream import Stream

from ..decode.gps import codec_of
from ..decode.gps_formats import TEXTS, text_of
from ..frames import Carried
from .sound_tracks import UNUSABLE, Track, describe

COMMENT = "roadmask overlay"  # in the file's metadata, by which it is known not to be a source

_OF_THE_FILE = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration"}  # not of the drive
_DATES = {"creation_time", "date", "date_recorded", "creation_date", "com.apple.quicktime.creationdate"}
_DAY = len("2026-05-01")
_TIME_CODE = re.compile(r"(\d\d):(\d\d):(\d\d)([:;.])(\d\d)", re.ASCII)
# What an MP4 has places of its own for. All others it takes as keys, and then these as well.
_MP4_TAGS = {
    *("title", "artist", "album_artist", "composer", "album", "date", "comment", "genre", "copyright", "grouping"),
    *("lyrics", "description", "synopsis", "show", "episode_id", "network", "keywords", "creation_time", "location"),
}
_MOV_TAGS = {
    *("artist", "title", "author", "album", "date", "comment", "genre", "copyright", "make", "model", "location"),
    *("keywords", "creation_time"),
}
_PLACES = {".mp4": _MP4_TAGS, ".mov": _MOV_TAGS}

# Finer than those of pictures and sound: FFmpeg compares ticks of all tracks as they stand, to see where a text has
# ended, and would mark ends between texts that follow each other. Where one is due it is marked here.
_TICK = Fraction(1, 100_000)
_NO_TEXT = b"\0\0"
_LATE_S = Fraction(1, 10)  # by which the pictures may begin later than the first data that goes with them

_NO_STYLE = b"[Script Info]"  # all that an encoder of mov_text must be told before it makes a track


def tags_for(carried: Carried, *, since_s: Fraction, rate: Fraction | None = None) -> dict[str, str]:
    """The tags of an overlay whose first picture is so much later than that of the drive, which has such a rate."""
    tags = {}
    for name, value in carried.tags.items():
        name = name.lower() if name.lower() in _MP4_TAGS | _MOV_TAGS | _DATES | {"timecode"} else name
        base, _, language = name.rpartition("-")
        if name.lower() in _OF_THE_FILE or (len(language) == 3 and carried.tags.get(base) == value):
            continue
        if name in _DATES:
            value = _later(value, since_s)
        if name == "timecode" and since_s:
            value = _later_code(value, since_s, rate)
        if value or name not in ("creation_time", "timecode"):  # FFmpeg takes the first only as a date
            tags[name] = value
    theirs = tags.get("comment", "")
    return tags | {"comment": theirs if theirs.startswith(COMMENT) else f"{COMMENT}: {theirs}" if theirs else COMMENT}


def _later(date: str, by_s: Fraction) -> str:
    """A date and time moved; a day alone stays. Empty where it is none."""
    date = date.rpartition(";")[2]  # FFmpeg 9 joins that of an MP4's header, in whole seconds, and that of its keys
    try:
        moved = datetime.fromisoformat(date) + timedelta(seconds=float(by_s))
    except (ValueError, OverflowError):
        return ""
    if len(date) <= _DAY or not by_s:
        return date
    text = moved.isoformat(timespec="microseconds" if moved.microsecond else "seconds")
    return text.removesuffix("+00:00") + "Z" if date.endswith("Z") else text


def _later_code(code: str, by_s: Fraction, rate: Fraction | None) -> str:
    """A time code moved; empty where it is none. Behind a `;` numbers are dropped, so that it keeps to the clock."""
    matched = _TIME_CODE.fullmatch(code)
    if matched is None or not rate:
        return ""
    hour, minute, second, number = (int(matched[group]) for group in (1, 2, 3, 5))
    base = round(rate)
    dropped = 0 if matched[4] == ":" else base // 15  # of the first numbers of a minute, but for each tenth
    minutes = 60 * hour + minute
    frames = (60 * minutes + second) * base + number - dropped * (minutes - minutes // 10) + round(by_s * rate)
    tens, rest = divmod(frames, 600 * base - 9 * dropped)
    frames += dropped * (9 * tens + max(rest - dropped, 0) // (60 * base - dropped))
    seconds, number = divmod(frames, base)
    hour, minute, second = seconds // 3600 % 24, seconds // 60 % 60, seconds % 60
    return f"{hour:02}:{minute:02}:{second:02}{matched[4]}{number:02}"


def needs_keys(tags: Mapping[str, str], suffix: str) -> bool:
    """Whether the container of that suffix has no place for one of them, unless it is told to write keys."""
    return suffix in _PLACES and not tags.keys() <= _PLACES[suffix]


def chapters_for(carried: Carried, *, shift: Fraction, until: Fraction) -> list[Any]:
    """As PyAV takes them, in microseconds: those that a run shows some of.

    Args:
        carried: by the file.
        shift: seconds to be taken from all times.
        until: where the run ended, in seconds of the file.
    """
    chapters: list[Any] = []
    for chapter in carried.chapters:
        begin, end = max(chapter.begin_s - shift, Fraction(0)), min(chapter.end_s, until) - shift
        if begin < end:
            start, stop = (round(time * av.time_base) for time in (begin, end))
            unit, tags = Fraction(1, av.time_base), dict(chapter.tags)
            chapters.append({"id": len(chapters), "start": start, "end": stop, "time_base": unit, "metadata": tags})
    return chapters


def name_of(stream: Stream) -> str:
    """For people: data (GoPro SOS)."""
    codec = codec_of(stream) or (stream.name if stream.type == "data" else "")
    own = stream.metadata.get("handler_name") or stream.metadata.get("filename") or ""
    return " ".join(filter(None, (stream.type, codec, own.strip() and f"({own.strip()})")))


def open_carried(stream: Stream, target: OutputContainer, *, shift: Fraction, until: Fraction | None) -> Track | None:
    """A twin of subtitles or data in `target`; `None` where it takes none.

    Args:
        stream: of the source.
        target: whose header is not yet written.
        shift: seconds to be taken from all times.
        until: where the run ends, in seconds of the source, if that is known.
    """
    codec = codec_of(stream) if stream.type == "subtitle" else ""
    own = "subrip" if target.format.name == "matroska" else "mov_text"
    ways: list[tuple[Callable[[OutputContainer], Stream], str]] = []
    if codec != "mov_text" or own == codec:
        ways.append((lambda container: container.add_stream_from_template(stream), ""))
    if codec in TEXTS:
        ways.append((_add_subrip if own == "subrip" else _add_mov_text, codec))
    for add, from_codec in ways:
        if _takes(target, add):
            twin = add(target)
            describe(twin, stream)
            if own == "mov_text" and stream.type == "subtitle":
                twin.time_base = _TICK
            return CarriedTrack(twin, from_codec, own, shift=shift, until=until)
    return None


def _takes(target: OutputContainer, add: Callable[[OutputContainer], Stream]) -> bool:
    """Whether the muxer begins a file with such a track, tried in memory: it says no when it is too late."""
    try:
        with av.open(io.BytesIO(), "w", format=target.format.name, container_options=target.container_options) as trial:
            add(trial)
            trial.start_encoding()
    except UNUSABLE:
        return False
    return True


def _add_subrip(container: OutputContainer) -> Stream:
    return container.add_mux_stream("subrip")


def _add_mov_text(container: OutputContainer) -> Stream:
    twin = container.add_stream("mov_text")
    twin.codec_context.subtitle_header = _NO_STYLE
    return twin


class CarriedTrack:
    """Subtitles or data, packet by packet. Of a text that begins before the pictures, or goes on after, a part is left.

    Args:
        twin: the track in the target.
        from_codec: of the source, where its text is to be written anew; empty where packets stay as they are.
        own: FFmpeg's name of the target's kind of text.
        shift: seconds to be taken from all times.
        until: where the run ends, in seconds of the source, if that is known.
    """

    made = ""

    def __init__(self, twin: Stream, from_codec: str, own: str, *, shift: Fraction, until: Fraction | None) -> None:
        self.what = "subtitles" if twin.type == "subtitle" else "data"
        self._twin = twin
        self._from_codec = from_codec
        self._is_mov_text = own == "mov_text" and twin.type == "subtitle"
        self._shift = shift
        self._until = until if until is None else until - shift
        self._packets: list[Any] = []
        self._last = Fraction(-1)  # when the last one begins
        self._end: Fraction | None = None  # of the last text, until it is marked; others say how long they are shown

    def take(self, packet: Any) -> bool:
        unit = packet.time_base
        begin = packet.pts * unit - self._shift
        end = begin + (packet.duration or 0) * unit
        if self.what == "subtitles":
            end = end if self._until is None else min(end, self._until)
        elif begin < -_LATE_S:
            return True  # nobody can cut it
        is_outside = begin < 0 >= end or (self._until is not None and begin >= self._until)
        begin, content = max(begin, Fraction(0)), self._written(bytes(packet))
        if is_outside or content in (b"", _NO_TEXT):
            return True
        if begin < self._last or (begin == self._last and self._is_mov_text):
            return False
        self._mark_end(begin)
        self._keep(content, begin, end - begin, unit)
        self._last, self._end = begin, end if self._is_mov_text else None
        return True

    def _written(self, content: bytes) -> bytes:
        if not self._from_codec:
            return content
        text = text_of(self._from_codec, content).encode()
        return struct.pack(">H", len(text)) + text if text and self._is_mov_text else text

    def _mark_end(self, until: Fraction) -> None:
        """Of the last text, where that is over before."""
        if self._end is not None and self._end < until:
            self._keep(_NO_TEXT, self._end, _TICK, _TICK)
            self._end = None

    def _keep(self, content: bytes, begin: Fraction, length: Fraction, unit: Fraction) -> None:
        packet: Any = av.Packet(content)
        packet.pts = packet.dts = round(begin / unit)
        packet.duration, packet.time_base = round(length / unit), unit
        packet.is_keyframe, packet.stream = True, self._twin
        self._packets.append(packet)

    def ready(self, until: Fraction) -> list[Any]:
        self._mark_end(until)
        packets, self._packets = self._packets, []
        return packets

    rest = ready
