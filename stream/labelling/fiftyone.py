"""Masks for FiftyOne: an `ImageSegmentationDirectory`, one-channel PNGs in `labels/`, pictures so named in `data/`.

https://docs.voxel51.com/user_guide/dataset_creation/datasets.html#imagesegmentationdirectory

0 is what FiftyOne does not draw. The format has no place for the classes' names, so they are in `mask_targets.json`.
"""

from __future__ import annotations

from ..archive.png import png
from .frames import LabelledFrame, LabelTable, PictureFormat
from .tree import Tree, json_text


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
        self._tree.add(
            "mask_targets.json", json_text({str(label): item.name for label, item in self._table.numbered()})
        )
