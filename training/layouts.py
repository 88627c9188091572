"""Where pictures and their labels lie: the folders and names that data sets and tools have, found by looking."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from .class_lists import NAMED
from .errors import DataError
from .files import composed, files_in, is_hidden
from .told import FILE

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})
_LABEL_SUFFIXES = frozenset({".png", ".bmp", ".tif", ".tiff", ".gif"})
_LOSSY = frozenset({".jpg", ".jpeg"})
Kind = Literal["pictures", "yolo", "shapes"]
_SUFFIXES: dict[Kind, frozenset[str]] = {
    "pictures": _LABEL_SUFFIXES,
    "yolo": frozenset({".txt"}),
    "shapes": frozenset({".json"}),
}

_PICTURES = ("images", "img", "imgs", "image", "data", "frames", "rgb")
_LABELS = ("labels", "masks", "annotations", "ann", "label", "mask", "gt")
# Folders of pictures and of labels, and what the layout is called. The first that there is counts.
PAIRS = (
    ("leftImg8bit", "gtFine", "Cityscapes"),
    ("leftImg8bit", "gtCoarse", "Cityscapes"),
    ("rgb_anon", "gt", "ACDC"),
    ("images/10k", "labels/sem_seg/masks", "BDD100K"),
    ("seg/images", "seg/labels", "BDD100K"),
    ("JPEGImages", "SegmentationClassPNG", "Pascal VOC"),
    ("JPEGImages", "SegmentationClass", "Pascal VOC"),
    ("img_dir", "ann_dir", "mmsegmentation"),
    ("image_2", "semantic", "KITTI"),
    ("images", "v1.2/labels", "Mapillary Vistas"),
    ("images", "v2.0/labels", "Mapillary Vistas 2.0"),
    ("images", "labels", "fastai"),
    *((pictures, labels, "") for pictures in _PICTURES for labels in _LABELS),
)
# Behind the name of a folder of pictures: `train` and `trainannot`, ...
_TWINS = {"annot": "segnet", "_labels": "CamVid at Kaggle", "_label": "", "_masks": "", "_mask": "", "_gt": ""}
_PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
_PARTS |= dict.fromkeys(("val", "valid", "validation"), "val")

# Behind the name of a picture, in that of its label. The last ones are of data sets whose names say what ids they have.
_ENDINGS = (
    *("", "_P", "_L", "_mask", "_masks", "_label", "_labels", "_gt", "_seg", "_train_id"),
    *("_gtFine_labelTrainIds", "_gtCoarse_labelTrainIds", "_gt_labelTrainIds", "_labelTrainIds"),
    *("_gtFine_labelIds", "_gtCoarse_labelIds", "_gt_labelIds", "_labelIds"),
    *("_gtFine_labellevel3Ids", "_gtFine_labellevel1Ids", "_gtFine_polygons", "_gtCoarse_polygons"),
)
_CODES_OF_ENDING = {"_train_id": "cityscapes", "_labeltrainids": "cityscapes", "_labelids": "cityscapes-ids"}
_CODES_OF_ENDING |= {"_labellevel3ids": "idd", "_labellevel1ids": "idd-lite"}
_CODES_OF_LAYOUT = {"BDD100K": "bdd100k", "ACDC": "cityscapes", "segnet": "camvid", "KITTI": "cityscapes-ids"}
_CODES_OF_LAYOUT |= {"Mapillary Vistas": "mapillary"}
_PICTURE_ENDINGS = ("_leftImg8bit", "_rgb_anon", "_sat", "_image", "_img", "_rgb")

EXPECTED = (
    "needs images/ and labels/ (or masks/), train/ and trainannot/ (or train_labels/), leftImg8bit/ and gtFine/, or "
    "annotations of COCO, YOLO, Label Studio or LabelMe"
)


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A picture and the path of its label: that it should have, where there is none."""

    name: str
    picture: Path
    label: Path
    folder: str  # "train", "val" or "test" where folders divide the pictures, or another part's name; else ""

    @property
    def drive(self) -> str:
        """The recording a frame belongs to: the part of `DRIVE_frame` before the last underscore, or its folder."""
        return self.name.rpartition("_")[0] or self.name.rpartition("/")[0] or self.name


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Pictures with their labels."""

    layout: str  # what it is called
    places: str  # of pictures and labels, for people
    kind: Kind
    examples: tuple[Example, ...]
    strangers: tuple[str, ...]  # for people: labels without a picture
    codes: str  # the list of classes that such a data set has; "" for none
    folders: tuple[Path, ...]  # where a list of classes may lie, too


@dataclass(frozen=True, slots=True)
class _Pair:
    pictures: Path
    labels: Path
    part: str
    layout: str
    drive: str = ""  # its folder, where each drive has pictures and labels of its own


def find_pictures(folder: Path, *, deep: bool = True) -> list[Path]:
    """Also below it, if `deep`; but no hidden files, as macOS leaves them."""
    return files_in(folder, PICTURE_SUFFIXES, deep=deep)


def find_pairs(root: Path, told: str = "") -> Found | None:
    """The pictures of a data set with a label file each; None where nothing of the kind is there.

    Args:
        root: the data set's folder.
        told: `PICTURES:LABELS`, the folders below it, in place of those that are looked for.

    Raises:
        DataError: the folders are there, but there are no pictures, or no labels of their names; or labels are lossy.
    """
    pairs = [_told(root, told)] if told else _pairs(root) or _pairs_of_drives(root)
    pairs = [pair for pair in pairs if pair.layout == pairs[0].layout]
    if not pairs:
        return None
    if not any(find_pictures(pair.pictures) for pair in pairs):
        raise DataError(f"{pairs[0].pictures}: no pictures found ({', '.join(sorted(PICTURE_SUFFIXES))})")
    kinds = [kind for kind in _SUFFIXES if any(files_in(pair.labels, _SUFFIXES[kind]) for pair in pairs)]
    for kind in kinds:
        if found := _matched(root, pairs, kind):
            return found
    if not kinds:
        _refuse_lossy(pairs)
        others = Counter(path.suffix.lower() for path in pairs[0].labels.rglob("*") if path.is_file() and path.suffix)
        beside = f", but {others.most_common(1)[0][0]}; save them as PNGs of class ids" if others else ""
        known = ", ".join(sorted(_LABEL_SUFFIXES))
        raise DataError(f"{pairs[0].labels}: holds no labels ({known}, YOLO's .txt){beside}")
    if kinds != ["shapes"]:  # else it is a file for all pictures, as COCO has it
        _refuse_strangers(pairs, kinds[0])
    return None


def _told(root: Path, told: str) -> _Pair:
    pictures, _, labels = told.partition(":")
    for name in (pictures, labels):
        if not (root / name).is_dir():
            raise DataError(f"{root / name}: no such folder; --layout is PICTURES:LABELS, two folders in {root}")
    return _Pair(root / pictures, root / labels, "", "")


def _pairs(root: Path) -> list[_Pair]:
    """All pairs of the first kind that is there."""
    if pair := _pair_in(root, ""):
        return [pair]
    folders = {path.name.lower(): path for path in sorted(root.iterdir()) if path.is_dir()}
    inside = [pair for name, path in folders.items() if name in _PARTS and (pair := _pair_in(path, _PARTS[name]))]
    if inside:
        return inside
    for ending, layout in _TWINS.items():
        twins = [
            _Pair(path, folders[name + ending], _PARTS.get(name, name), layout)
            for name, path in folders.items()
            if name + ending in folders
        ]
        if twins:  # in the order in which one reads them
            return sorted(twins, key=lambda pair: ("train", "val", "test", pair.part).index(pair.part))
    places = [root, *(path for name, path in folders.items() if name in _PARTS)]
    together = [path for path in places if _has_both(path)]
    return [
        _Pair(path, path, "" if path == root else _PARTS[path.name.lower()], "pictures and labels side by side")
        for path in together
    ]


def _pairs_of_drives(root: Path) -> list[_Pair]:
    """Those of the folders in `root`, each a data set by itself."""
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    return [replace(pair, drive=folder.name) for folder in folders for pair in _pairs(folder)]


def _pair_in(folder: Path, part: str) -> _Pair | None:
    for pictures, labels, layout in PAIRS:
        first, second = _below(folder, pictures), _below(folder, labels)
        if first is None or second is None:
            continue
        is_empty = not any(files_in(second, suffixes) for suffixes in (*_SUFFIXES.values(), _LOSSY))
        if not is_empty or layout == "fastai":
            return _Pair(first, second, part, layout)
    return None


def _below(folder: Path, names: str) -> Path | None:
    """`names` in whatever case."""
    for name in names.lower().split("/"):
        found = [path for path in folder.iterdir() if path.name.lower() == name and path.is_dir()]
        if not found:
            return None
        folder = found[0]
    return folder


def _has_both(folder: Path) -> bool:
    """Pictures and labels side by side: `a.jpg` with `a.png` or `a.json`, or with `a_mask.png`."""
    stems = {composed(path.stem) for path in files_in(folder, PICTURE_SUFFIXES, deep=False)}
    lossy = {composed(path.stem) for path in files_in(folder, _LOSSY, deep=False)}
    others = {composed(path.stem) for path in files_in(folder, _LABEL_SUFFIXES | {".json"}, deep=False)}
    return bool(lossy & others) or any(f"{stem}{ending}" in others for stem in stems for ending in _ENDINGS if ending)


def _refuse_lossy(pairs: Sequence[_Pair]) -> None:
    lossy = [path for pair in pairs for path in files_in(pair.labels, _LOSSY)]
    if lossy and pairs[0].pictures != pairs[0].labels:
        raise DataError(
            f"{lossy[0].parent}: labels are JPEGs ({len(lossy)} files, {lossy[0].name} the first), which changes ids "
            "and colours at every edge; save them as PNG from what they were made of"
        )


def _matched(root: Path, pairs: Sequence[_Pair], kind: Kind) -> Found | None:
    examples: list[Example] = []
    orphans: list[Path] = []
    endings: Counter[str] = Counter()
    for pair in pairs:
        some, others, counted = _match(
            pair, kind, _voc_parts(pair.pictures.parent) if pair.layout == "Pascal VOC" else {}
        )
        examples += some
        orphans += others
        endings += counted
    if not endings:
        return None
    ending = endings.most_common(1)[0][0]
    layout = pairs[0].layout
    codes = next((name for end, name in _CODES_OF_ENDING.items() if ending.lower().endswith(end)), "")
    suffix = examples[0].label.suffix
    beside = "" if pairs[0].pictures == pairs[0].labels else _named(root, [pair.labels for pair in pairs])
    return Found(
        layout="LabelMe" if kind == "shapes" and layout != "Cityscapes" else layout,
        places=f"{_named(root, [pair.pictures for pair in pairs]) or '.'} with {beside}NAME{ending}{suffix}",
        kind=kind,
        examples=tuple(_distinctly_named(examples, pairs)),
        strangers=tuple(f"{path}: label without a picture" for path in orphans),
        codes=codes or _CODES_OF_LAYOUT.get(layout, ""),
        folders=tuple(dict.fromkeys(folder for pair in pairs for folder in (pair.labels, pair.pictures.parent))),
    )


def _match(pair: _Pair, kind: Kind, parts: dict[str, str]) -> tuple[list[Example], list[Path], Counter[str]]:
    """Examples, labels that are no picture's, and how often the names of labels have each ending."""
    is_together = pair.pictures == pair.labels
    labels = [path for path in files_in(pair.labels, _SUFFIXES[kind]) if path.name.lower() not in NAMED]
    by_place = {(path.parent.relative_to(pair.labels), composed(path.stem)): path for path in labels}
    by_name: dict[tuple[str, str], list[Path]] = defaultdict(list)  # part and stem
    for (folder, stem), path in by_place.items():
        by_name[part_in(folder.parts), stem].append(path)
    used: set[Path] = set()
    endings: Counter[str] = Counter()
    rows = []
    for picture in find_pictures(pair.pictures):
        if is_together and _is_label(picture, by_place, pair):
            continue
        place = picture.parent.relative_to(pair.pictures)
        stem, ending, label = _label_of(picture, place, by_place, by_name)
        rows.append((picture, place, stem, label))
        if label is not None:
            used.add(label)
            endings[ending] += 1
    _refuse_shared(rows)
    commonest = max(_ENDINGS, key=lambda ending: endings[ending])
    suffix = Counter(path.suffix for path in used).most_common(1)[0][0] if used else ".png"
    examples = [
        Example(
            stem,
            picture,
            label or pair.labels / place / f"{stem}{commonest}{suffix}",
            pair.part or part_in(place.parts) or parts.get(stem, ""),
        )
        for picture, place, stem, label in rows
    ]
    stems = {example.name for example in examples}
    others = [path for path in labels if path not in used and not is_together and not _companion(path, stems)]
    return examples, others, endings


