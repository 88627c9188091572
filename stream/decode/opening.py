"""Open a media file, and nothing but that file, whatever its content or its name says.

FFmpeg is given a descriptor of the open file and may use no other protocol: a playlist, a concat script or a session
description finds nothing that it could open, and a name with a colon, a percent sign or a leading dash is but a name.

Pictures in files of their own are one video, too: `frames/%05d.png`, as FFmpeg writes such names, at 25 a second.
"""

from __future__ import annotations

import codecs
import errno
import io
import logging
import os
import re
import stat
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer

from ..errors import SourceError
from ..system.matroska import picture_stream
from .boxes import FIRST_KINDS, INDEX, boxes

log = logging.getLogger(__name__)

# For `av.open`: cameras write tags in any encoding, which are read and written as they are, byte for byte, where PyAV
# would else refuse the video for its title. PyAV 19 and newer do so without being told, and have no word for it.
ANY_TAGS: dict[str, Any] = {"metadata_errors": "surrogateescape"} if av.__version__ < "19" else {}
MAX_PIXELS = 1 << 24  # 4096 x 4096; a run then stays below 1 GiB, and cameras up to 5.3K are served
_TEXT_ART = frozenset({"tty", "bin", "xbin", "adf", "idf"})  # FFmpeg plays any text file as a terminal's screen
_WEBP_ANIMATION = 0x02  # of a WebP's flags
_TEXT = "not a video, but text"
_TO_PIPE = "but by ffmpeg -protocol_whitelist file,rtp,udp -i FILE -c copy -f mpegts - | roadmask run -"
_LISTS = {
    b"#EXTM3U": "a playlist",
    b"ffconcat": "a list of files",
    b"v=0": "a description of a network stream",
    b"<MPD": "a playlist",
    b"[playlist]": "a playlist",
}

_MOST_BOXES = 100  # looked at for another video; of fragments there are thousands
_ARCHIVES = (b"PK\3\4", b"PK\5\6", b"Rar!", b"7z\xbc\xaf", b"\x1f\x8b")  # ZIP, an empty one, RAR, 7z, gzip

# A disk or a network that fails, a file out of reach, a name that the system does not take.
_UNREADABLE = (errno.EIO, errno.ESTALE, errno.EACCES, errno.ENAMETOOLONG, errno.ELOOP)

_NUMBER = re.compile(r"%(?:0(\d+))?d")
PICTURE_MS = 40  # from one to the next
_NO_PICTURE = b"\0"  # which no decoder takes for one, and so is counted as damage
_CODECS = {
    ".png": b"MPNG",
    ".jpg": b"MJPG",
    ".jpeg": b"MJPG",
    ".tif": b"tiff",
    ".tiff": b"tiff",
    ".jp2": b"mjp2",
}
SEQUENCE_SUFFIXES = frozenset(_CODECS)


def open_file(path: Path, *, max_pixels: int = MAX_PIXELS) -> InputContainer:
    """Open a video for reading.

    Args:
        path: of a file.
        max_pixels: larger pictures are not decoded, before memory is taken for them.

    Raises:
        SourceError: not there, not a file, or not a video that can be read.
    """
    try:
        container = open_container(path, max_pixels=max_pixels)
    except (av.FFmpegError, OSError) as exc:
        raise SourceError(f"{path}: {_what_it_is(path, exc)}") from exc
    if container.format.name in _TEXT_ART:
        container.close()
        raise SourceError(f"{path}: {_TEXT}")
    return container


def why_not_decoded(path: Path) -> str | None:
    """What a file is that can be opened, and that FFmpeg has no decoder for."""
    with suppress(OSError), path.open("rb") as file:
        head = file.read(34)
        if head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and head[20] & _WEBP_ANIMATION:
            return "an animated WebP, which takes PyAV 19; make a video, a GIF or an animated PNG of it first"
    return None


def declared_size(path: Path) -> tuple[int, int]:
    """Width and height of the largest pictures that the container tells of; (0, 0) where it does not.

    Nothing is decoded: a decoder that may not make pictures of a size forgets which it was.
    """
    with suppress(av.FFmpegError, OSError), open_container(path, decoders="none") as container:
        return max(((stream.width, stream.height) for stream in container.streams.video), default=(0, 0))
    return 0, 0


