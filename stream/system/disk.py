"""Files that stay: named when they are whole, on disk before anything relies on them, gone on with.

An output has a temporary name until it is whole: `out.partial.mp4`, then `out.mp4`. So a crash leaves something to
play, and nothing that is half done ever stands under the name the user chose.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import av

from ..errors import OutputError, is_failure

log = logging.getLogger(__name__)

NAME_BYTES = 255  # of a file's name, on nearly all file systems
Exit = Callable[[type[BaseException] | None, BaseException | None, TracebackType | None], None]


class PartialOutput:
    """A file or folder in the making, as a context manager; write to `path` inside it.

    Leaving well, or early as was wished (it is whole up to there), moves it to its final name. Leaving by
    any other exception keeps it under the temporary name. Where `used` was never set it is removed instead.

    Args:
        final: the name the user chose.
        overwrite: what has that name now may be replaced, when the new one is whole; and what has the temporary one.
        marker: None for a file. For a folder, the name of a file that only folders made by this sink hold: a folder
            without it is never replaced, as it holds something of the user's.
        ours: a regular expression for the names in such a folder: one with others in it is not replaced, either.

    Raises:
        OutputError: it exists and may not be replaced, or cannot be written. Also on entering and leaving.
    """

    def __init__(self, final: Path, *, overwrite: bool = False, marker: str | None = None, ours: str = ".*") -> None:
        self.final = final
        self.path = partial_path(final)
        self.used = False  # whether something worth keeping has been written
        self.is_ours = False  # set it before entering: what is unfinished there is this run's, and may be replaced
        self.keep_partial = False  # likewise: it is gone on with
        self._marker = marker
        self._overwrite = overwrite
        self._ours = re.compile(ours, re.DOTALL)
        self._check()

    def _check(self) -> None:
        if not self.final.exists():
            return
        if not self.final.is_file() and not self.final.is_dir():
            raise OutputError(f"{self.final}: is a device, a pipe or a socket, which is not replaced; name a file")
        if self._marker is None and self.final.is_dir():
            raise OutputError(f"{self.final}: is a folder; name a file")
        if self._marker is not None and not self.final.is_dir():
            raise OutputError(f"{self.final}: is a file; name a folder")
        if not self._overwrite:
            raise OutputError(f"{self.final}: exists; pass --overwrite to replace it")
        if self._marker is not None and any(self.final.iterdir()) and not (self.final / self._marker).exists():
            raise OutputError(f"{self.final}: holds no {self._marker}, so it is not replaced; name another folder")
        for item in self.final.iterdir() if self._marker is not None else ():
            if not self._ours.fullmatch(item.name):
                raise OutputError(f"{item}: was not made here, so {self.final} is not replaced; move it away")

    def __enter__(self) -> Self:
        with writing(self.final):
            if self.keep_partial:
                self._refuse_missing()
                return self
            self.final.parent.mkdir(parents=True, exist_ok=True)
            if not (self._overwrite or self.is_ours):
                refuse_left(self.final)
            _remove(self.path)
            if self._marker is None:
                self.path.touch()  # a place that cannot be written to is found before the work, not after
            else:
                self.path.mkdir()
        return self

    def _refuse_missing(self) -> None:
        if not (self.path.is_file() if self._marker is None else (self.path / self._marker).is_file()):
            raise OutputError(
                f"{self.path}: is not there any more, so the run cannot go on; pass --overwrite to start anew"
            )
        self.used = True

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        if not self.used:
            _remove(self.path)
        elif not is_failure(exc):
            with writing(self.final):
                self._publish()
        else:
            log.warning("%s: not finished; what was written is in %s", self.final, self.path)

    def _publish(self) -> None:
        if self._marker is None:
            self.path.replace(self.final)
            return
        # A folder cannot be put in place of another in one step: move the old one away, and back if that fails.
        replaced = self.final.with_name(fitting(f".{self.final.name}.replaced"))
        if self.final.is_dir():
            _remove(replaced)
            self.final.replace(replaced)
        try:
            self.path.replace(self.final)
        except OSError:
            if replaced.exists():
                replaced.replace(self.final)
            raise
        _remove(replaced)  # by a run that was killed in between, too


def partial_path(final: Path) -> Path:
    """`out.mp4` to `out.partial.mp4`: the suffix stays, so that players and muxers know the format."""
    return final.with_name(fitting(f"{final.stem}.partial{final.suffix}"))


def fitting(name: str) -> str:
    """The name of a file that is only for a while: cut in its middle where it is too long, and still no other's."""
    encoded = os.fsencode(name)
    if len(encoded) <= NAME_BYTES:
        return name
    head, tail = (part.decode(errors="ignore") for part in (encoded[:200], encoded[-32:]))
    return f"{head}~{zlib.crc32(encoded):08x}~{tail}"


