"""The same small street, labelled as tools and data sets label: what is read must be the same masks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from roadmask.stream.labelling.coco import brush_rle, runs_of_labels
from tests.support.datasets import CODES, ID_COLORS, draw_ids, frame_name, save_png

Ids = NDArray[np.uint8]
VOID_ID, COUNT = CODES.index("Void"), 6
SIZE = (64, 96)  # height, width
NAMED = [(number, code) for number, code in enumerate(CODES) if code != "Void"]  # of those that are outlined
# Trained on and scored on: the last two pictures are for validation where folders say so.
PARTS = ["train"] * 4 + ["val"] * 2


def pictures(root: Path, place: str, *, suffix: str = ".png", parts: dict[str, str] | None = None) -> Iterator[int]:
    """Save pictures at `place`, with PART and NAME in it, and tell the number of each."""
    for index in range(COUNT):
        part = (parts or {}).get(PARTS[index], PARTS[index])
        path = root / f"{place.replace('PART', part).replace('NAME', frame_name(index))}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        quality = {"quality": 95} if suffix.lower() in (".jpg", ".jpeg") else {}
        Image.fromarray(ID_COLORS[draw_ids(index)]).save(path, **quality)
        yield index


def label(root: Path, place: str, index: int, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    save_png(root / place.replace("PART", PARTS[index]).replace("NAME", frame_name(index)), pixels)  # type: ignore[arg-type]


def lines(path: Path, *texts: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")


def corners(ids: Ids, number: int) -> list[tuple[int, int]]:
    """Of the rectangle that a class of `draw_ids` is, or would be without the car over it."""
    rows, columns = np.nonzero(ids == number)
    left, top, right, bottom = int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def outlined(ids: Ids) -> list[tuple[int, str, list[tuple[int, int]]]]:
    """Larger ones first."""
    return [(number, name, corners(ids, number)) for number, name in NAMED]


def cityscapes(root: Path) -> None:
    """With its own 19 classes: road 0, sky 10, car 13; beside the labels what else it has."""
    table = np.array([10, 255, 0, 13], np.uint8)
    for index in pictures(root, "leftImg8bit/PART/town/NAME_leftImg8bit"):
        place = "gtFine/PART/town/NAME_gtFine_"
        label(root, f"{place}labelTrainIds.png", index, table[draw_ids(index)])
        label(root, f"{place}labelIds.png", index, np.array([23, 1, 7, 26], np.uint8)[draw_ids(index)])
        label(root, f"{place}color.png", index, ID_COLORS[draw_ids(index)])
        lines(root / f"gtFine/{PARTS[index]}/town/{frame_name(index)}_gtFine_polygons.json", "{}")


def cityscapes_ids(root: Path) -> None:
    for index in pictures(root, "leftImg8bit/PART/town/NAME_leftImg8bit"):
        ids = np.array([23, 1, 7, 26], np.uint8)[draw_ids(index)]
        label(root, "gtFine/PART/town/NAME_gtFine_labelIds.png", index, ids)


def cityscapes_polygons(root: Path) -> None:
    names = {"Sky": "sky", "Road": "drivable fallback", "Car": "autorickshaw"}  # those are IDD's
    for index in pictures(root, "leftImg8bit/PART/7/NAME_leftImg8bit"):
        objects = [{"label": names[name], "polygon": points} for _, name, points in outlined(draw_ids(index))]
        objects.append({"label": "sky", "polygon": [[0, 0], [SIZE[1], 0], [SIZE[1], SIZE[0]]], "deleted": 1})
        content = {"imgHeight": SIZE[0], "imgWidth": SIZE[1], "objects": objects}
        path = root / f"gtFine/{PARTS[index]}/7/{frame_name(index)}_gtFine_polygons.json"
        lines(path, json.dumps(content))


def bdd100k(root: Path) -> None:
    table = np.array([10, 255, 0, 13], np.uint8)
    for index in pictures(root, "images/10k/PART/NAME", suffix=".jpg"):
        label(root, "labels/sem_seg/masks/PART/NAME.png", index, table[draw_ids(index)])
        label(root, "labels/sem_seg/colormaps/PART/NAME.png", index, ID_COLORS[draw_ids(index)])


def kitti(root: Path) -> None:
    """Its labels are in folders that say what of them is read: ids of Cityscapes' whole list."""
    for index in pictures(root, "training/image_2/NAME"):
        label(root, "training/semantic/NAME.png", index, np.array([23, 1, 7, 26], np.uint8)[draw_ids(index)])
        label(root, "training/semantic_rgb/NAME.png", index, ID_COLORS[draw_ids(index)])
    lines(root / "valid.txt", frame_name(4), frame_name(5))


