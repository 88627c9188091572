"""Labels that are not pictures: outlines and run lengths of COCO, YOLO, Label Studio, LabelMe and Cityscapes."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from .class_lists import ClassList, class_list, known_list
from .errors import DataError
from .files import composed, opened, read_json, read_lines
from .label_pictures import VOID
from .layouts import Example, find_pictures, part_in
from .outlines import Area, coco_runs, filled, of_brush, of_runs, painted
from .public_sets import CITYSCAPES_IDS, IDD_SAME

Item = Mapping[str, Any]  # of a JSON file
_UPLOADED = re.compile(r"[0-9a-f]{8}-")  # before the name of a picture that was uploaded to Label Studio
_BEGIN, _FEW = 4000, 8  # characters of a file, and files, that are looked at
_BOXES = "boxes, which say nothing of pixels; outlines are needed, as for segmentation"


class Outlines(ABC):
    """Reads labels that are areas, the smaller ones over the larger, unless they have an order of their own.

    What none covers is `rest`.
    """

    is_ordered = False

    def __init__(self) -> None:
        self.rest = VOID
        self.strays: dict[Path, int] = {}  # there are none
        self.shades: dict[Path, int] = {}
        self.boxes = 0  # that have no outline, and are void

    @abstractmethod
    def areas(self, example: Example, height: int, width: int) -> Iterator[Area]:
        """Of a picture of this size. What it raises of a file that is not as it should be need not be `DataError`."""

    def ids(self, example: Example) -> NDArray[np.uint8]:
        """(height, width) class ids, or `rest`. Raises `DataError`."""
        with opened(example.picture) as image:
            width, height = image.size
        with _telling(example.label, example.picture):
            areas = list(self.areas(example, height, width))
            in_order = areas if self.is_ordered else sorted(areas, key=lambda area: -area.size)
            return painted(in_order, height, width, self.rest)


@dataclass(frozen=True, slots=True, eq=False)
class Annotated:
    """A data set with one or a few files of labels for all its pictures."""

    layout: str
    places: str  # of the files, for people
    examples: tuple[Example, ...]
    strangers: tuple[str, ...]  # for people: pictures that the files name, and that are not there
    classes: ClassList
    reader: Outlines


def find_annotated(root: Path, named: ClassList | None) -> Annotated | None:
    """COCO's or Label Studio's JSON in `root`, or in a folder there.

    Args:
        root: the data set's folder.
        named: its list of classes, if it has one; COCO has its own.

    Raises:
        DataError: a file is damaged, or names pictures of which none is there.
    """
    folders = [root, *(path for path in sorted(root.iterdir()) if path.is_dir())]
    files = [(path, read_json(path)) for folder in folders for path in sorted(folder.glob("*.json"))]
    coco = [(path, content) for path, content in files if isinstance(content, dict) and _is_coco(content)]
    if coco:
        return _coco(root, coco)
    tasks = [(path, content) for path, content in files if isinstance(content, list) and _are_tasks(content)]
    return _label_studio(root, tasks, named) if tasks else None


def foreign(root: Path) -> str:
    """For people: what the labels are, and as what to save them; "" where nothing is known of them."""
    files = [path for folder in (root, *sorted(root.iterdir())) if folder.is_dir() for path in sorted(folder.iterdir())]
    for path in files:
        if path.suffix.lower() == ".zip":
            return f"labels may be in {path.name}; unpack it"
        if path.suffix.lower() == ".xml":
            text = path.read_text(encoding="utf-8", errors="replace")[:_BEGIN]
            if "<annotations>" in text:
                return f"{path.name} is CVAT's own XML; export the task as Segmentation mask 1.1, or as COCO 1.0"
            if "<annotation" in text:
                return f"{path.name} is of Pascal VOC: {_BOXES}"
        if path.name == "meta.json" and "classTitle" in "".join(_begins(root, "*.json")):
            return "labels are Supervisely's JSON; export the project as masks, or as COCO"
        if path.suffix.lower() == ".json" and "shape_attributes" in path.read_text(encoding="utf-8", errors="replace"):
            return f"{path.name} is of the VGG Image Annotator; export the project as COCO"
    return ""


def _begins(root: Path, pattern: str) -> Iterator[str]:
    return (path.read_text(encoding="utf-8", errors="replace")[:_BEGIN] for path in sorted(root.rglob(pattern))[:_FEW])


def _is_coco(content: Item) -> bool:
    return content.keys() >= {"images", "annotations", "categories"}


def _are_tasks(content: Sequence[Any]) -> bool:
    return bool(content) and isinstance(content[0], dict) and "data" in content[0]


class _Coco(Outlines):
    """https://cocodataset.org/#format-data: polygons, or run lengths with or without pycocotools' packing."""

    def __init__(self, items: Mapping[Path, Sequence[tuple[int, Item]]]) -> None:
        super().__init__()
        self._items = items  # class id and annotation
        outlined = [bool(item.get("segmentation")) for some in items.values() for _, item in some]
        self.boxes = outlined.count(False) if any(outlined) else 0

    def areas(self, example: Example, height: int, width: int) -> Iterator[Area]:
        for number, item in self._items[example.picture]:
            shape = item.get("segmentation")
            if isinstance(shape, dict):
                if list(shape["size"]) != [height, width]:
                    raise ValueError(f"a mask of {shape['size'][1]}x{shape['size'][0]}, its picture {width}x{height}")
                counts = shape["counts"]
                yield of_runs(number, coco_runs(counts) if isinstance(counts, str) else counts, height, width)
            elif shape:
                for flat in shape:
                    yield filled(number, list(zip(flat[::2], flat[1::2], strict=True)), height, width)
            elif self.boxes and "bbox" in item:
                left, top, wide, high = item["bbox"]
                right, bottom = left + wide, top + high
                yield filled(VOID, [(left, top), (right, top), (right, bottom), (left, bottom)], height, width)
            else:
                raise ValueError(_BOXES)