def open_container(
    path: Path,
    *,
    max_pixels: int = MAX_PIXELS,
    hwaccel: HWAccel | None = None,
    decoders: str | None = None,
    begin: int = 0,
) -> InputContainer:
    """As `open_file`, for those who have words of their own for what FFmpeg and the system raise.

    Args:
        path: of a file.
        max_pixels: larger pictures are not decoded.
        hwaccel: to decode with.
        decoders: those that may be used, by FFmpeg's names; `None` for all.
        begin: bytes of a transport stream that are skipped.

    Raises:
        OSError, av.FFmpegError: it cannot be opened, or is no regular file.
        RuntimeError, NotImplementedError: `hwaccel` does not know the codec.
    """
    options = {"max_pixels": str(max_pixels)} if decoders is None else {"codec_whitelist": decoders}
    options |= {"skip_initial_bytes": str(begin)} if begin else {}
    if is_sequence(path):
        pictures = sequence_stream(path, lambda picture: os.fdopen(open_regular(picture), "rb"))
        # Without parsers: that of PNG would take what follows a damaged picture for its rest.
        options |= {"protocol_whitelist": "", "fflags": "noparse"}
        return av.open(pictures, "r", format="matroska", options=options)
    descriptor = open_regular(path)
    opened = partial(av.open, hwaccel=hwaccel, **ANY_TAGS)
    if sys.platform == "win32":  # FFmpeg's C library may not be the one whose descriptors these are
        return opened(os.fdopen(descriptor, "rb"), options=options | {"protocol_whitelist": ""})
    try:
        return opened("fd:", options=options | {"fd": str(descriptor), "protocol_whitelist": "fd"})
    except av.FFmpegError:
        if (end := torn_fragment(path)) is None:
            raise
        return opened(_Beginning(path, end), options=options | {"protocol_whitelist": ""})
    finally:
        os.close(descriptor)  # FFmpeg has made one of its own


def demuxed(container: InputContainer, *streams: Any) -> Iterator[av.Packet[Any]]:
    """As PyAV's `demux`, of files, too, in which streams turn up that they did not have when they were opened."""
    with suppress(IndexError):  # PyAV's, where it comes to flush one of those: all others are flushed by then
        yield from container.demux(*streams)


def torn_fragment(path: Path) -> int | None:
    """Where the head of an MP4's last fragment begins, if that is cut off: FFmpeg then refuses all before it, too."""
    with suppress(OSError), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        found = list(boxes(file, 0, size))
        if found and found[-1].kind == b"moof" and found[-1].end > size and found[0].kind in FIRST_KINDS:
            return found[-1].begin
    return None


def tell_what_is_behind(path: Path) -> None:
    """Warn where an MP4 has another behind it, as files that were joined byte by byte: FFmpeg reads the first alone."""
    with suppress(OSError), path.open("rb") as file:
        kinds = [box.kind for box in islice(boxes(file, 0, os.fstat(file.fileno()).st_size), _MOST_BOXES)]
        if kinds.count(INDEX) > 1:
            log.warning("%s: has another video behind the first, which is not read; join by ffmpeg -f concat", path)


class _Beginning(io.FileIO):
    """A file, up to one of its bytes. It is closed when the container that reads it is gone: PyAV does not do so."""

    def __init__(self, path: Path, end: int) -> None:
        super().__init__(path)
        self._end = end

    def __del__(self) -> None:
        self.close()

    def read(self, size: int | None = -1) -> bytes:
        left = max(self._end - self.tell(), 0)
        return super().read(left if size is None or size < 0 else min(size, left)) or b""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return super().seek(self._end + offset) if whence == os.SEEK_END else super().seek(offset, whence)


