"""Labelled driving pictures on disk, and *the* class table.

Two layouts are read:
- fastai's CamVid: `images/NAME.*`, `labels/NAME_P.png` (or `labels/NAME.png`), `codes.txt` (a class a line, in the
  order of the ids; 255 is void where it is no class) and `valid.txt` (the validation pictures, a file name a line);
- SegNet's: `train/ trainannot/ val/ valannot/ test/ testannot/` with equal names, and the 11 classes and void of the
  SegNet tutorial unless there is a `codes.txt`; or with labels in colours and a `label_colors.txt`, as CamVid itself,
  CVAT and `roadmask convert --to camvid` have them.
"""

from __future__ import annotations

import colorsys
import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .files import Color as Color
from .files import is_class_name, read_label_colors, read_label_ids, read_lines, read_list
from .files import read_picture as read_picture  # for export too

VOID = 255  # in masks as training sees them: pixels that neither the loss nor a score counts
VOID_NAMES = frozenset({"void", "unlabelled", "unlabeled", "ignore"})
_PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})

# Names and colours (RGB) as published with the data: Brostow, Fauqueur, Cipolla, "Semantic object classes in video:
# A high-definition ground truth database" (2008), label_colors.txt.
CAMVID_COLORS: dict[str, Color] = {
    "Animal": (64, 128, 64),
    "Archway": (192, 0, 128),
    "Bicyclist": (0, 128, 192),
    "Bridge": (0, 128, 64),
    "Building": (128, 0, 0),
    "Car": (64, 0, 128),
    "CartLuggagePram": (64, 0, 192),
    "Child": (192, 128, 64),
    "Column_Pole": (192, 192, 128),
    "Fence": (64, 64, 128),
    "LaneMkgsDriv": (128, 0, 192),
    "LaneMkgsNonDriv": (192, 0, 64),
    "Misc_Text": (128, 128, 64),
    "MotorcycleScooter": (192, 0, 192),
    "OtherMoving": (128, 64, 64),
    "ParkingBlock": (64, 192, 128),
    "Pedestrian": (64, 64, 0),
    "Road": (128, 64, 128),
    "RoadShoulder": (128, 128, 192),
    "Sidewalk": (0, 0, 192),
    "SignSymbol": (192, 128, 128),
    "Sky": (128, 128, 128),
    "SUVPickupTruck": (64, 128, 192),
    "TrafficCone": (0, 0, 64),
    "TrafficLight": (0, 64, 64),
    "Train": (192, 64, 128),
    "Tree": (128, 128, 0),
    "Truck_Bus": (192, 128, 192),
    "Tunnel": (64, 0, 64),
    "VegetationMisc": (192, 192, 0),
    "Void": (0, 0, 0),
    "Wall": (64, 192, 0),
}
# The 32 classes as the 11 of the SegNet tutorial, read off its label pictures laid over the original ones: of each
# class that occurs, nine tenths of the pixels agree, the rest are borders. Other tables are about, with traffic cones
# as poles or trains as cars: they are not what these labels say. Tunnel, Train and Animal occur nowhere.
CAMVID32_TO_11: dict[str, str] = {
    "Animal": "Void",
    "Archway": "Void",
    "Bicyclist": "Bicyclist",
    "Bridge": "Void",
    "Building": "Building",
    "Car": "Car",
    "CartLuggagePram": "Void",
    "Child": "Void",
    "Column_Pole": "Column_Pole",
    "Fence": "Fence",
    "LaneMkgsDriv": "Road",
    "LaneMkgsNonDriv": "Road",
    "Misc_Text": "SignSymbol",
    "MotorcycleScooter": "Bicyclist",
    "OtherMoving": "Void",
    "ParkingBlock": "Sidewalk",
    "Pedestrian": "Pedestrian",
    "Road": "Road",
    "RoadShoulder": "Road",
    "Sidewalk": "Sidewalk",
    "SignSymbol": "SignSymbol",
    "Sky": "Sky",
    "SUVPickupTruck": "Car",
    "TrafficCone": "Void",
    "TrafficLight": "SignSymbol",
    "Train": "Void",
    "Tree": "Tree",
    "Truck_Bus": "Car",
    "Tunnel": "Void",
    "VegetationMisc": "Tree",
    "Void": "Void",
    "Wall": "Building",
}
# The ids of the SegNet tutorial's label pictures, which come without a list.
SEGNET_NAMES = (
    "Sky",
    "Building",
    "Column_Pole",
    "Road",
    "Sidewalk",
    "Tree",
    "SignSymbol",
    "Fence",
    "Car",
    "Pedestrian",
    "Bicyclist",
    "Void",
)

_COLORS = "label_colors.txt"