def _label_of(
    picture: Path, place: Path, by_place: dict[tuple[Path, str], Path], by_name: dict[tuple[str, str], list[Path]]
) -> tuple[str, str, Path | None]:
    """The picture's name as its label has it, the ending of the label's, and the label."""
    own = composed(picture.stem)
    shortened = (own.removesuffix(ending) for ending in _PICTURE_ENDINGS)
    stems = list(dict.fromkeys([own, *shortened, own + picture.suffix]))  # a.png, or a.jpg.png
    for stem in stems:
        for ending in _ENDINGS:
            name, part = f"{stem}{ending}", part_in(place.parts)
            label = by_place.get((place, name))
            near = by_name.get((part, name)) or by_name.get(("", name)) or []
            label = label or (near[0] if len(near) == 1 else None)
            if label is not None and label != picture:
                return stem, ending, label
    return stems[0], "", None


def _refuse_shared(rows: Iterable[tuple[Path, Path, str, Path | None]]) -> None:
    """Pictures of one name in several folders, whose label lies in none of these: whose it is cannot be seen."""
    place_of: dict[Path, tuple[Path, Path]] = {}
    for picture, place, _, label in rows:
        if label is not None:
            other, elsewhere = place_of.setdefault(label, (picture, place))
            if elsewhere != place:
                raise DataError(
                    f"{label}: may be of {other} or of {picture}; put labels into folders named as those of pictures"
                )


