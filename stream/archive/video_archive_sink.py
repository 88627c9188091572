"""Write masks as one lossless video: FFV1, 8-bit grey, every frame a keyframe, in Matroska.

It is the smallest archive, and plays anywhere. The manifest is in it too, as a text track with a line at the time of
each mask: Matroska rounds times to milliseconds, and a file beside the video would get lost. `classes.json` is an
attachment, how the run ended a tag.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

from ..decode.pixels import planes_of
from ..system.matroska import MatroskaWriter, Tracks
from .manifest import (
    CLASSES_NAME,
    MANIFEST_NAME,
    ArchiveHeader,
    Ending,
    MaskRecord,
    ending_text,
    header_text,
    record_line,
)
from .video_archive import ENDING_TAG, first_record

_CODEC: Final = "ffv1"
# Version 3 has a checksum for each slice: damage is found. Rice codes with few contexts: of all settings the smallest
# files and the fastest, as flat areas become run lengths. Fixed, as the encoder might choose by the number of cores.
_CODEC_OPTIONS: Final = {"level": "3", "slicecrc": "1", "coder": "rice", "context": "0"}
_SLICES: Final = (1, 4)  # the fewest that the encoder takes for pictures up to a size, and beyond
_ONE_SLICE_SIZE: Final = (288, 352)


class VideoWriter:
    """A `MaskWriter` of a Matroska file."""

    def __init__(self, path: Path, header: ArchiveHeader, keep: int) -> None:
        self._path = path
        self._header = header
        self._file: MatroskaWriter | None = None
        if keep:
            self._open(first_record(path), keep)

    def add(self, record: MaskRecord, mask: NDArray[np.uint8]) -> None:
        if self._file is None:
            self._open(record, 0)
        self.add_encoded(record, encoded(mask, self._encoder))

    def add_encoded(self, record: MaskRecord, content: bytes) -> None:
        file = self._file or self._open(record, 0)
        file.add(round((record.time - self._zero) * 1000), content, record_line(record).encode())

    def _open(self, first: MaskRecord, keep: int) -> MatroskaWriter:
        self._size = (first.height, first.width)
        self._zero = min(first.time, Fraction(0))  # the file's times cannot be negative
        self._encoder = mask_encoder(self._size)
        private = self._encoder.extradata
        assert private is not None, "version 3 has one"
        attachment = (CLASSES_NAME, "application/json", header_text(self._header).encode())
        tracks = Tracks("V_FFV1", private, first.width, first.height, MANIFEST_NAME, attachment)
        self._file = MatroskaWriter(self._path, tracks, keep=keep)
        return self._file

    def sync(self) -> None:
        if self._file:
            self._file.sync()

    def finish(self, ending: Ending | None) -> None:
        if self._file:
            self._file.finish({ENDING_TAG: ending_text(ending)} if ending else {})

    def close(self) -> None:
        if self._file:
            self._file.close()


def encoded(mask: NDArray[np.uint8], encoder: VideoCodecContext) -> bytes:
    """A mask as a picture of the video; it depends on no other."""
    height, width = mask.shape
    picture = av.VideoFrame(width, height, "gray")
    np.copyto(planes_of(picture)[0], mask)
    (packet,) = encoder.encode(picture)
    return bytes(packet)


def mask_encoder(size: tuple[int, ...]) -> VideoCodecContext:
    """For masks of this height and width."""
    height, width = size
    few, more = _SLICES
    slices = few if height <= _ONE_SLICE_SIZE[0] and width <= _ONE_SLICE_SIZE[1] else more
    encoder = av.CodecContext.create(_CODEC, "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "gray"
    encoder.time_base = Fraction(1, 1000)
    encoder.gop_size = 1
    encoder.thread_count = 1  # the network has the cores
    encoder.options = _CODEC_OPTIONS | {"slices": str(slices)}
    encoder.open()
    return encoder
