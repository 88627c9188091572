"""One process at a time: a file that is held for as long as something goes on, and by no process that has ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Taken(Exception):  # noqa: N818 - what is so, not what went wrong
    """Somebody else holds it."""


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Make the file `path`, hold it, and remove it in the end; one that a killed process left is no hindrance.

    Raises:
        Taken: it is held, by this process or another one.
        OSError: it cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            _lock(descriptor)
        except (BlockingIOError, PermissionError) as exc:
            raise Taken from exc
        except OSError:
            pass  # some network drives have no locks: as well as one can
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)  # and so lets go


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
