"""Masks as a `.npz`: every program that knows NumPy reads it.

    content = np.load("masks.npz")
    content["masks"]                              (n, height, width) uint8: all masks at once, in memory
    content["index"], content["pts"], content["time"], content["crc32"]        of each mask
    json.loads(str(content["header"])), str(content["manifest"])               classes.json, manifest.jsonl

Both `write_npz` and `NpzStore` hold one mask at a time. It is read in order: to go back begins anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ..frames import Ending
from .manifest import (
    MOST_MANIFEST,
    MOST_TEXT,
    ArchiveHeader,
    MaskRecord,
    ending_text,
    header_text,
    record_line,
    rows_of,
)
from .png import refuse_larger
from .zip_journal import DATE

_MASKS = "masks.npy"
# Bytes of the arrays that are read at once; a letter takes four.
_MOST = {"header.npy": 4 * MOST_TEXT, "run.npy": 4 * MOST_TEXT, "manifest.npy": 4 * MOST_MANIFEST}


class NpzStore:
    """A `Store`. Raises OSError, BadZipFile, ValueError or KeyError where it is none."""

    is_finished = True

    def __init__(self, path: Path) -> None:
        with ExitStack() as stack:
            archive = stack.enter_context(ZipFile(path))
            for info in archive.infolist():
                refuse_larger(info.filename, info.file_size, _MOST.get(info.filename, info.file_size))
            with np.load(path, allow_pickle=False) as content:
                self._header, self._manifest = str(content["header"]), str(content["manifest"])
                self._ending = str(content["run"]) if "run" in content else ""
            self._masks = stack.enter_context(archive.open(_MASKS))
            if npy.read_magic(self._masks) != (1, 0):
                raise ValueError("its masks are of another version of NumPy's format")
            shape, in_columns, kind = npy.read_array_header_1_0(self._masks)
            if kind != np.uint8 or in_columns or len(shape) != 3:
                raise ValueError(f"its masks are {kind} of {shape}")
            self._begin, self._size = self._masks.tell(), shape[1:]
            self._stack = stack.pop_all()

    def header(self) -> str:
        return self._header

    def ending(self) -> str:
        return self._ending

    def manifest(self) -> str:
        return self._manifest

    def mask(self, position: int, record: MaskRecord) -> NDArray[np.uint8] | None:
        size = record.height * record.width
        if (record.height, record.width) != self._size:
            raise ValueError("all masks are {}x{}".format(*reversed(self._size)))
        self._masks.seek(self._begin + position * size)
        pixels = self._masks.read(size)
        return np.frombuffer(pixels, np.uint8).reshape(self._size) if len(pixels) == size else None

    def close(self) -> None:
        self._stack.close()


def write_npz(
    path: Path,
    header: ArchiveHeader,
    records: Sequence[MaskRecord],
    masks: Iterable[NDArray[np.uint8]],
    ending: Ending | None,
) -> None:
    """Write masks of one size."""
    shape = (len(records), records[0].height, records[0].width)
    arrays: dict[str, NDArray[Any]] = {
        **rows_of(records),
        "header": np.array(header_text(header)),
        "manifest": np.array("".join(f"{record_line(record)}\n" for record in records)),
    }
    if ending:
        arrays["run"] = np.array(ending_text(ending))
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        with archive.open(_info(_MASKS), "w", force_zip64=True) as file:
            npy.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            for mask in masks:
                file.write(np.ascontiguousarray(mask).data)
        for name, array in arrays.items():
            with archive.open(_info(f"{name}.npy"), "w", force_zip64=True) as file:
                npy.write_array(file, array, allow_pickle=False)


def _info(name: str) -> ZipInfo:
    info = ZipInfo(name, DATE)
    info.compress_type = ZIP_DEFLATED
    return info
