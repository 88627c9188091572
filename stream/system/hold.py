"""What only one process does at a time: a file that it locks, beside what it writes.

`.NAME.run` stands beside an output that is being written. It is empty, or holds a word that tells whose the files are
that one who was killed, or has failed, left unfinished.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

from ..errors import OutputError
from .disk import fitting, left_of, remove_left, sync_folder, writing

log = logging.getLogger(__name__)


class Taken(Exception):  # noqa: N818 - what is so, not what went wrong
    """Somebody else holds it."""


def mark_path(output: Path) -> Path:
    return output.with_name(fitting(f".{output.name}.run"))


@contextmanager
def held(outputs: Iterable[Path]) -> Iterator[None]:
    """No other run writes these outputs meanwhile. Folders are made for them, and removed where they stay empty.

    Raises:
        OutputError: another run is writing one, or one cannot be written.
    """
    with ExitStack() as stack:
        by_mark = {mark_path(output).absolute(): output for output in outputs}
        for mark, output in sorted(by_mark.items()):  # in one order: of two runs that want the same, one has it
            with writing(output):
                _make_folder(mark.parent, stack)
                try:
                    stack.enter_context(hold(mark))
                except Taken as exc:
                    raise OutputError(
                        f"{output}: another run is writing it; wait for its end, or name another output"
                    ) from exc
        yield


@contextmanager
def held_to_make(outputs: Sequence[Path], *sources: Path) -> Iterator[None]:
    """As `held`, for what can be made again of its sources: what was left unfinished of the same ones is removed.

    Folders that were made stay.
    """
    word = word_for("\n".join(str(source.absolute()) for source in sources))
    for output in outputs:
        with writing(output):
            output.parent.mkdir(parents=True, exist_ok=True)
    with held(outputs):
        for output in outputs:
            with writing(output):
                if mark_of(output) == word:
                    remove_left(output)
                if not left_of(output):  # what is somebody else's is looked at later
                    write_mark(output, word)
        try:
            yield
        finally:
            for output in outputs:
                if mark_of(output) == word and not left_of(output):
                    with suppress(OSError):
                        write_mark(output, "")


def refuse_inputs(output: Path, *inputs: Path | None) -> None:
    """Raises `OutputError` where an output would replace what it is made of."""
    for path in inputs:
        if path is not None and path.exists() and output.exists() and output.samefile(path):
            raise OutputError(f"{output}: is one of the inputs; choose another name for the output")


def word_for(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def mark_of(output: Path) -> str:
    try:
        return mark_path(output).read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def write_mark(output: Path, word: str) -> None:
    """A word, or none; in one write of what always has the same length: it is there, or it is not."""
    if mark_of(output) == word:
        return
    descriptor = os.open(mark_path(output), os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        if word:
            os.write(descriptor, word.encode("ascii"))
        else:
            os.ftruncate(descriptor, 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(output.parent)


def _make_folder(folder: Path, stack: ExitStack) -> None:
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in reversed(missing):
        stack.callback(_remove_empty, path)


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):  # it is not
        folder.rmdir()


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Make the file `path`, hold it, and remove it in the end if it is empty; one that is left is no hindrance.

    Raises:
        Taken: it is held, by this process or another one.
        OSError: it cannot be made.
    """
    path = path.with_name(fitting(path.name))
    descriptor = _locked(path)
    try:
        yield
    finally:
        with suppress(OSError):
            if not os.fstat(descriptor).st_size and _is_at(path, descriptor):
                path.unlink()  # before it is let go: another one may hold it then
        os.close(descriptor)


def _locked(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(descriptor, path)
            if _is_at(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # whoever held it has removed it meanwhile: what is locked is no name any more


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _lock(descriptor: int, path: Path) -> None:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as exc:
        raise Taken from exc
    except OSError as exc:
        _tell_of_no_locks(path.parent, exc.strerror or str(exc))


@cache  # so once a folder
def _tell_of_no_locks(folder: Path, reason: str) -> None:
    log.warning("%s: cannot be locked (%s), so another run that writes there would go unnoticed", folder, reason)
