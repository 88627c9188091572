"""Read the `.zarr` of masks that `zarr_sink` writes, finished or not; `zarr_layout` tells how it is laid out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..decode.inside import open_inside, read_inside, refuse_larger
from .manifest import MOST_MANIFEST, MOST_PIXELS, MOST_TEXT, MaskRecord
from .zarr_layout import GROUP_NAME, INDEX_ENTRY, LINES_NAME, MISSING, SHARD, shard_path, unpacked

_MOST_CHUNK = MOST_PIXELS + (1 << 24)  # bytes: what cannot be compressed grows a little


class ZarrStore:
    """A `Store`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def is_finished(self) -> bool:
        return (self._path / "index" / GROUP_NAME).exists()

    def header(self) -> str:
        return json.dumps(self._attributes()["header"], indent=2) + "\n"

    def ending(self) -> str:
        return json.dumps(self._attributes()["run"])

    def _attributes(self) -> dict[str, Any]:
        attributes: dict[str, Any] = json.loads(read_inside(self._path, GROUP_NAME, MOST_TEXT))["attributes"]
        return attributes

    def manifest(self) -> str:
        return read_inside(self._path, LINES_NAME, MOST_MANIFEST).decode()

    def mask(self, position: int, record: MaskRecord) -> NDArray[np.uint8] | None:
        with self._shard(position) as file:
            file.seek(position % SHARD * INDEX_ENTRY.size)
            entry = file.read(INDEX_ENTRY.size)
            if len(entry) < INDEX_ENTRY.size or entry == MISSING:
                return None
            offset, size = INDEX_ENTRY.unpack(entry)
            refuse_larger(f"chunk {position}", size, _MOST_CHUNK)
            file.seek(offset)
            return unpacked(file.read(size), record.height, record.width)

    def _shard(self, position: int) -> BinaryIO:
        return open_inside(self._path, shard_path(self._path, position).relative_to(self._path).as_posix())

    def close(self) -> None:
        pass