def _is_label(path: Path, by_place: dict[tuple[Path, str], Path], pair: _Pair) -> bool:
    """Of a folder with both: what has an ending behind another picture's name, or the name of a JPEG."""
    twins = {path.with_suffix(suffix) for suffix in (*_LOSSY, *(suffix.upper() for suffix in _LOSSY))}
    if path not in twins and any(twin.is_file() for twin in twins):
        return True
    place = path.parent.relative_to(pair.labels)
    own = composed(path.stem)
    bare = [own.removesuffix(ending) for ending in _ENDINGS if ending and own.endswith(ending)]
    return any(
        (place, stem) in by_place or any((path.parent / f"{stem}{suffix}").is_file() for suffix in _LOSSY)
        for stem in bare
    )


def _companion(path: Path, stems: set[str]) -> bool:
    """Cityscapes has `_color`, `_instanceIds` and more beside the label that is read."""
    name = composed(path.stem)
    return any(name.rpartition(sign)[0] in stems for sign in ("_gtFine_", "_gtCoarse_", "_gt_", "_"))


def _refuse_strangers(pairs: Sequence[_Pair], kind: Kind) -> None:
    """Where no label is named as a picture, the names are the matter, and not each of the files."""
    labels = [path for pair in pairs for path in files_in(pair.labels, _SUFFIXES[kind])]
    picture = next(path for pair in pairs for path in find_pictures(pair.pictures))
    label = labels[0]
    own = {composed(picture.stem) + ending for ending in _ENDINGS}
    several = [path.parent.name for path in labels if composed(path.stem) in own]
    if len(several) > 1:
        names = ", ".join([*several[:3], "..."] if len(several) > 3 else several)
        raise DataError(
            f"{pairs[0].labels}: has {len(several)} labels of {picture.name}, in {names}; a picture has one, of the "
            "ids of all classes: put those of one class each together"
        )
    raise DataError(
        f"{pairs[0].labels}: no label is named as a picture; for {picture.name} there should be "
        f"{picture.stem}{label.suffix} or {picture.stem}_mask{label.suffix} (or _P, _L, _labelIds, ...), "
        f"not {label.name}"
    )


