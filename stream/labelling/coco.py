"""Masks as COCO annotations: one for each class of a frame, its mask as run lengths.

https://cocodataset.org/#format-data, "object detection", of which "stuff segmentation" is a case. `iscrowd` is 0 as for
stuff: pycocotools decodes run lengths either way, but evaluates no class by a crowd, and trainers leave crowds out.
"""

from __future__ import annotations

from itertools import chain

import cv2
import numpy as np

from ..archive.manifest import ArchiveHeader
from ..errors import OutputError
from .frames import LabelledFrame, LabelTable, PictureFormat
from .runs import runs_of_labels
from .tree import JsonItems, Tree, json_text


class CocoWriter:
    """A `LabelWriter`. Both lists grow on disk, as a JSON file has room for one only."""

    def __init__(
        self, tree: Tree, table: LabelTable, form: PictureFormat, *, subset: str, header: ArchiveHeader
    ) -> None:
        try:
            from pycocotools import mask as coco_mask
        except ImportError as exc:
            raise OutputError("--to coco needs pycocotools: pip install 'roadmask[coco]'") from exc
        self._coco = coco_mask
        self._tree = tree
        self._table = table
        self._form = form
        self._subset = subset
        self._header = header
        self._images = JsonItems(tree)
        self._annotations = JsonItems(tree)
        self._images_folder = f"images/{subset}"
        tree.add_folder(self._images_folder)  # without it datumaro reads nothing, though it needs none of the pictures
        self._last_id = 0  # ids from 1: pycocotools takes 0 for "matched by none"

    def add(self, frame: LabelledFrame) -> None:
        record = frame.record
        file_name = f"{frame.name}.{self._form}"
        self._images.add({"id": record.index, "file_name": file_name, "width": record.width, "height": record.height})
        if frame.picture is not None:
            self._tree.add(f"{self._images_folder}/{file_name}", frame.picture)
        by_column = np.asarray(cv2.transpose(frame.labels), np.uint8).ravel()
        for label, lengths in runs_of_labels(by_column):
            self._last_id += 1
            counts = {"counts": lengths.tolist(), "size": [record.height, record.width]}
            mask = self._coco.frPyObjects(counts, record.height, record.width)
            self._annotations.add(
                {
                    "id": self._last_id,
                    "image_id": record.index,
                    "category_id": label,
                    "iscrowd": 0,
                    "area": int(lengths[1::2].sum()),
                    "bbox": self._coco.toBbox(mask).tolist(),
                    "segmentation": {"size": counts["size"], "counts": mask["counts"].decode("ascii")},
                }
            )

    def finish(self) -> None:
        head = json_text({"info": self._info(), "licenses": [], "categories": self._categories()}).rstrip(b"\n}")
        parts = chain(
            (head, b',\n  "images": [\n'),
            self._images.parts(),
            (b'\n  ],\n  "annotations": [\n',),
            self._annotations.parts(),
            (b"\n  ]\n}\n",),
        )
        self._tree.add_parts(f"annotations/instances_{self._subset}.json", parts)

    def _info(self) -> dict[str, str]:
        made = f"masks of {self._header.source or 'a video'} by {self._header.model or 'a model'}"
        return {"description": made, "version": self._header.model_sha256 or ""}

    def _categories(self) -> list[dict[str, object]]:
        return [
            {"id": label, "name": item.name, "supercategory": "", "color": list(item.color), "isthing": 0}
            for label, item in self._table.numbered()
        ]
