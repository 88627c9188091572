"""What takes the results of a run, and which mask archive a path means."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

from .errors import OutputError
from .frames import SegmentedFrame

MaskFormat = Literal["folder", "zip", "ffv1", "npz", "zarr"]

_MASK_FORMATS: dict[str, MaskFormat] = {"": "folder", ".zip": "zip", ".mkv": "ffv1", ".npz": "npz", ".zarr": "zarr"}


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


def mask_format(path: Path) -> MaskFormat:
    """The mask archive that a path's suffix means.

    Raises:
        OutputError: the suffix means none.
    """
    try:
        return _MASK_FORMATS[path.suffix.lower()]
    except KeyError:
        raise OutputError(
            f"{path}: no mask archive has the suffix {path.suffix}; "
            "name a folder (no suffix), a .zip of PNG files, a .mkv (FFV1 video), a .npz (NumPy) or a .zarr"
        ) from None
