"""Standard output and error that end no run when nobody reads them any more: `| head`, a terminal that is closed."""

from __future__ import annotations

import errno
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO, cast

_NOBODY = (errno.EPIPE, errno.EIO)  # has the other end of a pipe, of a terminal


class _Unheard(io.FileIO):
    """Says to nobody what it is told; other failures, as of a full disk, stay failures."""

    def write(self, content: object) -> int:
        try:
            return super().write(content)  # type: ignore[arg-type]
        except OSError as exc:
            if exc.errno not in _NOBODY:
                raise
            return len(memoryview(content))  # type: ignore[arg-type]


@contextmanager
def harmless_streams() -> Iterator[None]:
    """Within, `sys.stdout` and `sys.stderr` are such, unless somebody else has put something in their place."""
    if sys.stdout is not sys.__stdout__ or sys.stderr is not sys.__stderr__:
        yield
        return
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_harmless, before)
    try:
        yield
    finally:
        after = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = before
        for stream in after:
            stream.flush()


def _harmless(stream: TextIO | None) -> TextIO:
    """The same descriptor, text encoded as before; `None`, which is a closed stream of Windows, stays what it is."""
    if not isinstance(stream, io.TextIOWrapper):
        return cast("TextIO", stream)
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Unheard(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors="surrogateescape" if stream.errors == "strict" else stream.errors,  # names may be no text
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
