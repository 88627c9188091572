"""Write masks as PNGs: a folder of them, or the same tree in a zip.

A PNG is 8-bit and one-channel, a pixel's value is its class: `cv2.imread(path, 0)` gives the mask back. Its number is
the frame's index in the source.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..container.zip_journal import ZipJournal
from ..system.disk import AppendedFile, sync_file, sync_folder
from .manifest import (
    CLASSES_NAME,
    ENDING_NAME,
    MANIFEST_NAME,
    ArchiveHeader,
    Ending,
    MaskRecord,
    ending_text,
    header_text,
    parse_record,
    record_line,
)

# Run lengths suit flat areas: less than two thirds of the size of zlib level 1, and three times as fast.
_PNG_OPTIONS = (cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)


class FolderWriter:
    """A `MaskWriter`. A manifest line is there once its PNG is, so after a crash both agree."""

    def __init__(self, path: Path, header: ArchiveHeader, keep: int) -> None:
        self._path = path
        manifest = path / MANIFEST_NAME
        kept = manifest.read_bytes().splitlines(keepends=True)[:keep] if keep else []
        if keep:
            (path / ENDING_NAME).unlink(missing_ok=True)
            _remove_others(path, {parse_record(line.decode()).file for line in kept})
        else:
            (path / CLASSES_NAME).write_text(header_text(header), encoding="utf-8", newline="\n")
        self._manifest = AppendedFile(manifest, keep=sum(map(len, kept)))
        self._unsynced: list[Path] = [path / CLASSES_NAME]

    def add(self, record: MaskRecord, mask: NDArray[np.uint8]) -> None:
        self.add_encoded(record, png(mask))

    def add_encoded(self, record: MaskRecord, content: bytes) -> None:
        name = png_name(record)
        unnamed = self._path / f"{name}.tmp"
        unnamed.write_bytes(content)
        unnamed.replace(self._path / name)
        self._unsynced.append(self._path / name)
        self._manifest.append(record_line(replace(record, file=name)).encode() + b"\n")

    def sync(self) -> None:
        for path in self._unsynced:
            sync_file(path)
        self._unsynced.clear()
        self._manifest.sync()
        sync_folder(self._path)

    def finish(self, ending: Ending | None) -> None:
        if ending:
            (self._path / ENDING_NAME).write_text(ending_text(ending), encoding="utf-8", newline="\n")

    def close(self) -> None:
        self._manifest.close()


class ZipWriter:
    """A `MaskWriter`. The manifest comes last, as a zip cannot grow an entry beside others.

    Until then its lines are notes of the entries, where they are found after a crash, too.
    """

    def __init__(self, path: Path, header: ArchiveHeader, keep: int) -> None:
        self._zip = ZipJournal(path, keep=keep and keep + 1)
        if not keep:
            self._zip.add(CLASSES_NAME, header_text(header).encode())

    def add(self, record: MaskRecord, mask: NDArray[np.uint8]) -> None:
        self.add_encoded(record, png(mask))

    def add_encoded(self, record: MaskRecord, content: bytes) -> None:
        name = png_name(record)
        self._zip.add(name, content, record_line(replace(record, file=name)))

    def sync(self) -> None:
        self._zip.sync()

    def finish(self, ending: Ending | None) -> None:
        self._zip.add_notes(MANIFEST_NAME)
        if ending:
            self._zip.add(ENDING_NAME, ending_text(ending).encode())
        self._zip.finish()

    def close(self) -> None:
        self._zip.close()


def png_name(record: MaskRecord) -> str:
    return f"frame_{record.index:06d}.png"


def png(mask: NDArray[np.uint8]) -> bytes:
    encoded, content = cv2.imencode(".png", mask, _PNG_OPTIONS)
    assert encoded, "a PNG can hold any 8-bit mask"
    return content.tobytes()


def _remove_others(folder: Path, kept: set[str | None]) -> None:
    """What a run that goes on will write again."""
    for path in folder.iterdir():
        if path.name.startswith("frame_") and path.name not in kept:
            path.unlink()
