"""Open a media file, and nothing but that file, whatever its content or its name says.

FFmpeg is given a descriptor of the open file and may use no other protocol: a playlist, a concat script or a session
description finds nothing that it could open, and a name with a colon, a percent sign or a leading dash is but a name.
"""

from __future__ import annotations

import codecs
import errno
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer

from ..errors import SourceError
from .sequence import is_sequence, sequence_stream

MAX_PIXELS = 1 << 24  # 4096 x 4096; a run then stays below 1 GiB, and cameras up to 5.3K are served
_TEXT_ART = frozenset({"tty", "bin", "xbin", "adf", "idf"})  # FFmpeg plays any text file as a terminal's screen
_TEXT = "not a video, but text"
_LISTS = {
    b"#EXTM3U": "a playlist",
    b"ffconcat": "a list of files",
    b"v=0": "a description of a network stream",
    b"<MPD": "a playlist",
    b"[playlist]": "a playlist",
}


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


def declared_size(path: Path) -> tuple[int, int]:
    """Width and height of the largest pictures that the container tells of; (0, 0) where it does not.

    Nothing is decoded: a decoder that may not make pictures of a size forgets which it was.
    """
    with suppress(av.FFmpegError, OSError), open_container(path, decoders="none") as container:
        return max(((stream.width, stream.height) for stream in container.streams.video), default=(0, 0))
    return 0, 0


def open_container(
    path: Path, *, max_pixels: int = MAX_PIXELS, hwaccel: HWAccel | None = None, decoders: str | None = None
) -> InputContainer:
    """As `open_file`, for those who have words of their own for what FFmpeg and the system raise.

    Args:
        path: of a file.
        max_pixels: larger pictures are not decoded.
        hwaccel: to decode with.
        decoders: those that may be used, by FFmpeg's names; `None` for all.

    Raises:
        OSError, av.FFmpegError: it cannot be opened, or is no regular file.
        RuntimeError, NotImplementedError: `hwaccel` does not know the codec.
    """
    options = {"max_pixels": str(max_pixels)} if decoders is None else {"codec_whitelist": decoders}
    if is_sequence(path):
        pictures = sequence_stream(path, lambda picture: os.fdopen(open_regular(picture), "rb"))
        # Without parsers: that of PNG would take what follows a damaged picture for its rest.
        options |= {"protocol_whitelist": "", "fflags": "noparse"}
        return av.open(pictures, "r", format="matroska", options=options)
    descriptor = open_regular(path)
    if sys.platform == "win32":  # FFmpeg's C library may not be the one whose descriptors these are
        options["protocol_whitelist"] = ""
        return av.open(os.fdopen(descriptor, "rb"), options=options, metadata_errors="replace", hwaccel=hwaccel)
    options |= {"fd": str(descriptor), "protocol_whitelist": "fd"}
    try:
        # Cameras write metadata in any encoding; strict decoding would refuse the video for its title.
        return av.open("fd:", options=options, metadata_errors="replace", hwaccel=hwaccel)
    finally:
        os.close(descriptor)  # FFmpeg has made one of its own


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


def _what_it_is(path: Path, exc: Exception) -> str:
    """In words, why it could not be opened."""
    if isinstance(exc, av.FFmpegError):
        return _what_it_holds(path) or f"not a video that can be read ({exc.strerror}); is the file complete?"
    if isinstance(exc, FileNotFoundError | NotADirectoryError):
        return "no such file"
    if path.is_dir():
        return "is a folder, not a video"
    if not path.is_file():
        return "not a file, but a pipe, a device or a socket"
    return f"cannot be read ({getattr(exc, 'strerror', None) or exc})"


def _what_it_holds(path: Path) -> str | None:
    """What a file is that is no video, where people would know it by its name."""
    with suppress(OSError), path.open("rb") as file:
        head = file.read(64).lstrip()
        if not head:
            return "not a video: the file is empty"
        for mark, kind in _LISTS.items():
            if head.startswith(mark):
                return f"not a video, but {kind}; what it names is not opened, name the video itself"
        if _is_text(head):
            return _TEXT
    return None


def _is_text(head: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # it may end in the middle of a letter
    except UnicodeDecodeError:
        return False
    return all(letter.isprintable() or letter.isspace() for letter in text)