def _distinctly_named(examples: Sequence[Example], pairs: Sequence[_Pair]) -> Iterator[Example]:
    """By their drive's folder, and by others where folders have pictures of the same names."""
    count = Counter(example.name for example in examples)
    for example in examples:
        pair = next(pair for pair in pairs if example.picture.is_relative_to(pair.pictures))
        folder = example.picture.parent.relative_to(pair.pictures)
        is_alone = count[example.name] == 1 or folder == Path()
        name = example.name if is_alone else f"{folder.as_posix()}/{example.name}"
        yield replace(example, name=f"{pair.drive}/{name}" if pair.drive else name)


def _voc_parts(root: Path) -> dict[str, str]:
    """The part of each picture that `ImageSets/Segmentation/PART.txt` lists."""
    folder = root / "ImageSets" / "Segmentation"
    lists = [(part, folder / f"{name}.txt") for name, part in _PARTS.items()]
    return {
        line.strip(): part
        for part, path in lists
        if path.is_file()
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
    }


def part_in(names: Iterable[str]) -> str:
    """The part of a data set that a folder of these names is: train, val, test, or none."""
    return next((_PARTS[name.lower()] for name in names if name.lower() in _PARTS), "")


def unwrapped(root: Path) -> Path:
    """The only folder in it, if nothing else is there: so data sets come out of zips."""
    there = [path for path in root.iterdir() if not is_hidden(path.name) and path.name != FILE]
    known = {*_PARTS, *_PICTURES, *_LABELS, *(name.lower() for pair in PAIRS for name in pair[:2])}
    is_wrapped = len(there) == 1 and there[0].is_dir() and there[0].name.lower() not in known
    return unwrapped(there[0]) if is_wrapped else root


def _named(root: Path, folders: Sequence[Path]) -> str:
    names = dict.fromkeys("" if folder == root else f"{folder.relative_to(root).as_posix()}/" for folder in folders)
    return ", ".join(names)
