"""Read the `.zarr` of masks that `zarr_sink` writes, finished or not; `zarr_layout` tells how it is laid out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .manifest import MaskRecord
from .zarr_layout import GROUP_NAME, INDEX_ENTRY, LINES_NAME, MISSING, SHARD, shard_path, unpacked


class ZarrStore:
    """A `Store`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def is_finished(self) -> bool:
        return (self._path / "index" / GROUP_NAME).exists()

    def header(self) -> str:
        content = json.loads((self._path / GROUP_NAME).read_text(encoding="utf-8"))
        return json.dumps(content["attributes"]["header"], indent=2) + "\n"

    def ending(self) -> str:
        content = json.loads((self._path / GROUP_NAME).read_text(encoding="utf-8"))
        return json.dumps(content["attributes"]["run"])

    def manifest(self) -> str:
        return (self._path / LINES_NAME).read_text(encoding="utf-8")

    def mask(self, position: int, record: MaskRecord) -> NDArray[np.uint8] | None:
        with shard_path(self._path, position).open("rb") as file:
            file.seek(position % SHARD * INDEX_ENTRY.size)
            entry = file.read(INDEX_ENTRY.size)
            if len(entry) < INDEX_ENTRY.size or entry == MISSING:
                return None
            offset, size = INDEX_ENTRY.unpack(entry)
            file.seek(offset)
            return unpacked(file.read(size), record.height, record.width)

    def close(self) -> None:
        pass