def open_regular(path: Path) -> int:
    """A descriptor of the file, which is one: to read from a pipe would wait, and a device is a camera.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    # A pipe that nobody writes to would be waited for in `open` already.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a regular file", str(path))


def _what_it_is(path: Path, exc: av.FFmpegError | OSError) -> str:
    """In words, why it could not be opened."""
    if exc.errno in _UNREADABLE:
        return f"cannot be read ({exc.strerror})"
    if isinstance(exc, av.FFmpegError):
        return _what_it_holds(path) or f"not a video that can be read ({exc.strerror}); is the file complete?"
    if isinstance(exc, FileNotFoundError | NotADirectoryError):
        return "no such file" + _what_was_meant(str(path))
    if path.is_dir():
        return "is a folder, not a video"
    if not path.is_file():
        return "not a file, but a pipe, a device or a socket"
    return f"cannot be read ({getattr(exc, 'strerror', None) or exc})"


def _what_was_meant(word: str) -> str:
    """Where a word looks like the address of a camera, how that is written."""
    if re.match(r"(rtsps?|https?|rtmps?|udp|tcp):", word):
        return "; an address has two slashes, as in rtsp://10.0.0.7/live"
    if re.match(r"\d+(\.\d+){3}(?!\d*\.?\w)", word):
        return f"; a camera there is rtsp://{word} or http://{word}, with the path that its manual tells"
    return "; a webcam is 0, 1, ... or /dev/video0" if re.fullmatch(r"(web)?cam(era)?\d*", word, re.IGNORECASE) else ""


def _what_it_holds(path: Path) -> str | None:
    """What a file is that is no video, where people would know it by its name."""
    with suppress(OSError), path.open("rb") as file:
        head = file.read(64).lstrip()
        if not head:
            return "not a video: the file is empty"
        for mark, kind in _LISTS.items():
            if head.startswith(mark):
                cure = _TO_PIPE if mark == b"v=0" else "name the video itself"
                return f"not a video, but {kind}; what it names is not opened, {cure}"
        if head.startswith(_ARCHIVES):
            return "not a video, but files in an archive; unpack it, and name the folder"
        if _is_text(head):
            return _TEXT
        kinds = [box.kind for box in boxes(file, 0, os.fstat(file.fileno()).st_size)]
        if kinds and kinds[0] in FIRST_KINDS and INDEX not in kinds:
            return (
                "not a video that can be read: cut off before its index (moov) was written; "
                "tools such as untrunc make one, with the help of a whole file of the same camera"
            )
    return None


def _is_text(head: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # it may end in the middle of a letter
    except UnicodeDecodeError:
        return False
    return all(letter.isprintable() or letter.isspace() for letter in text)


def is_sequence(path: Path) -> bool:
    """Whether a name stands for numbered files; a file of that very name is that file."""
    return len(_NUMBER.findall(path.name)) == 1 and not os.path.exists(path)  # noqa: PTH110


def sequence_name(path: Path) -> str:
    """What its results are called: as its folder, or as its files where that has no name."""
    return path.resolve().parent.name or _NUMBER.sub("", path.stem) or "frames"


def pictures_of(path: Path) -> list[Path]:
    """Its files in order; numbers that are missing are told.

    Raises:
        SourceError: there is none, or its suffix is none of such pictures.
    """
    if path.suffix.lower() not in _CODECS:
        raise SourceError(f"{path}: sequences are of {', '.join(_CODECS)}")
    before, width, after = _NUMBER.split(path.name)
    digits = rf"\d{{{width},}}" if width else r"\d+"
    pattern = re.compile(f"{re.escape(before)}({digits}){re.escape(after)}")
    numbered = {}
    if path.parent.is_dir():
        for name in os.listdir(path.parent):  # noqa: PTH208 - thousands of names, of which none is needed as a path
            if match := pattern.fullmatch(name):
                numbered[int(match[1])] = path.parent / name
    if not numbered:
        raise SourceError(f"{path}: no such file, and none of such a number")
    missing = max(numbered) - min(numbered) + 1 - len(numbered)
    if missing:
        log.warning("%s: of the numbers from %d to %d are %d missing", path, min(numbered), max(numbered), missing)
    return [numbered[number] for number in sorted(numbered)]


def sequence_stream(path: Path, opened: Callable[[Path], BinaryIO]) -> io.RawIOBase:
    """The files of a sequence as one Matroska, made as it is read: damage in one harms no other.

    Args:
        path: names the sequence.
        opened: opens one of its files.

    Raises:
        SourceError: as `pictures_of`.
    """
    paths = pictures_of(path)
    # As a "video for windows" track: the header that tells which codec it is (BITMAPINFOHEADER).
    header = struct.pack("<IiiHH4sIiiII", 40, 1, 1, 1, 24, _CODECS[path.suffix.lower()], 0, 0, 0, 0, 0)
    return _Stream(picture_stream("V_MS/VFW/FOURCC", header, _contents(paths, opened)))


def _contents(paths: Sequence[Path], opened: Callable[[Path], BinaryIO]) -> Iterator[tuple[int, bytes]]:
    for number, path in enumerate(paths):
        try:
            with opened(path) as file:
                content = file.read()
        except OSError as exc:
            log.warning("%s: cannot be read (%s)", path, exc.strerror or exc)
            content = _NO_PICTURE
        yield number * PICTURE_MS, content


class _Stream(io.RawIOBase):
    """Pieces of bytes as a file that can be read once."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        if not self._rest:
            self._rest = memoryview(next(self._pieces, b""))
        count = min(len(view), len(self._rest))
        view[:count], self._rest = self._rest[:count], self._rest[count:]
        return count
