"""Masks as COCO annotations: one for each class of a frame, its mask as run lengths.

https://cocodataset.org/#format-data, "object detection", of which "stuff segmentation" is a case. `iscrowd` is 0 as for
stuff: pycocotools decodes run lengths either way, but evaluates no class by a crowd, and trainers leave crowds out.
The runs of equal labels, of which Label Studio's masks are made, too, are found once a frame, for all classes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..archive.manifest import ArchiveHeader
from ..errors import OutputError
from ..system.talk import install_command
from .frames import LabelledFrame, LabelTable, PictureFormat
from .tree import JsonItems, Tree, json_text

# Of a brush of Label Studio.
_CHANNELS = 4
_VALUE_BITS = 8
_LENGTH_BITS = np.array([3, 4, 8, 16])
_LONGEST = 1 << 16


class CocoWriter:
    """A `LabelWriter`. Both lists grow on disk, as a JSON file has room for one only."""

    def __init__(
        self, tree: Tree, table: LabelTable, form: PictureFormat, *, subset: str, header: ArchiveHeader
    ) -> None:
        try:
            from pycocotools import mask as coco_mask
        except ImportError as exc:
            raise OutputError(f"--to coco needs pycocotools: {install_command('coco')}") from exc
        self._coco = coco_mask
        self._tree = tree
        self._table = table
        self._form = form
        self._header = header
        self._images = JsonItems(tree)
        self._annotations = JsonItems(tree)
        self._file = f"annotations/instances_{subset}.json"
        self._images_folder = f"images/{subset}"
        tree.add_folder(self._images_folder)  # without it datumaro reads nothing, though it needs none of the pictures
        self._last_id = 0  # ids from 1: pycocotools takes 0 for "matched by none"
        self._first_image_id = 0  # of the frame of number 0
        if path := tree.existing(self._file):
            self._take_over(path)

    def _take_over(self, path: Path) -> None:
        """What other drives have in the file; frames of this one have its prefix."""
        own_name = re.compile(rf"{re.escape(self._tree.prefix)}frame_\d+\.\w+")
        try:
            content = json.loads(path.read_bytes())
            images = [image for image in content["images"] if not own_name.fullmatch(image["file_name"])]
            ids = {int(image["id"]) for image in images}
            annotations = [item for item in content["annotations"] if item["image_id"] in ids]
            self._last_id = max((int(item["id"]) for item in annotations), default=0)
        except (ValueError, KeyError, TypeError) as exc:
            raise OutputError(f"{path}: cannot be added to ({exc!r}); name another --subset or folder") from exc
        self._first_image_id = max(ids, default=-1) + 1
        for items, taken in ((self._images, images), (self._annotations, annotations)):
            for item in taken:
                items.add(item)

    def add(self, frame: LabelledFrame) -> None:
        record = frame.record
        file_name = f"{frame.name}.{self._form}"
        image_id = self._first_image_id + record.index
        self._images.add({"id": image_id, "file_name": file_name, "width": record.width, "height": record.height})
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
                    "image_id": image_id,
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
        self._tree.add_merged(self._file, parts)

    def _info(self) -> dict[str, str]:
        made = f"masks of {self._header.source or 'a video'} by {self._header.model or 'a model'}"
        return {"description": made, "version": self._header.model_sha256 or ""}

    def _categories(self) -> list[dict[str, object]]:
        return [
            {"id": label, "name": item.name, "supercategory": "", "color": list(item.color), "isthing": 0}
            for label, item in self._table.numbered()
        ]


def runs_of_labels(labels: NDArray[np.uint8]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Each label but 0 that occurs, and where it is.

    Args:
        labels: (n,) in the order in which the runs are to go.

    Yields:
        A label, in rising order, and the lengths of runs that are not of it and of runs that are, in turn, from the
        beginning to the end: the first may be 0, the others are not.
    """
    starts = np.concatenate(([0], np.flatnonzero(labels[1:] != labels[:-1]) + 1))
    values = labels[starts]
    ends = np.append(starts[1:], len(labels))
    for label in np.unique(values):
        if label == 0:
            continue
        is_label = values == label  # never two in a row, so each of its runs has a run of others before it, or nothing
        yield int(label), _alternating(starts[is_label], ends[is_label], len(labels))


def _alternating(starts: NDArray[np.int64], ends: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    borders = np.stack((starts, ends), axis=1).ravel()
    lengths = np.diff(borders, prepend=0)
    return np.append(lengths, length - ends[-1]) if ends[-1] < length else lengths


def brush_rle(lengths: NDArray[np.int64]) -> bytes:
    """A brush as Label Studio keeps it: runs of the values of an RGBA picture, as a stream of bits.

    A head of 53 bits: how many values there are (32), bits of a value less 1 (5), and bits of a length less 1 in each
    of four sizes (4 each). Then the runs: 1, the size's number (2), the length less 1, the value. What it calls a run
    of different values, 0 in place of 1, is not needed here. https://github.com/thi-ng/umbrella, packages/rle-pack.

    Args:
        lengths: of runs of pixels, row by row, that are not painted and that are, in turn.
    """
    values = np.arange(len(lengths)) % 2 * 255
    lengths, values = _at_most(_CHANNELS * lengths, values)  # all four channels of a painted pixel are 255
    size = np.searchsorted([8, 16, 256], lengths)
    length_bits = _LENGTH_BITS[size]
    codes = (((4 | size) << length_bits | (lengths - 1)) << _VALUE_BITS) | values
    head = (
        lengths.sum() << 21
        | (_VALUE_BITS - 1) << 16
        | sum((int(bits) - 1) << 4 * (3 - place) for place, bits in enumerate(_LENGTH_BITS))
    )
    bits = np.concatenate(([32 + 5 + 16], 3 + length_bits + _VALUE_BITS))
    return _packed(np.concatenate(([head], codes)), bits)


def _at_most(lengths: NDArray[np.int64], values: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The same runs with those that are too long in pieces, and without empty ones."""
    pieces = -(-lengths // _LONGEST)
    in_pieces = np.full(pieces.sum(), _LONGEST)
    last = np.cumsum(pieces) - 1
    in_pieces[last[pieces > 0]] = (lengths - _LONGEST * (pieces - 1))[pieces > 0]
    return in_pieces, np.repeat(values, pieces)


def _packed(codes: NDArray[np.int64], bits: NDArray[np.int64]) -> bytes:
    """The lowest `bits` of each code, one after the other, the highest bit first; zeros fill the last byte."""
    ends = np.cumsum(bits)
    shifts = np.repeat(ends, bits) - 1 - np.arange(ends[-1])
    return np.packbits(((np.repeat(codes, bits) >> shifts) & 1).astype(np.uint8)).tobytes()
