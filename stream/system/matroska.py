"""Write Matroska with one video track and one text track, a cluster for each picture and its line.

FFmpeg's muxer holds back what it is given until more comes, and cuts clusters by what has come together. Here a picture
is in the file when `add` returns, and where the file is cut between two of them, going on gives the same bytes.

The format is RFC 9559, its elements are EBML, RFC 8794.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from .disk import AppendedFile

_APP = b"roadmask"
_UNKNOWN_SIZE = b"\x01" + b"\xff" * 7  # of a segment that still grows
_EBML, _SEGMENT, _SEEK_HEAD, _VOID = 0x1A45DFA3, 0x18538067, 0x114D9B74, 0xEC
_INFO, _TRACKS, _ATTACHMENTS, _CLUSTER, _CUES = 0x1549A966, 0x1654AE6B, 0x1941A469, 0x1F43B675, 0x1C53BB6B
_TAGS = 0x1254C367
_TIME = 0xE7  # of a cluster, milliseconds
_CLUSTER_HEAD = struct.Struct(">IBIBBQ")  # what `_cluster` begins with, up to and with its time
_VIDEO_TRACK, _TEXT_TRACK = 1, 2

_Late = int | None  # what is not known before the end


@dataclass(frozen=True, slots=True)
class Tracks:
    """What a file says before its first picture."""

    codec: str  # Matroska's name
    private: bytes  # the codec's own header
    width: int
    height: int
    text_title: str
    attachment: tuple[str, str, bytes]  # name, type, content


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where a picture and its line are in the file."""

    offset: int
    end: int
    time_ms: int


class MatroskaWriter:
    """Appends pictures, each with a line, behind the first `keep` of them, which must be there; 0 begins anew.

    Raises:
        OSError: it cannot be written.
        ValueError: what is there says something else of its tracks.
    """

    def __init__(self, path: Path, tracks: Tracks, *, keep: int = 0) -> None:
        self._tracks = tracks
        head = _head(tracks)
        # For the index: 16 bytes a picture.
        self._offsets, self._times_ms = array("Q"), array("Q")
        end = 0
        for cluster in _kept(path, tracks, keep) if keep else ():
            self._note(cluster.offset, cluster.time_ms)
            end = cluster.end
        self._file = AppendedFile(path, keep=end, head=head)
        if keep:
            self._file.patch(0, head)  # a file that was whole is not any more

    def add(self, time_ms: int, picture: bytes, line: bytes) -> None:
        offset = self._file.size
        self._file.append(_cluster(time_ms, picture, line))
        self._note(offset, time_ms)

    def _note(self, offset: int, time_ms: int) -> None:
        self._offsets.append(offset)
        self._times_ms.append(time_ms)

    def sync(self) -> None:
        self._file.sync()

    def finish(self, tags: Mapping[str, str]) -> None:
        """Write the index, and where it is, and what is to be told of the whole."""
        segment = _segment_begin()
        cues_at = self._file.size - segment
        offsets = (offset - segment for offset in self._offsets)
        self._file.append(_element(_CUES, b"".join(map(_cue, self._times_ms, offsets))))
        tags_at = self._file.size - segment if tags else None
        if tags:
            self._file.append(_tags(tags))
        size, last_ms = self._file.size - segment, self._times_ms[-1] if self._times_ms else 0
        head = _head(self._tracks, size=size, duration_ms=last_ms + 1, cues_at=cues_at, tags_at=tags_at)
        self._file.patch(0, head)

    def close(self) -> None:
        self._file.close()


