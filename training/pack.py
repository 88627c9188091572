"""A data set in few megabytes, to send to a machine with a GPU.

    python -m roadmask.training.pack DATA -o FOLDER [--quality 88]

Pictures become JPEGs without chroma subsampling, unless they are JPEGs already and smaller; labels become PNGs as small
as they go; lists and class tables come along. `DATA` is a data set as training reads it, or a folder of pictures.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from pathlib import Path

from PIL import Image

from .class_lists import COLORED, NAMED
from .dataset import Dataset, is_labelled, open_dataset, open_unlabelled, read_picture
from .errors import DataError, TrainingError
from .label_pictures import LabelPictures
from .layouts import Example
from .told import FILE

_LISTS = ("valid.txt", *NAMED, *COLORED, FILE)


def pack(data: Path, folder: Path, *, quality: int = 88) -> tuple[int, int]:
    """Write the data set `data` into `folder`; how many pictures, and how many bytes.

    Raises:
        DataError: `data` is no data set and no folder of pictures, a file of it is damaged, or `folder` is there.
    """
    if folder.exists():
        raise DataError(f"{folder}: exists; choose another folder")
    dataset = _open(data)
    for example in dataset.examples:  # what fails here would end a training: better before anything is written or sent
        dataset.read(example) if dataset.codes else read_picture(example.picture)
    for example in dataset.examples:
        _pack_picture(example, folder / example.picture.relative_to(data).with_suffix(".jpg"), quality)
        if dataset.codes:
            _pack_label(example, folder / example.label.relative_to(data))
    for name in _LISTS:
        if (data / name).is_file():
            shutil.copyfile(data / name, folder / name)
    return len(dataset.examples), sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _open(data: Path) -> Dataset:
    dataset = open_dataset(data) if is_labelled(data) else open_unlabelled(data)
    if not isinstance(dataset.reader, LabelPictures):
        raise DataError(f"{data}: has labels of {dataset.layout}; only those that are pictures can be packed")
    return dataset


def _pack_picture(example: Example, path: Path, quality: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    packed = io.BytesIO()
    with Image.open(example.picture) as image:
        image.convert("RGB").save(packed, "JPEG", quality=quality, subsampling=0, optimize=True)
        is_jpeg = image.format == "JPEG"
    before = example.picture.read_bytes()
    path.write_bytes(before if is_jpeg and len(before) <= packed.tell() else packed.getvalue())


def _pack_label(example: Example, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(example.label) as image:
        image.save(path, "PNG", optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--quality", type=int, default=88, choices=range(1, 101), metavar="1..100")
    options = parser.parse_args()
    try:
        count, size = pack(options.data, options.output, quality=options.quality)
    except TrainingError as exc:
        sys.exit(f"roadmask: {exc}")
    print(f"wrote {options.output}: {count} pictures, {size / 1e6:.1f} MB")  # noqa: T201 - its only output


if __name__ == "__main__":
    main()