def vistas(root: Path) -> None:
    """Mapillary's, in both versions; the older one's classes are known here."""
    folders = {"train": "training", "val": "validation"}
    for index in pictures(root, "PART/images/NAME", suffix=".jpg", parts=folders):
        folder = folders[PARTS[index]]
        label(root, f"{folder}/v1.2/labels/NAME.png", index, np.array([27, 65, 13, 55], np.uint8)[draw_ids(index)])
        label(root, f"{folder}/v2.0/labels/NAME.png", index, draw_ids(index))


def kaggle_camvid(root: Path) -> None:
    for index in pictures(root, "PART/NAME"):
        label(root, "PART_labels/NAME_L.png", index, ID_COLORS[draw_ids(index)])
    rows = (f"{code},{','.join(map(str, ID_COLORS[number]))}" for number, code in enumerate(CODES))
    lines(root / "class_dict.csv", "name,r,g,b", *rows)


def mmsegmentation(root: Path) -> None:
    table = np.array([0, 255, 1, 2], np.uint8)
    for index in pictures(root, "img_dir/PART/NAME", suffix=".JPG"):
        label(root, "ann_dir/PART/NAME_labelTrainIds.png", index, table[draw_ids(index)])
    lines(root / "classes.txt", "Sky", "Road", "Car")


def roboflow_masks(root: Path) -> None:
    for index in pictures(root, "PART/NAME", suffix=".jpg", parts={"val": "valid"}):
        save_png(root / ("train", "valid")[PARTS[index] == "val"] / f"{frame_name(index)}_mask.png", draw_ids(index))
    for folder in ("train", "valid"):
        lines(root / folder / "_classes.csv", "Pixel Value, Class", *(f"{n}, {code}" for n, code in enumerate(CODES)))


def by_part(root: Path) -> None:
    for index in pictures(root, "PART/images/NAME"):
        image = Image.fromarray(draw_ids(index)).convert("RGB")
        label(root, "PART/masks/NAME.png", index, np.asarray(image))
    lines(root / "codes.txt", *CODES)


def cvat_masks(root: Path) -> None:
    """As CVAT exports "Segmentation mask 1.1": in colours, black without a label."""
    colors = ID_COLORS.copy()
    colors[VOID_ID] = 0
    for index in pictures(root, "JPEGImages/NAME", suffix=".jpg"):
        label(root, "SegmentationClass/NAME.png", index, colors[draw_ids(index)])
        label(root, "SegmentationObject/NAME.png", index, colors[draw_ids(index)])
    rows = (f"{name}:{','.join(map(str, colors[number]))}::" for number, name in NAMED)
    lines(root / "labelmap.txt", "# label:color_rgb:parts:actions", "background:0,0,0::", *rows)
    for part in ("train", "val"):
        names = (frame_name(index) for index in range(COUNT) if PARTS[index] == part)
        lines(root / "ImageSets" / "Segmentation" / f"{part}.txt", *names)


def palette(root: Path) -> None:
    for index in pictures(root, "data/NAME"):
        image = Image.fromarray(draw_ids(index), "P")
        image.putpalette(ID_COLORS.ravel().tolist())
        (root / "labels").mkdir(exist_ok=True)
        image.save(root / "labels" / f"{frame_name(index)}.png")
    lines(root / "mask_targets.json", json.dumps({str(number): name for number, name in NAMED}))
    lines(root / "valid.txt", frame_name(4), frame_name(5))


def gray_with_alpha(root: Path) -> None:
    for index in pictures(root, "img/NAME", suffix=".jpeg"):
        ids = draw_ids(index)
        label(root, "ann/NAME.png", index, np.dstack([ids, np.full_like(ids, 255)]))
    lines(root / "codes.txt", *CODES)
    lines(root / "valid.txt", f"img/{frame_name(4)}.jpeg", f"img/{frame_name(5)}.jpeg")