Layout = Literal["fastai", "segnet", "unlabelled"]


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A picture and the path its label picture should have."""

    name: str
    picture: Path
    label: Path
    folder: str  # "train", "val" or "test" in SegNet's layout; "images" in fastai's; "" without labels

    @property
    def drive(self) -> str:
        """The recording a frame belongs to: the part of `DRIVE_frame` before the last underscore."""
        return self.name.rpartition("_")[0] or self.name


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """The pictures below a folder, and how to read their labels."""

    root: Path
    layout: Layout
    codes: tuple[str, ...]  # as in codes.txt, void among them
    class_names: tuple[str, ...]  # without void
    class_colors: tuple[Color, ...]
    class_of_id: NDArray[np.uint8]  # (256,) id in a label picture to index into `class_names`, or VOID
    examples: tuple[Example, ...]
    id_of_color: Mapping[Color, int] | None = None  # where label pictures hold colours

    def read(self, example: Example) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The picture (height, width, 3) RGB and its mask (height, width), indices into `class_names` or `VOID`.

        Raises:
            DataError: a file is missing or no picture, the sizes differ, or an id is not in the class list.
        """
        return self.pair(example, read_picture(example.picture), self.label_ids(example))

    def label_ids(self, example: Example) -> NDArray[np.uint8]:
        """(height, width) ids. Raises `DataError`."""
        return read_label_ids(example.label, self.id_of_color)

    def pair(
        self, example: Example, picture: NDArray[np.uint8], ids: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The second half of `read`: what the files of `example` held, checked against each other and the classes."""
        if picture.shape[:2] != ids.shape:
            raise DataError(
                f"{example.label}: label is {ids.shape[1]}x{ids.shape[0]}, "
                f"its picture {picture.shape[1]}x{picture.shape[0]}; they must be of one size"
            )
        if (largest := int(ids.max(where=ids != VOID, initial=0))) >= len(self.codes):
            raise DataError(
                f"{example.label}: class id {largest} is not in the list of {len(self.codes)} classes (0 to "
                f"{len(self.codes) - 1}); run 'roadmask data {self.root}' for all such files"
            )
        return picture, self.class_of_id[ids]


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    train: tuple[Example, ...]
    valid: tuple[Example, ...]
    valid_by: str  # for people: how the validation pictures were chosen


def open_dataset(root: Path) -> Dataset:
    """Find the pictures below `root`; labels are not opened yet.

    Raises:
        DataError: `root` has neither layout, its class list is unusable, or it holds no picture.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    layout = _layout(root)
    examples = _fastai_examples(root) if layout == "fastai" else _segnet_examples(root)
    if not examples:
        raise DataError(f"{root}: no pictures found ({', '.join(sorted(_PICTURE_SUFFIXES))})")
    codes, id_of_color = _codes(root, layout), None
    if layout == "segnet" and (path := root / _COLORS).is_file():
        codes, id_of_color = read_label_colors(path)
    names = tuple(code for code in codes if code.lower() not in VOID_NAMES)
    if not names:
        raise DataError(f"{root / 'codes.txt'}: names no class but void")
    class_of_id = np.full(256, VOID, np.uint8)
    for class_id, code in enumerate(codes):
        if code in names:
            class_of_id[class_id] = names.index(code)
    return Dataset(root, layout, codes, names, class_colors(names), class_of_id, tuple(examples), id_of_color)


def open_unlabelled(root: Path) -> Dataset:
    """The pictures in a folder, without labels.

    Raises:
        DataError: no such folder, or no picture in it.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    examples = tuple(Example(path.stem, path, path, "") for path in _pictures(root))
    if not examples:
        raise DataError(f"{root}: no pictures found ({', '.join(sorted(_PICTURE_SUFFIXES))})")
    return Dataset(root, "unlabelled", (), (), (), np.full(256, VOID, np.uint8), examples)


def split(
    dataset: Dataset, *, valid_list: Path | None = None, valid_drives: Iterable[str] = (), must_score: bool = True
) -> Split:
    """Divide the pictures into those to train on and those to score on; never at random.

    Frames of one drive show the same street, so a random choice would score what was learnt by heart. Without
    options the data set's own choice holds: `valid.txt`, or the folder `val`. The folder `test` is in neither part.

    Args:
        dataset: whose pictures.
        valid_list: a file that names the validation pictures.
        valid_drives: recordings to hold out; `*` stands for any characters, as in `train_*7`.
        must_score: off, a data set may have no validation pictures.

    Raises:
        DataError: a named drive or file does not exist, or one side would be empty.
    """
    candidates = [example for example in dataset.examples if example.folder != "test"]
    own_list = dataset.root / "valid.txt"
    if drives := frozenset(valid_drives):
        by = f"drive {', '.join(sorted(drives))}"
        valid = of_drives(dataset, candidates, drives)
    elif valid_list is not None or (dataset.layout == "fastai" and (must_score or own_list.is_file())):
        path = valid_list or own_list
        by = f"list {path.name}"
        valid = of_list(candidates, path)
    else:
        by = "folder val"
        valid = [example for example in candidates if example.folder == "val"]
    chosen = {id(example) for example in valid}
    train = tuple(example for example in candidates if id(example) not in chosen)
    if not train or (must_score and not valid):
        counts = f"{len(train)} pictures to train on, {len(valid)} to score on"
        raise DataError(f"{dataset.root}: by {by} there are {counts}")
    return Split(train, tuple(valid), by)


def class_colors(names: Iterable[str]) -> tuple[Color, ...]:
    """CamVid's published colour of each class, or one of its own for a name that CamVid does not have."""
    published = {name.lower(): color for name, color in CAMVID_COLORS.items()}
    return tuple(published.get(name.lower(), _spread_color(index)) for index, name in enumerate(names))


def class_shares(dataset: Dataset, examples: Iterable[Example]) -> NDArray[np.float64]:
    """The share of each class among the pixels that are not void."""
    counts = np.zeros(256, np.int64)
    for example in examples:
        counts += np.bincount(dataset.read(example)[1].ravel(), minlength=256)
    known = counts[: len(dataset.class_names)]
    if known.sum() == 0:
        raise DataError(f"{dataset.root}: every pixel of the labels is void")
    return np.asarray(known / known.sum(), np.float64)


def _layout(root: Path) -> Layout:
    if (root / "images").is_dir() and (root / "labels").is_dir():
        return "fastai"
    if (root / "train").is_dir() and (root / "trainannot").is_dir():
        return "segnet"
    raise DataError(f"{root}: needs images/ and labels/ (fastai's layout) or train/ and trainannot/ (SegNet's)")


def _codes(root: Path, layout: Layout) -> tuple[str, ...]:
    path = root / "codes.txt"
    if not path.is_file():
        if layout == "segnet":
            return SEGNET_NAMES
        raise DataError(f"{root}: no codes.txt with the class names, one a line in the order of the ids")
    codes = tuple(read_lines(path))
    for code in codes:
        if not is_class_name(code):
            raise DataError(f"{path}: {code!r:.40} is no name of a class; take up to 100 letters")
    if len(set(codes)) != len(codes):
        raise DataError(f"{path}: a class is named twice")
    if not 2 <= len(codes) <= 255:
        raise DataError(f"{path}: {len(codes)} classes; 2 to 255 can be told apart")
    return codes


def of_drives(dataset: Dataset, candidates: list[Example], drives: frozenset[str]) -> list[Example]:
    known = sorted({example.drive for example in candidates})
    if unknown := sorted(drive for drive in drives if not any(is_drive(name, drive) for name in known)):
        some = ", ".join(known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "")
        raise DataError(f"{dataset.root}: no drive {', '.join(unknown)}; there are {some}", usage=True)
    return [example for example in candidates if any(is_drive(example.drive, drive) for drive in drives)]


def is_drive(name: str, wanted: str) -> bool:
    """Whether a drive is the wanted one; or one of them, as `*` stands for any characters."""
    return name == wanted or fnmatch.fnmatchcase(name, wanted)


def of_list(candidates: list[Example], path: Path) -> list[Example]:
    if not path.is_file():
        raise DataError(f"{path}: no such list; name the validation drives instead (--valid-drive)")
    listed = read_list(path)
    valid = [example for example in candidates if example.name in listed]
    if absent := sorted(listed - {example.name for example in valid}):
        others = f" and {len(absent) - 1} more that are" if len(absent) > 1 else ", which is"
        raise DataError(f"{path}: lists {absent[0]}{others} not among the pictures here")
    return valid


def _fastai_examples(root: Path) -> list[Example]:
    labels = root / "labels"
    plain = {path.stem for path in labels.iterdir()}
    return [
        Example(
            path.stem, path, labels / (f"{path.stem}.png" if path.stem in plain else f"{path.stem}_P.png"), "images"
        )
        for path in _pictures(root / "images")
    ]


def _segnet_examples(root: Path) -> list[Example]:
    return [
        Example(path.stem, path, root / f"{folder}annot" / f"{path.stem}.png", folder)
        for folder in ("train", "val", "test")
        for path in _pictures(root / folder)
    ]


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in _PICTURE_SUFFIXES)


def _spread_color(index: int) -> Color:
    """Hues a golden angle apart stay distinct however many there are."""
    red, green, blue = colorsys.hsv_to_rgb(index * 0.618034 % 1, 0.65, 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)
