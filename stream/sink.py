"""What takes the results of a run, and which mask archive a path means."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from .frames import SegmentedFrame


class Sink(Protocol):
    """One output of a run; `write` is called for each frame, in order, on one thread.

    Raises:
        OutputError: on making, entering, writing or leaving it.
    """

    def write(self, result: SegmentedFrame) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class FileSink(Sink, Protocol):
    """A `Sink` whose file or folder a later run can go on with, after this one was killed."""

    def resume(self, frames: int) -> None:
        """Go on from what an earlier run left under the partial name: keep its first `frames` frames and no more.

        To be called before entering.

        Raises:
            OutputError: there is no such thing, or it holds fewer.
        """

    def append(self, piece: Path) -> None:
        """Write what such a sink has written elsewhere, as it is: see `outputs.piece_sinks`.

        Raises:
            OutputError: it cannot be read, or is damaged.
        """

    def sync(self) -> None:
        """What has been written is on disk when this returns, and survives a power cut."""