def coco_polygons(root: Path) -> None:
    """As Roboflow exports it, with a heading among the categories."""
    for part, folder in (("train", "train"), ("val", "valid")):
        categories = [{"id": 0, "name": "street", "supercategory": "none"}]
        categories += [{"id": n + 1, "name": name, "supercategory": "street"} for n, name in NAMED]
        images, annotations = [], []
        for index in (number for number in range(COUNT) if PARTS[number] == part):
            name = f"{frame_name(index)}.png"
            images.append({"id": index, "file_name": name, "width": SIZE[1], "height": SIZE[0]})
            for number, _, points in outlined(draw_ids(index)):
                flat = [value for point in points for value in point]
                annotations.append({"image_id": index, "category_id": number + 1, "segmentation": [flat]})
        content = {"images": images, "annotations": annotations, "categories": categories}
        lines(root / folder / "_annotations.coco.json", json.dumps(content))
    for _ in pictures(root, "PART/NAME", parts={"val": "valid"}):
        pass


def yolo(root: Path) -> None:
    for index in pictures(root, "PART/images/NAME", suffix=".jpg", parts={"val": "valid"}):
        rows = [
            f"{place} {' '.join(f'{x / SIZE[1]:.6f} {y / SIZE[0]:.6f}' for x, y in points)}"
            for place, (_, _, points) in enumerate(outlined(draw_ids(index)))
        ]
        lines(root / ("train", "valid")[PARTS[index] == "val"] / "labels" / f"{frame_name(index)}.txt", *rows)
    lines(root / "data.yaml", "train: ../train/images", "nc: 3", f"names: {[name for _, name in NAMED]}")


def label_studio(root: Path) -> None:
    """An export: one brush a class, the road as an outline; a prediction and two annotations that do not count."""
    tasks = []
    for index in pictures(root, "images/NAME"):
        ids = draw_ids(index)
        value_of: dict[int, dict[str, object]] = {
            number - 1: {"format": "rle", "rle": list(brush_rle(lengths)), "brushlabels": [CODES[number - 1]]}
            for number, lengths in runs_of_labels((ids + 1).astype(np.uint8).ravel())
        }
        points = [[100 * x / SIZE[1], 100 * y / SIZE[0]] for x, y in corners(ids, CODES.index("Road"))]
        value_of[CODES.index("Road")] = {"points": points, "polygonlabels": ["Road"]}
        result = [{"type": "brushlabels", "value": value_of[number]} for number, _ in NAMED]
        annotations = [{"result": []}, {"result": result}, {"result": [], "was_cancelled": True}]
        address = f"/data/upload/3/0a1b2c3d-{frame_name(index).replace('_', '%5F')}.png"
        tasks.append({"data": {"image": address}, "annotations": annotations, "predictions": [{"result": []}]})
    lines(root / "project-3.json", json.dumps(tasks))
    names = (f'<Label value="{name}" background="#000000"/>' for _, name in NAMED)
    lines(root / "label_config.xml", "<View>", *names, "</View>")
    lines(root / "valid.txt", frame_name(4), frame_name(5))


def labelme(root: Path) -> None:
    for index in pictures(root, "NAME", suffix=".jpg"):
        shapes = [{"label": name, "points": points} for _, name, points in outlined(draw_ids(index))]
        lines(root / f"{frame_name(index)}.json", json.dumps({"shapes": shapes, "shape_type": "polygon"}))
    lines(root / "valid.txt", frame_name(4), frame_name(5))


KINDS: dict[str, Callable[[Path], None]] = {
    make.__name__: make
    for make in (
        *(cityscapes, cityscapes_ids, cityscapes_polygons, bdd100k, kitti, vistas, kaggle_camvid, mmsegmentation),
        *(roboflow_masks, by_part, cvat_masks, palette, gray_with_alpha, coco_polygons, yolo, label_studio, labelme),
    )
}
# What the three classes are called where a data set has names of its own.
OWN_NAMES = {
    "cityscapes": ("sky", "road", "car"),
    "cityscapes_ids": ("sky", "road", "car"),
    "cityscapes_polygons": ("sky", "drivable fallback", "autorickshaw"),
    "bdd100k": ("sky", "road", "car"),
    "kitti": ("sky", "road", "car"),
    "vistas": ("Sky", "Road", "Car"),
}
