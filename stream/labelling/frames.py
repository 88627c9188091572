"""What a labelling tool is given: the frames of a mask archive, with the classes that were chosen numbered anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from ..archive.archive import MaskArchive
from ..archive.manifest import MaskRecord
from ..archive.masked_frames import MaskedVideo, place_of
from ..decode.pixels import network_input
from ..decode.source import open_source
from ..errors import ArchiveError, OutputError
from ..frames import Frame
from ..spec import NO_CLASS, PixelClass, select_classes

PictureFormat = Literal["jpg", "png"]

_NO_INPUT = (2, 2)  # size of the network's input, which nobody looks at
_JPEG_QUALITY = 95


@dataclass(frozen=True, slots=True, eq=False)
class LabelTable:
    """The classes that a tool gets. Label 0 is what has none, label k is `classes[k - 1]`.

    Tools keep 0 for what is not labelled, where a mask has its first class; so ids are never passed on as they are.
    """

    classes: tuple[PixelClass, ...]
    _labels: NDArray[np.uint8]  # (256,) of each class id of a mask

    @classmethod
    def of(cls, classes: Sequence[PixelClass], *, only: Sequence[str] = (), exclude: Sequence[str] = ()) -> Self:
        """Those in `only` (all if empty) but not in `exclude`; the others become label 0.

        Raises:
            RoadmaskError: a name is no class, or none is left.
        """
        chosen = [
            class_id for class_id, wanted in enumerate(select_classes(classes, only=only, exclude=exclude)) if wanted
        ]
        if not chosen:
            raise OutputError("--classes and --exclude leave no class; name at least one that is not excluded")
        labels = np.zeros(256, np.uint8)
        labels[chosen] = np.arange(1, len(chosen) + 1)
        return cls(tuple(classes[class_id] for class_id in chosen), labels)

    def labels(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.asarray(cv2.LUT(mask, self._labels), np.uint8)

    def refuse_names(self, forbidden: str, why: str) -> None:
        """Raises `OutputError` where a class has a name that a text file of lines would not give back."""
        for name in (item.name for item in self.classes):
            if any(sign in name for sign in (*forbidden, "\n", "\r")) or name.startswith("#") or name != name.strip():
                raise OutputError(f"class {name!r} cannot be written: {why}; leave it out with --exclude {name!r}")

    def numbered(self) -> Iterator[tuple[int, PixelClass]]:
        """Each class with its label."""
        return enumerate(self.classes, start=1)


@dataclass(frozen=True, slots=True, eq=False)
class LabelledFrame:
    """One frame."""

    record: MaskRecord
    labels: NDArray[np.uint8]  # (height, width), see `LabelTable`
    picture: bytes | None  # the frame itself, as a file; None where there is no video
    prefix: str = ""  # of its name

    @property
    def name(self) -> str:
        """As CVAT calls the frames of a video, by their number in it."""
        return f"{self.prefix}frame_{self.record.index:06d}"


def labelled_frames(masks: MaskArchive, table: LabelTable, *, stride: int = 1) -> Iterator[LabelledFrame]:
    """Each `stride`-th mask, beginning with the first.

    Raises:
        ArchiveError: a mask cannot be read, or has ids that the class table does not know.
    """
    for position in range(0, len(masks), stride):
        yield LabelledFrame(masks.records[position], _labels(masks, position, masks[position], table), None)


def pictured_frames(
    masks: MaskArchive, table: LabelTable, video: Path, form: PictureFormat, *, stride: int = 1
) -> Iterator[LabelledFrame]:
    """As `labelled_frames`, with the pictures that the masks were made from.

    Raises:
        ArchiveError: also where the video is another one.
        SourceError: it cannot be read.
    """
    pair, encode = MaskedVideo(masks, video), _picture_encoder(form)
    with ExitStack() as stack:
        source = stack.enter_context(open_source(video, stream=masks.header.stream, picture_rate=masks.picture_rate))
        frames = source.frames(lambda _: _NO_INPUT, place=place_of(masks.records[0], source.info))
        results = pair.frames(frames, to_the_end=True)
        for position, result in enumerate(results):
            if position % stride == 0:
                labels = _labels(masks, position, result.mask, table)
                yield LabelledFrame(masks.records[position], labels, encode(result.frame))


def _labels(masks: MaskArchive, position: int, mask: NDArray[np.uint8], table: LabelTable) -> NDArray[np.uint8]:
    if masks.unknown_class(mask) and (fault := masks.unknown_class(np.where(mask == NO_CLASS, 0, mask))):
        raise ArchiveError(f"{masks.path}: the mask of {masks.place(position)} {fault}")
    return table.labels(mask)


def _picture_encoder(form: PictureFormat) -> Callable[[Frame], bytes]:
    reformatter = VideoReformatter()

    def encode(frame: Frame) -> bytes:
        picture = frame.picture
        rgb = network_input(picture, (picture.height, picture.width), reformatter)
        options = (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY) if form == "jpg" else ()
        encoded, content = cv2.imencode(f".{form}", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
        assert encoded, "an 8-bit picture can be encoded as either"
        return content.tobytes()

    return encode