def left_of(final: Path) -> list[Path]:
    """What was written and not finished, under the names that an output has in the making."""
    names = [final]
    if final.suffix.lower() in (".mp4", ".mov", ".mkv"):
        names.append(earlier_path(final))
    if final.suffix.lower() == ".parquet":
        names.append(rows_path(final))
    return [path for path in map(partial_path, names) if _holds_something(path)]


def earlier_path(final: Path) -> Path:
    """Of what a video's run takes over from the one before it; it has the partial name."""
    return final.with_name(fitting(f"{final.stem}.earlier{final.suffix}"))


def rows_path(final: Path) -> Path:
    """Of the rows that a table is made of at its end; it has the partial name."""
    return final.with_name(fitting(f"{final.name}.csv"))


def refuse_left(final: Path) -> None:
    """Raises `OutputError` where something is there that was not finished."""
    for path in left_of(final):
        raise OutputError(f"{path}: is there, and not of this run; move it away, or pass --overwrite to replace it")


def remove_left(final: Path) -> None:
    for path in left_of(final):
        _remove(path)


def _holds_something(path: Path) -> bool:
    if path.is_dir() and not path.is_symlink():
        return any(path.iterdir())
    return path.is_symlink() or (path.exists() and path.stat().st_size > 0)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What goes wrong while `path` is written becomes an `OutputError` of one line."""
    try:
        yield
    except (OSError, av.FFmpegError) as exc:
        raise OutputError(f"{path}: cannot be written ({exc.strerror or exc})") from exc


def closing(path: Path, close: Callable[[], None]) -> Exit:
    """`close` as the last step of writing `path`, for an `ExitStack`.

    Its failure is an `OutputError`, except where an exception is on its way out already: that one came first and is
    the one to tell.
    """

    def leave(_: type[BaseException] | None, exc: BaseException | None, __: TracebackType | None) -> None:
        try:
            with writing(path):
                close()
        except OutputError as failure:
            if not is_failure(exc):
                raise
            if str(failure) != str(exc):
                log.warning("%s", failure)

    return leave


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


class AppendedFile:
    """Nothing waits in memory: what was appended is with the system, and outlives this process.

    A piece that cannot be written in full (the disk is full) leaves no trace.

    Args:
        path: of the file.
        keep: go on behind its first bytes, so many; 0 to begin it anew.
        head: what it then begins with.
    """

    def __init__(self, path: Path, *, keep: int = 0, head: bytes = b"") -> None:
        self.path = path
        self.size = keep
        self._file = path.open("r+b" if keep else "wb", buffering=0)
        self._file.truncate(keep)
        self._is_named = False  # on disk
        if head and not keep:
            self._begin(head)

    def _begin(self, head: bytes) -> None:
        try:
            self.append(head)
        except OSError:
            self.close()  # nobody else can
            raise

    def append(self, piece: bytes) -> None:
        try:
            self._write(self.size, piece)
        except OSError:
            with suppress(OSError):
                self._file.truncate(self.size)
            raise
        self.size += len(piece)

    def patch(self, offset: int, piece: bytes) -> None:
        """Write over what is there."""
        self._write(offset, piece)

    def _write(self, offset: int, piece: bytes) -> None:
        self._file.seek(offset)
        rest = memoryview(piece)
        while rest:
            rest = rest[self._file.write(rest) :]

    def sync(self) -> None:
        os.fsync(self._file.fileno())
        if not self._is_named:
            sync_folder(self.path.parent)
            self._is_named = True

    def close(self) -> None:
        self._file.close()


def replace_file(path: Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    """`path` has either the content it had or this one, or what this one writes, whenever the power goes."""
    unnamed = path.with_name(fitting(f"{path.name}.tmp"))
    try:
        with unnamed.open("wb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
            file.flush()
            os.fsync(file.fileno())
        unnamed.replace(path)
    except OSError:
        with suppress(OSError):
            unnamed.unlink()
        raise
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """What any handle has written to `path` is on disk; its own buffers must be flushed before."""
    descriptor = os.open(path, os.O_RDWR)  # Windows syncs only what is open for writing
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_output(path: Path, *, inside: bool = False) -> None:
    """A file, or the names in a folder, are on disk, and so is its own name.

    Args:
        path: of it.
        inside: sync what is in a folder, too; else it was before.
    """
    for item in path.iterdir() if inside and path.is_dir() else ():
        sync_file(item)
    sync = sync_folder if path.is_dir() else sync_file
    sync(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """The names in a folder are on disk; Windows has no call for that."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
