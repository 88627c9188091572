"""Masks on their way from the machine that made them to the archive: encoded as it will hold them, one after the other.

Each is an entry of a zip without a directory, with its record as the note: see `zip_journal`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..errors import OutputError
from ..frames import SegmentedFrame, Sink
from ..system.disk import writing
from .manifest import MaskFormat, MaskRecord, parse_record, record_line, record_of
from .png import png
from .video import encoded, mask_encoder
from .zip_journal import ZipJournal, content_of, read_entries

PIECE_SUFFIX = ".masks"


class MaskPieceSink(Sink):
    """A `Sink` for masks of one size that `MaskSink.append` is to take; `kind` is that of its archive."""

    def __init__(self, path: Path, kind: MaskFormat) -> None:
        self._path = path
        self._kind = kind
        self._encoded: Callable[[NDArray[np.uint8]], bytes] | None = None

    def write(self, result: SegmentedFrame) -> None:
        if self._encoded is None:
            self._encoded = png if self._kind != "ffv1" else partial(encoded, encoder=mask_encoder(result.mask.shape))
        record = record_of(result)
        with writing(self._path):
            self._journal.add(str(record.index), self._encoded(result.mask), record_line(record))

    def __enter__(self) -> Self:
        with writing(self._path):
            self._journal = ZipJournal(self._path)
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.close()


def read_piece(path: Path) -> Iterator[tuple[MaskRecord, bytes]]:
    """The masks in it, encoded, with their records.

    Raises:
        OutputError: it cannot be read, or one is damaged.
    """
    try:
        with path.open("rb") as file:
            for entry in read_entries(file):
                content = content_of(file, entry)
                if zlib.crc32(content) != entry.crc32:
                    raise OutputError(f"{path}: the mask of frame {entry.name} is damaged")
                yield parse_record(entry.note), content
                file.seek(entry.end)
    except (OSError, ValueError, KeyError) as exc:
        raise OutputError(f"{path}: cannot be read ({exc})") from exc
