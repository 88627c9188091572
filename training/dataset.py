"""Labelled driving pictures on disk: what lies in a folder, what its labels mean, and one picture with its mask.

Whatever has labels is recognised by its folders and names (`layouts.py`, `annotations.py`), and its classes by the list
that it comes with (`class_lists.py`); `told.py` is for what cannot be seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .annotations import Annotated, Outlines, Yolo, find_annotated, foreign, read_shapes
from .class_lists import COLORED, NAMED, NO_CLASS, ClassList, class_list, find_list, find_yaml, known_list
from .errors import DataError
from .files import Color as Color
from .files import read_picture as read_picture  # for export too
from .label_pictures import VOID, LabelPictures, Probe, probe
from .layouts import EXPECTED, PAIRS, PICTURE_SUFFIXES, Example, Found, find_pairs, find_pictures, unwrapped
from .public_sets import CODES, class_colors
from .told import Told, read_told

UNLABELLED = "unlabelled"
_SHOWN = 8  # classes, folders


class LabelReader(Protocol):
    """One kind of labels; made for `Dataset`."""

    strays: dict[Path, int]  # of the files read so far: pixels of no class, which are void
    shades: dict[Path, int]  # and those that are taken for the class whose colour they nearly have

    def ids(self, example: Example) -> NDArray[np.uint8]:
        """(height, width) class ids, or `VOID`. Raises `DataError`."""


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """The pictures below a folder, and how to read their labels."""

    root: Path
    layout: str  # for people
    codes: tuple[str, ...]  # classes by id, void among them
    class_names: tuple[str, ...]  # without void
    class_colors: tuple[Color, ...]
    class_of_id: NDArray[np.uint8]  # (256,) id in a label to index into `class_names`, or VOID
    examples: tuple[Example, ...]
    reader: LabelReader
    void_ids: frozenset[int] = frozenset({VOID})  # need not be in `codes`
    described: tuple[str, str] = ("", "")  # for people: where pictures and labels lie, and what the labels mean
    strangers: tuple[str, ...] = ()  # for people: labels without a picture, and pictures that only labels know of

    def read(self, example: Example) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The picture (height, width, 3) RGB and its mask (height, width), indices into `class_names` or `VOID`.

        Raises:
            DataError: a file is missing or no picture, the sizes differ, or an id is not in the class list.
        """
        return self.pair(example, read_picture(example.picture), self.label_ids(example))

    def label_ids(self, example: Example) -> NDArray[np.uint8]:
        """(height, width) ids. Raises `DataError`."""
        return self.reader.ids(example)

    def has_label(self, example: Example) -> bool:
        """Whether somebody has labelled it. A picture without a file is one of nothing in YOLO's layout."""
        return isinstance(self.reader, Yolo) or example.label.is_file()

    def pair(
        self, example: Example, picture: NDArray[np.uint8], ids: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The second half of `read`: what the files of `example` held, checked against each other and the classes."""
        if picture.shape[:2] != ids.shape:
            raise DataError(
                f"{example.label}: label is {ids.shape[1]}x{ids.shape[0]}, "
                f"its picture {picture.shape[1]}x{picture.shape[0]}; they must be of one size: {_resized(picture, ids)}"
            )
        is_known = np.zeros(256, np.bool_)
        is_known[[*range(len(self.codes)), *self.void_ids]] = True
        if int(ids.max(initial=0)) >= len(self.codes) and not is_known[ids].all():
            unknown = int(ids[~is_known[ids]].max())
            raise DataError(
                f"{example.label}: class id {unknown} is not in the list of {len(self.codes)} classes "
                f"(0 to {len(self.codes) - 1}); name it there (lines may begin with ids: {unknown} bus), "
                f"or let it be void: roadmask data {self.root} --void {unknown}"
            )
        return picture, self.class_of_id[ids]

    @property
    def has_folders(self) -> bool:
        """Whether folders or lists divide the pictures into train, val and test."""
        return any(example.folder in ("train", "val", "test") for example in self.examples)


def open_dataset(root: Path, told: Told | None = None) -> Dataset:
    """Find the pictures below `root`, and what their labels mean; of the labels some are looked at.

    Args:
        root: the data set's folder.
        told: what cannot be seen; None for what was kept in the folder.

    Raises:
        DataError: `root` is laid out as no data set, its class list is unusable, or it holds no picture.
    """
    if not root.is_dir():
        is_zip = root.suffix.lower() == ".zip" and root.is_file()
        raise DataError(f"{root}: {'a zip; unpack it, and name the folder' if is_zip else 'no such folder'}")
    told = told or read_told(root)
    root = unwrapped(root)
    given = _given(told)
    found = find_pairs(root, told.layout)
    if found is None:
        annotated = find_annotated(root, given or find_list([root], NAMED))
        if annotated is None:
            if known := foreign(root):
                raise DataError(f"{root}: {known}")
            say = f"roadmask data {root} --layout PICTURES:LABELS"
            raise DataError(f"{root}: {_half(root)}{EXPECTED}; or say where they are: {say}")
        if given and given.codes != annotated.classes.codes:
            names = ", ".join(annotated.classes.codes)
            raise DataError(f"{root}: its labels name their classes themselves: {names}; leave --codes away")
        return _of_outlines(root, annotated, annotated.classes, annotated.reader, told)
    if found.kind == "pictures":
        return _of_pictures(root, found, told, given)
    named = given or find_list([root, *found.folders], NAMED) or find_yaml(root)
    if found.kind == "shapes":
        return _of_outlines(root, found, *read_shapes(found.examples, named), told)
    if named is None:
        raise _no_list(root, "YOLO's labels have numbers")
    return _of_outlines(root, replace(found, layout="YOLO"), named, Yolo(len(named.codes)), told)


def open_unlabelled(root: Path) -> Dataset:
    """The pictures in a folder, without labels.

    Raises:
        DataError: no such folder, or no picture in it.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    examples = tuple(Example(path.stem, path, path, "") for path in find_pictures(root, deep=False))
    if not examples:
        raise DataError(f"{root}: no pictures found ({', '.join(sorted(PICTURE_SUFFIXES))})")
    return Dataset(root, UNLABELLED, (), (), (), np.full(256, VOID, np.uint8), examples, LabelPictures())


def is_labelled(root: Path) -> bool:
    """Whether the folder is laid out as a data set; that may yet be unusable."""
    try:
        if not root.is_dir():
            return False
        told, root = read_told(root), unwrapped(root)
        return (find_pairs(root, told.layout) or find_annotated(root, None)) is not None
    except DataError:
        return True


def class_shares(dataset: Dataset, examples: Iterable[Example]) -> NDArray[np.float64]:
    """The share of each class among the pixels that are not void."""
    counts = np.zeros(256, np.int64)
    for example in examples:
        counts += np.bincount(dataset.read(example)[1].ravel(), minlength=256)
    known = counts[: len(dataset.class_names)]
    if known.sum() == 0:
        raise DataError(
            f"{dataset.root}: every pixel of the labels is void; look at them: roadmask data DATA -o sheet.png"
        )
    return np.asarray(known / known.sum(), np.float64)


def _given(told: Told) -> ClassList | None:
    if told.known:
        return known_list(told.known)
    colors = {color: number for number, color in enumerate(told.colors)} or None
    return class_list(told.codes, "--codes", id_of_color=colors) if told.codes else None


def _of_pictures(root: Path, found: Found, told: Told, given: ClassList | None) -> Dataset:
    """By colours where the labels are in colours and a list says which, else by ids."""
    probed = probe(found.examples)
    folders = [root, *found.folders]
    colored = given if given and given.id_of_color else find_list(folders, COLORED)
    named = given or find_list(folders, NAMED) or (known_list(found.codes) if found.codes else None)
    if probed.is_colored and colored is None:
        colors = ", ".join(" ".join(map(str, color)) for color in probed.colors)
        raise DataError(
            f"{root}: its labels are in colours, and nothing says which is which: write {root / 'label_colors.txt'}, a "
            f"line R G B NAME for each class; there are {colors}"
        )
    is_by_color = colored is not None and (bool(probed.colors) or named is None or named.origin.startswith("the list"))
    classes = colored if is_by_color else named
    if classes is None:
        raise _no_list(root, _seen(probed))
    if len(classes.codes) < 2:
        say = f"roadmask data {root} --codes other,{classes.codes[0]}"
        raise DataError(f"{classes.origin}: names one class; name what is not of it, too: {say}")
    is_binary = probed.is_binary and 255 not in told.void and len(classes.codes) == 2
    is_binary = is_binary and classes.codes[1] not in classes.void
    reader = LabelPictures(classes.id_of_color, is_binary=is_binary)
    if is_by_color and probed.colors:
        taken = "labels: colours of classes"
    elif is_binary:
        taken = f"labels: black and white; 0 is {classes.codes[0]}, 255 is {classes.codes[1]}"
    else:
        taken = f"labels: class ids ({', '.join(probed.modes) or '8 bits'})"
        told = replace(told, void=(*told.void, VOID))
    return _dataset(root, found, classes, reader, taken, told)


def _of_outlines(root: Path, found: Found | Annotated, classes: ClassList, reader: Outlines, told: Told) -> Dataset:
    """What no area covers is void, or the background that was named."""
    if told.background and not classes.void:
        reader.rest = len(classes.codes)
        classes = class_list((*classes.codes, told.background), classes.origin)
    taken = f"labels: areas; what none covers is {told.background or 'void'}"
    if reader.boxes:
        taken += f", and so are {reader.boxes} boxes without an outline"
    return _dataset(root, found, classes, reader, taken, told)


def _dataset(
    root: Path, found: Found | Annotated, classes: ClassList, reader: LabelReader, taken: str, told: Told
) -> Dataset:
    classes = _with_background(classes, told.background)
    void = classes.void | {classes.codes[number] for number in told.void if number < len(classes.codes)}
    names = tuple(code for code in classes.codes if code not in void)
    if not names:
        raise DataError(f"{classes.origin}: names no class but void; add the classes")
    class_of_id = np.full(256, VOID, np.uint8)
    for class_id, code in enumerate(classes.codes):
        if code in names:
            class_of_id[class_id] = names.index(code)
    unnamed = (str(number) for number in sorted({*told.void}) if number >= len(classes.codes))
    named_void = (code for code in classes.codes if code in void and not code.startswith(NO_CLASS))
    void_names = ", ".join([*named_void, *unnamed][:_SHOWN])
    return Dataset(
        root=root,
        layout=found.layout,
        codes=classes.codes,
        class_names=names,
        class_colors=class_colors(names),
        class_of_id=class_of_id,
        examples=found.examples,
        reader=reader,
        void_ids=frozenset({*told.void, VOID}),
        described=(
            f"in the layout of {found.layout}: {found.places}" if found.layout else f"in {found.places}",
            f"{taken}; {f'void: {void_names}; ' if void_names else ''}classes by {_short(root, classes.origin)}",
        ),
        strangers=found.strangers,
    )


def _with_background(classes: ClassList, background: str) -> ClassList:
    """The first class that is void is a class of that name."""
    if not background or background in classes.codes:
        return classes
    first = next((code for code in classes.codes if code in classes.void), None)
    if first is None:
        raise DataError(f"--background {background}: no class of {', '.join(classes.codes)} is void", usage=True)
    codes = [background if code == first else code for code in classes.codes]
    return class_list(codes, classes.origin, void=classes.void - {first}, id_of_color=classes.id_of_color)


def _half(root: Path) -> str:
    """Of the folders of pictures and labels the one that is there, and what lacks beside it; "" where there is none."""
    there = {path.name.lower(): path.name for path in root.iterdir() if path.is_dir()}
    for pictures, labels, _ in sorted(PAIRS, key=lambda pair: "/" in pair[1]):  # Mapillary's are the rarer ones
        for name, other, what in ((pictures, labels, "labels"), (labels, pictures, "pictures")):
            if name.lower() in there:
                return f"has {there[name.lower()]}/, and no {other}/ with {what} beside it; "
    return ""


def _no_list(root: Path, seen: str) -> DataError:
    return DataError(
        f"{root}: no codes.txt with the class names, one a line in the order of the ids; {seen}; write it, or say them "
        f"with roadmask data {root} --codes other,road (or one of {', '.join(CODES)})"
    )


def _resized(picture: NDArray[np.uint8], ids: NDArray[np.uint8]) -> str:
    if picture.shape[:2] == ids.shape[::-1]:
        return "turn the picture as its EXIF note says, as the tool that made the label did, and save it so"
    return "save the label as large as the picture, without smoothing (nearest neighbour)"


def _seen(probed: Probe) -> str:
    if not probed.values:
        return "no label could be read"
    if probed.is_binary:
        return "the labels hold 0 and 255, which is one class and what is not of it"
    return f"the labels hold {', '.join(map(str, sorted(probed.values)[:20]))}"


def _short(root: Path, origin: str) -> str:
    return Path(origin).relative_to(root).as_posix() if origin.startswith(f"{root}/") else origin
