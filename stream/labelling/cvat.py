"""Masks for CVAT: its "Segmentation mask 1.1", a Pascal VOC tree.

https://docs.cvat.ai/docs/dataset_management/formats/format-smask

PNGs hold numbers of lines of `labelmap.txt` rather than colours, so there is no colour that is not declared or declared
twice. Each is there as class mask and as instance mask, a class being one instance: of class masks alone CVAT makes a
mask of the background too, and refuses it where the task has no such label (cvat#8995, cvat#6269).
"""

from __future__ import annotations

from ..archive.png import png
from ..errors import OutputError
from ..spec import PixelClass
from .colors import BLACK, distinctly_colored
from .frames import LabelledFrame, LabelTable, PictureFormat
from .tree import Tree, text_lines


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
        self._tree.add("labelmap.txt", text_lines(["# label:color_rgb:parts:actions", *text]))
        self._tree.add(f"ImageSets/Segmentation/{self._subset}.txt", text_lines(self._names))

    def _background(self) -> str:
        """The name of label 0: CVAT lets no other be absent from its labels, but a class may have it."""
        return "unlabeled" if any(item.name == "background" for item in self._table.classes) else "background"