def _coco(root: Path, files: Sequence[tuple[Path, Item]]) -> Annotated:
    classes, pictures = _categories(files), _Pictures(root)
    number_of = {name: number for number, name in enumerate(classes.codes)}
    by_picture: dict[Path, list[tuple[int, Item]]] = {}
    examples, absent = [], []
    for path, content in files:
        with _telling(path):
            names = {int(item["id"]): str(item["name"]) for item in content["categories"]}
            items: dict[int, list[tuple[int, Item]]] = defaultdict(list)
            for item in content["annotations"]:
                items[int(item["image_id"])].append((number_of[names[int(item["category_id"])]], item))
            for image in content["images"]:
                picture = pictures.find(str(image["file_name"]), path.parent)
                if picture is None:
                    absent.append(str(image["file_name"]))
                    continue
                by_picture[picture] = items[int(image["id"])]
                folder = part_in(picture.relative_to(root).parts) or part_in(re.split(r"[^a-z]+", path.stem.lower()))
                examples.append(Example(picture.stem, picture, path, folder))
    return _annotated("COCO", root, [path for path, _ in files], examples, absent, classes, _Coco(by_picture))


def _categories(files: Sequence[tuple[Path, Item]]) -> ClassList:
    """By their ids. One without areas that is the others' supercategory is a heading, as Roboflow writes it."""
    named: dict[int, str] = {}
    for path, content in files:
        if any("segments_info" in item for item in content["annotations"][:1]):
            raise DataError(f"{path}: is COCO's panoptic kind; export it with outlines (instances), or as masks")
        with _telling(path):
            used = {int(item["category_id"]) for item in content["annotations"]}
            headings = {str(item.get("supercategory")) for item in content["categories"]}
            for item in content["categories"]:
                if int(item["id"]) in used or str(item["name"]) not in headings:
                    named[int(item["id"])] = str(item["name"])
    return class_list(dict.fromkeys(named[number] for number in sorted(named)), f"{files[0][0]}: categories")


class _Brushes(Outlines):
    """https://labelstud.io/tags/brushlabels and /tags/polygonlabels"""

    def __init__(self, items: Mapping[Path, Sequence[Item]], number_of: Mapping[str, int]) -> None:
        super().__init__()
        self._items = items
        self._number_of = number_of

    def areas(self, example: Example, height: int, width: int) -> Iterator[Area]:
        for item in self._items[example.picture]:
            for name in _labels_of(item)[:1]:
                value, number = item["value"], self._number_of[name]
                if "rle" in value:
                    yield of_brush(number, value["rle"], height, width)
                else:  # in hundredths of the sides
                    corners = [(x * width / 100, y * height / 100) for x, y in value["points"]]
                    yield filled(number, corners, height, width)


def _label_studio(root: Path, files: Sequence[tuple[Path, Sequence[Item]]], named: ClassList | None) -> Annotated:
    pictures = _Pictures(root)
    by_picture: dict[Path, list[Item]] = {}
    examples, absent = [], []
    for path, tasks in files:
        with _telling(path):
            for task in tasks:
                address = unquote(next(str(value) for value in task["data"].values() if "." in str(value)))
                picture = pictures.find(address.rpartition("?d=")[2], path.parent)
                if picture is None:
                    absent.append(address)
                else:
                    by_picture[picture] = _results(task)
                    examples.append(Example(picture.stem, picture, path, ""))
            names = {name for items in by_picture.values() for item in items for name in _labels_of(item)}
    classes = named or class_list(sorted(names), f"{files[0][0]}: labels")
    if unknown := sorted(names - {*classes.codes}):
        raise DataError(
            f"{classes.origin}: lacks {', '.join(map(repr, unknown))}, as which something is labelled; add that"
        )
    reader = _Brushes(by_picture, {name: number for number, name in enumerate(classes.codes)})
    return _annotated("Label Studio", root, [path for path, _ in files], examples, absent, classes, reader)


