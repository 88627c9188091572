"""Write the masks themselves: a folder of PNGs or the same tree in a zip. `video_archive_sink` writes the third kind.

A PNG is 8-bit and one-channel, a pixel's value is its class: `cv2.imread(path, 0)` gives the mask back. Its number is
the frame's index in the source.
"""

from __future__ import annotations

import zipfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from .frames import SegmentedFrame, VideoInfo
from .manifest import CLASSES_NAME, MANIFEST_NAME, ArchiveHeader, header_text, record_line, record_of
from .partial import PartialOutput, closing, writing
from .sink import Sink, mask_format
from .spec import ModelSpec
from .video_archive_sink import MaskVideoSink

# Run lengths suit flat areas: 40 % smaller than zlib level 1 for 7 % of its speed.
_PNG_OPTIONS = (cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
# A zip entry has a date; a fixed one (the format's first) makes the same masks the same file.
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


def open_archive_sink(
    path: Path,
    info: VideoInfo,
    spec: ModelSpec,
    *,
    source: str | None = None,
    model: str | None = None,
    model_sha256: str | None = None,
    smoothed: bool | None = None,
    overwrite: bool = False,
) -> Sink:
    """The sink for the kind of archive that the path's suffix means.

    Args:
        path: a folder, .zip or .mkv.
        info: of the source.
        spec: of the model; the archive takes its classes.
        source: the video's name, without its folder.
        model: the model file's name.
        model_sha256: its digest.
        smoothed: whether the masks are blended over time.
        overwrite: replace what is there.

    Raises:
        OutputError: the suffix means no archive, or the path is taken.
    """
    header = ArchiveHeader(spec.classes, info.width, info.height, source, model, model_sha256, smoothed)
    match mask_format(path):
        case "folder":
            return MaskFolderSink(path, header, overwrite=overwrite)
        case "zip":
            return MaskZipSink(path, header, overwrite=overwrite)
        case "ffv1":
            return MaskVideoSink(path, header, overwrite=overwrite)


class MaskFolderSink:
    """A `Sink` for a folder of PNGs. A manifest line is there once its PNG is, so after a crash both agree."""

    def __init__(self, path: Path, header: ArchiveHeader, *, overwrite: bool = False) -> None:
        self._header = header
        self._output = PartialOutput(path, overwrite=overwrite, marker=CLASSES_NAME)
        self._stack = ExitStack()

    def write(self, result: SegmentedFrame) -> None:
        folder = self._output.path
        name = _png_name(result)
        with writing(self._output.final):
            unnamed = folder / f"{name}.tmp"
            unnamed.write_bytes(_png(result.mask))
            unnamed.replace(folder / name)
            self._manifest.write(record_line(record_of(result, name)) + "\n")
            self._manifest.flush()
        self._output.used = True

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            folder = stack.enter_context(self._output).path
            with writing(self._output.final):
                (folder / CLASSES_NAME).write_text(header_text(self._header), encoding="utf-8")
                self._manifest = stack.enter_context((folder / MANIFEST_NAME).open("w", encoding="utf-8", newline="\n"))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(exc_type, exc, traceback)


class MaskZipSink:
    """A `Sink` for a zip of the same tree.

    Its manifest is written on closing, as a zip cannot grow an entry beside others; until then the lines wait here,
    some 150 bytes a frame.
    """

    def __init__(self, path: Path, header: ArchiveHeader, *, overwrite: bool = False) -> None:
        self._header = header
        self._output = PartialOutput(path, overwrite=overwrite)
        self._lines: list[str] = []
        self._stack = ExitStack()

    def write(self, result: SegmentedFrame) -> None:
        name = _png_name(result)
        with writing(self._output.final):
            self._add(name, _png(result.mask))
        self._lines.append(record_line(record_of(result, name)) + "\n")
        self._output.used = True

    def _add(self, name: str, content: bytes) -> None:
        # Stored: a PNG is compressed already.
        self._zip.writestr(zipfile.ZipInfo(name, _ZIP_DATE), content, zipfile.ZIP_STORED)

    def _close(self) -> None:
        with self._zip:
            self._add(MANIFEST_NAME, "".join(self._lines).encode())

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._output)
            with writing(self._output.final):
                self._zip = zipfile.ZipFile(self._output.path, "w")
                stack.push(closing(self._output.final, self._close))
                self._add(CLASSES_NAME, header_text(self._header).encode())
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(exc_type, exc, traceback)


def _png_name(result: SegmentedFrame) -> str:
    return f"frame_{result.frame.index:06d}.png"


def _png(mask: NDArray[np.uint8]) -> bytes:
    encoded, content = cv2.imencode(".png", mask, _PNG_OPTIONS)
    assert encoded, "a PNG can hold any 8-bit mask"
    return content.tobytes()
