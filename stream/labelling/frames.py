"""What a labelling tool is given: the frames of a mask archive, with the classes that were chosen numbered anew."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from difflib import get_close_matches
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
from ..encode.blur import Blur
from ..errors import ArchiveError, OutputError
from ..frames import Frame
from ..masks.deciding import Decided
from ..spec import NO_CLASS, Color, PixelClass, select_classes

log = logging.getLogger(__name__)

PictureFormat = Literal["jpg", "png"]

_NO_INPUT = (2, 2)  # size of the network's input, which nobody looks at
_JPEG_QUALITY = 95
_TYPES_OF_MASKS = (None, "any", "mask", "polygon")  # of a CVAT label; others are of boxes, points, ...


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

    def named_as(self, path: Path) -> Self:
        """With the names and colours of the labels of a CVAT task: `path` is their JSON, from its editor's Raw tab.

        Names may differ in case, blanks, _ and -. Labels that no class is are told in a warning.

        Raises:
            OutputError: the file holds no such labels, or a class is none of those that masks can have.
        """
        labels = _task_labels(path)
        plain = {_plain(name): name for name in labels}
        names = [item.name if item.name in labels else plain.get(_plain(item.name), "") for item in self.classes]
        missing = [item.name for item, name in zip(self.classes, names, strict=True) if not name]
        if missing:
            close = {name: get_close_matches(_plain(name), plain, n=1) for name in missing}
            meant = ",".join(f"{name}={plain[found[0]]}" for name, found in close.items() if found)
            raise OutputError(
                f"{path}: no label of masks is called {', '.join(missing)}; they are {', '.join(labels)}; "
                f"give each one with --map{f' (did you mean {meant}?)' * bool(meant)}, or --exclude it",
                usage=True,
            )
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise OutputError(f"{path}: several classes are {twice}; merge them with --map CLASS={twice}", usage=True)
        if unused := [name for name in labels if name not in names]:
            log.warning("%s: no class is %s", path, ", ".join(unused))
        classes = [PixelClass(name, labels[name] or item.color) for item, name in zip(self.classes, names, strict=True)]
        return replace(self, classes=tuple(classes))

    def refuse_names(self, forbidden: str, why: str) -> None:
        """Raises `OutputError` where a class has a name that a text file of lines would not give back."""
        for name in (item.name for item in self.classes):
            if any(sign in name for sign in (*forbidden, "\n", "\r")) or name.startswith("#") or name != name.strip():
                raise OutputError(f"class {name!r} cannot be written: {why}; leave it out with --exclude {name!r}")

    def numbered(self) -> Iterator[tuple[int, PixelClass]]:
        """Each class with its label."""
        return enumerate(self.classes, start=1)


def _task_labels(path: Path) -> dict[str, Color | None]:
    """Name and colour, where it has one, of each label that a mask can have."""
    wrong = OutputError(
        f"{path}: holds no labels for masks; take what a CVAT task's label editor shows under Raw: "
        '[{"name": "car", "color": "#ff0000"}, ...]',
        usage=True,
    )
    try:
        content = json.loads(path.read_bytes())
        items = content["results"] if isinstance(content, dict) else content  # the former of CVAT's API
        labels = {str(item["name"]): _color(item.get("color")) for item in items if item.get("type") in _TYPES_OF_MASKS}
    except OSError as exc:
        raise OutputError(f"{path}: cannot be read ({exc.strerror or exc})") from exc
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
        raise wrong from exc
    if not all(labels) or not labels:
        raise wrong
    return labels


def _color(text: str | None) -> Color | None:
    if not text:
        return None
    red, green, blue = bytes.fromhex(text.removeprefix("#"))
    return red, green, blue


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()


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
    masks: MaskArchive,
    table: LabelTable,
    video: Path,
    form: PictureFormat,
    *,
    stride: int = 1,
    blur: Sequence[str] = (),
) -> Iterator[LabelledFrame]:
    """As `labelled_frames`, with the pictures that the masks were made from; in them the classes in `blur` are hidden.

    Raises:
        ArchiveError: also where the video is another one.
        SourceError: it cannot be read.
    """
    pair, encode = MaskedVideo(masks, video), _picture_encoder(form)
    with ExitStack() as stack:
        source = stack.enter_context(open_source(video, stream=masks.header.stream, picture_rate=masks.picture_rate))
        frames = source.frames(lambda _: _NO_INPUT, place=place_of(masks.records[0], source.info))
        results: Iterable[Decided] = (Decided(*item) for item in enumerate(pair.frames(frames, to_the_end=True)))
        if blur:
            results = Blur(masks.classes, blur).over(results)
        for item in results:
            position, result = item.position, item.result
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