def picture_stream(codec: str, private: bytes, pictures: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
    """A stream of pictures alone, each with its time in milliseconds, without an index; their sizes are in themselves.

    `private` is the codec's own header.
    """
    info = _element(_INFO, _info())
    size = _element(0xE0, _number(0xB0, 1) + _number(0xBA, 1))
    track = _track(_VIDEO_TRACK, 1, is_default=True) + _element(0x86, codec.encode()) + _element(0x63A2, private)
    tracks = _element(_TRACKS, _element(0xAE, track + size))
    yield _ebml() + _identifier(_SEGMENT) + _UNKNOWN_SIZE + info + tracks
    for time_ms, picture in pictures:
        yield _element(_CLUSTER, _number(_TIME, time_ms) + _block(picture))


def _kept(path: Path, tracks: Tracks, count: int) -> list[Cluster]:
    """The first clusters of a file with such tracks."""
    begin = len(_head(tracks))
    fixed = begin - len(_fixed(tracks))
    with path.open("rb") as file:
        if file.read(begin)[fixed:] != _fixed(tracks):
            raise ValueError("its tracks are not like those that would be written now")
        clusters = list(islice(_clusters(file, begin), count))
    if len(clusters) < count:
        raise ValueError(f"it holds {len(clusters)} whole masks, not {count}")
    return clusters


def _clusters(file: BinaryIO, offset: int) -> Iterator[Cluster]:
    """The whole ones from there on."""
    size = os.fstat(file.fileno()).st_size
    while True:
        file.seek(offset)
        head = file.read(_CLUSTER_HEAD.size)
        if len(head) < _CLUSTER_HEAD.size:
            return
        element, first, rest, _, _, time_ms = _CLUSTER_HEAD.unpack(head)
        end = offset + 9 + rest
        if element != _CLUSTER or first != 0x08 or end > size:
            return
        yield Cluster(offset, end, time_ms)
        offset = end


def _cluster(time_ms: int, picture: bytes, line: bytes) -> bytes:
    video = _block(picture)
    text = _element(0xA1, struct.pack(">BhB", 0x80 | _TEXT_TRACK, 0, 0) + line)
    shown_ms = _element(0x9B, b"\x01")
    content = _element(_TIME, struct.pack(">Q", time_ms)) + video + _element(0xA0, text + shown_ms)
    # Its size in five bytes whatever it is, so that its time is at a fixed place.
    return _identifier(_CLUSTER) + b"\x08" + struct.pack(">I", len(content)) + content


def _block(picture: bytes) -> bytes:
    # Track, time after the cluster's (int16), flags (0x80: can be shown without others).
    return _element(0xA3, struct.pack(">BhB", 0x80 | _VIDEO_TRACK, 0, 0x80) + picture)


def _cue(time_ms: int, offset: int) -> bytes:
    place = _number(0xF7, _VIDEO_TRACK) + _number(0xF1, offset)
    return _element(0xBB, _number(0xB3, time_ms) + _element(0xB7, place))


def _tags(tags: Mapping[str, str]) -> bytes:
    simple = (_element(0x45A3, name.encode()) + _element(0x4487, value.encode()) for name, value in tags.items())
    content = _element(0x63C0, b"") + b"".join(_element(0x67C8, tag) for tag in simple)
    return _element(_TAGS, _element(0x7373, content))


def _segment_begin() -> int:
    return len(_ebml()) + 4 + len(_UNKNOWN_SIZE)


def _head(
    tracks: Tracks, *, size: _Late = None, duration_ms: _Late = None, cues_at: _Late = None, tags_at: _Late = None
) -> bytes:
    """All before the first cluster. It takes the same room whether or not a number is known yet."""
    long = _UNKNOWN_SIZE if size is None else struct.pack(">Q", size | 1 << 56)
    duration = _void(11) if duration_ms is None else _element(0x4489, struct.pack(">d", duration_ms))
    info = _element(_INFO, _info() + duration)
    seeks = 5 * len(_seek(_INFO, 0)) + 5  # length of the seek head
    tracks_at = seeks + len(info)
    attachments_at = tracks_at + len(_track_list(tracks))
    late = b"".join(
        _void(len(_seek(element, 0))) if at is None else _seek(element, at)
        for element, at in ((_CUES, cues_at), (_TAGS, tags_at))
    )
    known = _seek(_INFO, seeks) + _seek(_TRACKS, tracks_at) + _seek(_ATTACHMENTS, attachments_at)
    return _ebml() + _identifier(_SEGMENT) + long + _element(_SEEK_HEAD, known + late) + info + _fixed(tracks)


def _info() -> bytes:
    return _number(0x2AD7B1, 1_000_000) + _element(0x4D80, _APP) + _element(0x5741, _APP)


def _fixed(tracks: Tracks) -> bytes:
    return _track_list(tracks) + _attachment(*tracks.attachment)


def _track_list(tracks: Tracks) -> bytes:
    size = _element(0xE0, _number(0xB0, tracks.width) + _number(0xBA, tracks.height))
    codec = _element(0x86, tracks.codec.encode()) + _element(0x63A2, tracks.private)
    video = _track(_VIDEO_TRACK, 1, is_default=True) + codec + size
    # Not a default one: players are not to show it unasked.
    text = _track(_TEXT_TRACK, 17, is_default=False) + _element(0x86, b"S_TEXT/UTF8")
    text += _element(0x536E, tracks.text_title.encode())
    return _element(_TRACKS, _element(0xAE, video) + _element(0xAE, text))


def _attachment(name: str, kind: str, content: bytes) -> bytes:
    file = _element(0x466E, name.encode()) + _element(0x4660, kind.encode()) + _element(0x465C, content)
    return _element(_ATTACHMENTS, _element(0x61A7, file + _number(0x46AE, 1)))


def _track(number: int, kind: int, *, is_default: bool) -> bytes:
    no_lacing = _number(0x9C, 0)
    names = _number(0xD7, number) + _number(0x73C5, number)  # the second need not be unique beyond this file
    return names + _number(0x83, kind) + _number(0x88, is_default) + no_lacing


def _ebml() -> bytes:
    limits = _number(0x42F2, 4) + _number(0x42F3, 8)
    kind = _element(0x4282, b"matroska") + _number(0x4287, 4) + _number(0x4285, 2)
    return _element(_EBML, _number(0x4286, 1) + _number(0x42F7, 1) + limits + kind)


def _seek(element: int, offset: int) -> bytes:
    """Where in the segment another element is."""
    return _element(0x4DBB, _element(0x53AB, _identifier(element)) + _element(0x53AC, struct.pack(">Q", offset)))


def _void(length: int) -> bytes:
    """Room for something else."""
    return _element(_VOID, b"\x00" * (length - 2))


def _number(element: int, value: int) -> bytes:
    return _element(element, value.to_bytes(max((value.bit_length() + 7) // 8, 1), "big"))


def _element(element: int, content: bytes) -> bytes:
    return _identifier(element) + _size(len(content)) + content


def _identifier(element: int) -> bytes:
    return element.to_bytes((element.bit_length() + 7) // 8, "big")


def _size(value: int) -> bytes:
    """In as few bytes as can be; a size of ones alone would mean that it is not known."""
    length = next(length for length in range(1, 9) if value < (1 << 7 * length) - 1)
    return (value | 1 << 7 * length).to_bytes(length, "big")
