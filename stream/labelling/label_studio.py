"""Masks for Label Studio: tasks whose predictions are brushes, and the labelling configuration that they fit.

https://labelstud.io/guide/predictions and https://labelstud.io/tags/brushlabels
"""

from __future__ import annotations

from itertools import chain
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from ..archive.manifest import ArchiveHeader
from .coco import brush_rle, runs_of_labels
from .frames import LabelledFrame, LabelTable, PictureFormat
from .tree import JsonItems, Tree, text_lines

_FROM_NAME, _TO_NAME = "label", "image"
MAX_BYTES = 200_000_000  # of a file of tasks: Label Studio takes 250 MiB at a time


def local_files_root(folder: str) -> str:
    """Where Label Studio serves the pictures of `folder`, if its LOCAL_FILES_DOCUMENT_ROOT is the folder around it."""
    return f"/data/local-files/?d={quote(folder)}/images"


class LabelStudioWriter:
    """A `LabelWriter`.

    Args:
        tree: to write to.
        table: the labels.
        form: of the pictures.
        image_root: where Label Studio finds them: a URL or a path, to which a name is joined.
        header: of the archive.
    """

    def __init__(
        self, tree: Tree, table: LabelTable, form: PictureFormat, *, image_root: str, header: ArchiveHeader
    ) -> None:
        self._tree = tree
        self._table = table
        self._form = form
        self._root = image_root if image_root.endswith(("/", "=")) else f"{image_root}/"
        self._model = header.model or "roadmask"
        self._tasks = JsonItems(tree)
        self._files = 0

    def add(self, frame: LabelledFrame) -> None:
        file_name = f"{frame.name}.{self._form}"
        if frame.picture is not None:
            self._tree.add(f"images/{file_name}", frame.picture)
        if self._tasks.size > MAX_BYTES:
            self._write_tasks(more=True)
        record = frame.record
        data = {"image": f"{self._root}{file_name}", "frame": record.index, "time": float(record.time)}
        self._tasks.add({"data": data, "predictions": [{"model_version": self._model, "result": self._brushes(frame)}]})

    def _brushes(self, frame: LabelledFrame) -> list[dict[str, object]]:
        """As the interface saves them."""
        return [
            {
                "id": f"{frame.name}_{label}",
                "type": "brushlabels",
                "from_name": _FROM_NAME,
                "to_name": _TO_NAME,
                "original_width": frame.record.width,
                "original_height": frame.record.height,
                "image_rotation": 0,
                "value": {
                    "format": "rle",
                    "rle": list(brush_rle(lengths)),
                    "brushlabels": [self._table.classes[label - 1].name],
                },
            }
            for label, lengths in runs_of_labels(frame.labels.ravel())
        ]

    def _write_tasks(self, *, more: bool) -> None:
        self._files += 1
        name = f"tasks_{self._files:03d}.json" if more or self._files > 1 else "tasks.json"
        self._tree.add_parts(f"{self._tree.prefix}{name}", chain((b"[\n",), self._tasks.parts(), (b"\n]\n",)))
        self._tasks.clear()

    def finish(self) -> None:
        self._write_tasks(more=False)
        labels = (
            f'    <Label value={quoteattr(item.name)} background="#{bytes(item.color).hex()}"/>'
            for item in self._table.classes
        )
        lines = [
            "<View>",
            f'  <Image name="{_TO_NAME}" value="$image" zoom="true" zoomControl="true"/>',
            f'  <BrushLabels name="{_FROM_NAME}" toName="{_TO_NAME}">',
            *labels,
            "  </BrushLabels>",
            "</View>",
        ]
        self._tree.add_table("label_config.xml", text_lines(lines))
