"""Masks as trees of PNGs, each as a tool wants it: CamVid's, CVAT's, FiftyOne's and COLMAP's.

CamVid is handed on as colour masks in `SUBSETannot/`, pictures in `SUBSET/`, their pairs in `SUBSET.txt`
(https://docs.cvat.ai/docs/dataset_management/formats/format-camvid). Colours and not numbers, as readers move the class
that is (0, 0, 0) to the front. It is not declared here: black is what has no label, and a black that is declared would
be read as a class.

CVAT's is its "Segmentation mask 1.1", a Pascal VOC tree
(https://docs.cvat.ai/docs/dataset_management/formats/format-smask). PNGs hold numbers of lines of `labelmap.txt` rather
than colours, so there is no colour that is not declared or declared twice. Each is there as class mask and as instance
mask, a class being one instance: of class masks alone CVAT makes a mask of the background too, and refuses it where the
task has no such label (cvat#8995, cvat#6269).

FiftyOne's is an `ImageSegmentationDirectory`, one-channel PNGs in `labels/`, pictures so named in `data/`
(https://docs.voxel51.com/user_guide/dataset_creation/datasets.html#imagesegmentationdirectory). 0 is what FiftyOne does
not draw. The format has no place for the classes' names, so they are in `mask_targets.json`.

COLMAP (https://colmap.github.io/faq.html#mask-image-regions) and OpenSfM (https://opensfm.org/docs/dataset.html) look
for no features where `masks/NAME.jpg.png` is black, for `images/NAME.jpg`.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ..archive.png import png
from ..errors import OutputError
from ..spec import PixelClass, select_classes
from .colors import BLACK, color_png, color_table, distinctly_colored
from .frames import LabelledFrame, LabelTable, PictureFormat
from .tree import Tree, json_text, text_lines

_BACKGROUND = "background"
# Classes of CamVid, in 11 and in 32, and of Cityscapes, and what one may call them: lower case, letters alone.
_MOVERS = {
    *("car", "pedestrian", "bicyclist", "suvpickuptruck", "truckbus", "motorcyclescooter", "cartluggagepram", "child"),
    *("othermoving", "animal", "train", "person", "rider", "truck", "bus", "motorcycle", "bicycle", "caravan"),
    *("trailer", "vehicle", "vehicles", "people", "human", "cyclist", "motorcyclist", "van", "tram", "motorbike"),
}


class CamvidWriter:
    """A `LabelWriter`."""

    def __init__(self, tree: Tree, table: LabelTable, form: PictureFormat, *, subset: str) -> None:
        table.refuse_names("", "in a label_colors.txt # begins a comment")
        self._tree = tree
        self._form = form
        self._subset = subset
        self._classes = _as_camvid(table.classes)
        self._lookup = color_table(self._classes)
        self._pairs: list[str] = []

    def add(self, frame: LabelledFrame) -> None:
        picture = f"{self._subset}/{frame.name}.{self._form}"
        mask = f"{self._subset}annot/{frame.name}.png"
        self._tree.add(mask, color_png(frame.labels, self._lookup))
        if frame.picture is not None:
            self._tree.add(picture, frame.picture)
        self._pairs.append(f"/{picture} {mask}")

    def finish(self) -> None:
        lines = [f"{' '.join(map(str, item.color))} {item.name}" for item in self._classes]
        self._tree.add_table("label_colors.txt", text_lines(lines))
        self._tree.add_lines(f"{self._subset}.txt", self._pairs)


def _as_camvid(classes: Sequence[PixelClass]) -> list[PixelClass]:
    """With names without blanks, which part the fields of a line: `Column_Pole`, as CamVid writes it.

    A class called background is black: readers take its name for what has no label, whatever its colour.
    """
    names = ["_".join(item.name.split()) for item in classes]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise OutputError(
            f"two classes would be called {twice}, as label_colors.txt has no blanks in names; exclude one"
        )
    colored = iter(distinctly_colored([item for item in classes if item.name != _BACKGROUND]))
    colors = [BLACK if item.name == _BACKGROUND else next(colored).color for item in classes]
    return [PixelClass(name, color) for name, color in zip(names, colors, strict=True)]


class CvatWriter:
    """A `LabelWriter`."""

    def __init__(self, tree: Tree, table: LabelTable, form: PictureFormat, *, subset: str) -> None:
        table.refuse_names(":", "a labelmap.txt parts its fields by colons, and # begins a comment")
        if "_" in subset:
            raise OutputError(f"--subset {subset}: CVAT overlooks lists of frames with a _ in their name; take another")
        self._tree = tree
        self._table = table
        self._form = form
        self._subset = subset
        self._names: list[str] = []

    def add(self, frame: LabelledFrame) -> None:
        content = png(frame.labels)
        self._tree.add(f"SegmentationClass/{frame.name}.png", content)
        self._tree.add(f"SegmentationObject/{frame.name}.png", content)
        if frame.picture is not None:
            self._tree.add(f"JPEGImages/{frame.name}.{self._form}", frame.picture)
        self._names.append(frame.name)

    def finish(self) -> None:
        lines = [PixelClass(self._background(), BLACK), *distinctly_colored(self._table.classes)]
        text = [f"{item.name}:{','.join(map(str, item.color))}::" for item in lines]
        self._tree.add_table("labelmap.txt", text_lines(["# label:color_rgb:parts:actions", *text]))
        self._tree.add_lines(f"ImageSets/Segmentation/{self._subset}.txt", self._names)

    def _background(self) -> str:
        """The name of label 0: CVAT lets no other be absent from its labels, but a class may have it."""
        return "unlabeled" if any(item.name == "background" for item in self._table.classes) else "background"


class FiftyOneWriter:
    """A `LabelWriter`."""

    def __init__(self, tree: Tree, table: LabelTable, form: PictureFormat) -> None:
        self._tree = tree
        self._table = table
        self._form = form

    def add(self, frame: LabelledFrame) -> None:
        self._tree.add(f"labels/{frame.name}.png", png(frame.labels))
        if frame.picture is not None:
            self._tree.add(f"data/{frame.name}.{self._form}", frame.picture)

    def finish(self) -> None:
        self._tree.add_table(
            "mask_targets.json", json_text({str(label): item.name for label, item in self._table.numbered()})
        )


class ColmapWriter:
    """A `LabelWriter`. What has no label is black, too: nobody knows what it is, or it is the own vehicle.

    Raises `OutputError` where no class is known to move, and `RoadmaskError` where one of `movers` is none.
    """

    def __init__(self, tree: Tree, table: LabelTable, form: PictureFormat, *, movers: Sequence[str]) -> None:
        self._tree = tree
        self._form = form
        moves = select_classes(table.classes, only=movers) if movers else tuple(map(_moves, table.classes))
        if not any(moves):
            names = ", ".join(item.name for item in table.classes)
            raise OutputError(f"none of {names} is known to move; say which: --movers A,B", usage=True)
        self._shown = np.zeros(256, np.uint8)
        self._shown[1 : len(moves) + 1] = np.where(moves, 0, 255)

    def add(self, frame: LabelledFrame) -> None:
        name = f"{frame.name}.{self._form}"
        self._tree.add(f"masks/{name}.png", png(np.asarray(cv2.LUT(frame.labels, self._shown), np.uint8)))
        if frame.picture is not None:
            self._tree.add(f"images/{name}", frame.picture)

    def finish(self) -> None:
        return


def _moves(item: PixelClass) -> bool:
    return "".join(filter(str.isalpha, item.name.lower())) in _MOVERS