def _results(task: Item) -> list[Item]:
    """Of the last annotation that was not cancelled; of the prediction where there is none."""
    made = [item for item in task.get("annotations", ()) if not item.get("was_cancelled")]
    made = made or list(task.get("predictions", ()))
    return list(made[-1]["result"]) if made else []


def _labels_of(item: Item) -> list[str]:
    value = item.get("value", {})
    return [str(name) for name in value.get("brushlabels") or value.get("polygonlabels") or ()]


class Yolo(Outlines):
    """A file a picture, a line an area: its class's number, then x and y of its corners in parts of the sides."""

    def __init__(self, class_count: int) -> None:
        super().__init__()
        self._class_count = class_count

    def areas(self, example: Example, height: int, width: int) -> Iterator[Area]:
        if not example.label.is_file():  # there is nothing in the picture
            return
        for line in read_lines(example.label):
            number, *texts = line.split()
            values = [float(text) for text in texts]
            if len(values) == 4:
                raise ValueError(_BOXES)
            if not 0 <= int(number) < self._class_count:
                raise ValueError(f"class {number}, which is not in the list of {self._class_count} classes")
            corners = [(x * width, y * height) for x, y in zip(values[::2], values[1::2], strict=True)]
            yield filled(int(number), corners, height, width)


class _Shapes(Outlines):
    """A JSON file a picture: LabelMe's, or Cityscapes' polygons."""

    is_ordered = True

    def __init__(self, number_of: Mapping[str, int]) -> None:
        super().__init__()
        self._number_of = number_of

    def areas(self, example: Example, height: int, width: int) -> Iterator[Area]:
        for name, corners in _shapes_of(example.label):
            yield filled(self._number(name), corners, height, width)

    def _number(self, name: str) -> int:
        if name not in self._number_of and name not in CITYSCAPES_IDS:  # a cargroup is of cars, but a polegroup is void
            name = name.removesuffix("group")
        return self._number_of.get(IDD_SAME.get(name, name) if name not in self._number_of else name, VOID)


def read_shapes(examples: Sequence[Example], named: ClassList | None) -> tuple[ClassList, Outlines]:
    """Their classes are `named`, or those of Cityscapes or IDD where it is theirs, or all that occur.

    Raises:
        DataError: a file is damaged.
    """
    if named is None:
        names: set[str] = set()
        for example in (example for example in examples if example.label.is_file()):
            with _telling(example.label):
                names.update(name for name, _ in _shapes_of(example.label))
        is_public = examples[0].label.stem.endswith("_polygons")
        public = "idd" if names & {"autorickshaw", "drivable fallback", "non-drivable fallback"} else "cityscapes"
        named = known_list(public) if is_public else class_list(sorted(names), "the names in the labels")
    return named, _Shapes({name: number for number, name in enumerate(named.codes)})


def _shapes_of(path: Path) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    content = read_json(path)
    for item in content["objects"] if "objects" in content else content["shapes"]:
        if item.get("shape_type", "polygon") == "polygon" and not item.get("deleted"):
            corners = item["polygon"] if "polygon" in item else item["points"]
            yield str(item["label"]), [(float(x), float(y)) for x, y in corners]


def _annotated(
    layout: str,
    root: Path,
    paths: Sequence[Path],
    examples: Sequence[Example],
    absent: Sequence[str],
    classes: ClassList,
    reader: Outlines,
) -> Annotated:
    if not examples:
        such = f", such as {absent[0]!r}," if absent else ""
        raise DataError(f"{paths[0]}: none of its {len(absent)} pictures{such} is below {root}; put them there")
    names = ", ".join(path.relative_to(root).as_posix() for path in paths[:3])
    strangers = tuple(f"{name}: is named in {names}, and is no picture here" for name in absent)
    return Annotated(layout, names, tuple(examples), strangers, classes, reader)


class _Pictures:
    """The pictures below a folder, by whatever a file calls them."""

    def __init__(self, root: Path) -> None:
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        for path in find_pictures(root):
            self._by_name[composed(path.name)].append(path)

    def find(self, name: str, beside: Path) -> Path | None:
        """The one of that name; of several the one at that path, or in the file's own folder."""
        last = re.split(r"[/\\]", composed(name))[-1]
        found = self._by_name.get(last) or self._by_name.get(_UPLOADED.sub("", last, count=1)) or []
        if len(found) > 1:
            there = [path for path in found if composed(path.as_posix()).endswith(f"/{composed(name).lstrip('./')}")]
            found = there if len(there) == 1 else [path for path in there or found if path.parent == beside]
        return found[0] if len(found) == 1 else None


@contextmanager
def _telling(path: Path, picture: Path | None = None) -> Iterator[None]:
    is_shared = picture is not None and path.stem != picture.stem
    where, told_in = (picture, f", says {path.name}") if is_shared else (path, "")
    try:
        yield
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, StopIteration, OverflowError) as exc:
        what = str(exc) if type(exc) is ValueError else f"not as such a file is known here ({exc!r})"
        raise DataError(f"{where}: {what}{told_in}") from exc
