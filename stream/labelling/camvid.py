"""Masks as CamVid is handed on: colour masks in `SUBSETannot/`, pictures in `SUBSET/`, their pairs in `SUBSET.txt`.

https://docs.cvat.ai/docs/dataset_management/formats/format-camvid

Colours and not numbers, as readers move the class that is (0, 0, 0) to the front. It is not declared here: black is
what has no label, and a black that is declared would be read as a class.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import OutputError
from ..spec import PixelClass
from .colors import BLACK, color_png, color_table, distinctly_colored
from .frames import LabelledFrame, LabelTable, PictureFormat
from .tree import Tree, text_lines

_BACKGROUND = "background"


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
        self._tree.add("label_colors.txt", text_lines(lines))
        self._tree.add(f"{self._subset}.txt", text_lines(self._pairs))


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
