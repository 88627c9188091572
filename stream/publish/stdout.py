"""Standard output as a place for video: nothing else gets into it, and a slow or absent reader ends no run badly."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

from ..errors import OutputError

_POLL_S = 0.1  # how long it may take until `stop` is noticed
_PATIENCE_S = 1.0  # with a reader that takes nothing, once the run is to end
_CHUNK_BYTES = select.PIPE_BUF if hasattr(select, "PIPE_BUF") else 4096


class ReaderGone(Exception):  # noqa: N818 - not an error: how a player ends a run
    """Whoever read the output has closed it, or takes nothing while the run is to end."""


@contextmanager
def claimed_stdout() -> Iterator[int]:
    """A descriptor of standard output that only its owner knows; what others print goes to standard error meanwhile.

    Raises:
        OutputError: it is a terminal, or closed.
    """
    try:
        if os.isatty(1):
            raise OutputError("-: standard output is a terminal; pipe the video into a player: ... -o - | mpv -")
        own = os.dup(1)
    except OSError as exc:
        raise OutputError(f"-: standard output is closed ({exc.strerror})") from exc
    try:
        sys.stdout.flush()
        os.dup2(2, 1)
        try:
            yield own
        finally:
            sys.stdout.flush()
            os.dup2(own, 1)
    finally:
        os.close(own)


class Pipe:
    """Writes to a descriptor, waiting for its reader without being stuck in it.

    Args:
        descriptor: of a pipe, a file or a socket; stays the caller's.
        stop: once set, the reader is waited for no longer than a second.
    """

    def __init__(self, descriptor: int, stop: Event | None = None) -> None:
        self._descriptor = descriptor
        self._stop = stop or Event()

    def write(self, content: bytes) -> None:
        """Return when the system has all of it.

        Raises:
            ReaderGone: it will not be read.
            OSError: it cannot be written.
        """
        rest = memoryview(content)
        while rest:
            self._wait()
            try:
                # No more than a pipe is sure to have room for: a write of more waits for the reader, whatever `stop`.
                rest = rest[os.write(self._descriptor, rest[:_CHUNK_BYTES]) :]
            except BrokenPipeError as exc:
                raise ReaderGone from exc

    def _wait(self) -> None:
        if sys.platform == "win32":  # its pipes cannot be waited for: there a write waits
            return
        waiting_since: float | None = None
        while not select.select([], [self._descriptor], [], _POLL_S)[1]:
            if not self._stop.is_set():
                continue
            waiting_since = waiting_since or time.monotonic()
            if time.monotonic() - waiting_since >= _PATIENCE_S:
                raise ReaderGone
