"""What `roadmask convert --to` writes, read by the tools' own libraries: the same class at each pixel.

The libraries need an older OpenCV, so they are in an environment of their own: its interpreter is named by
`ROADMASK_TOOLS_PYTHON`, or is that of `.venv-tools`.
"""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO

from roadmask.stream.labelling.labelling import LabellingSettings, Tool, give_to_tool
from roadmask.stream.spec import PixelClass
from tests.support.own_process import ROOT
from tests.support.tool_masks import CLASSES, MASKS, frame_name, names_in, write_masks

TOOLS_PYTHON = Path(os.environ.get("ROADMASK_TOOLS_PYTHON") or ROOT / ".venv-tools/bin/python")
NO_TOOLS = f"{TOOLS_PYTHON} is not there: datumaro and label-studio-sdk need an environment of their own"
FEW = ("road", "tree")
# A class that readers have a meaning of their own for.
ODD_CLASSES = (
    PixelClass("background", (1, 2, 3)),
    PixelClass("lane mark's <&> ölig", (9, 9, 9)),
    *CLASSES[2:],
)

# What is read: format of the reader, the tool, kind of output, and whether only a few classes are given.
EXPORTS: dict[str, tuple[str, Tool, str, bool]] = {
    "cvat": ("voc_segmentation", "cvat", "", False),
    "cvat_zip_few": ("voc_segmentation", "cvat", ".zip", True),
    "camvid": ("camvid", "camvid", "", False),
    "camvid_zip_few": ("camvid", "camvid", ".zip", True),
    "coco": ("coco", "coco", "", False),
    "coco_zip_few": ("coco", "coco", ".zip", True),
    "studio": ("label-studio", "label-studio", "", False),
    "studio_zip_few": ("label-studio", "label-studio", ".zip", True),
}
ODD: dict[str, tuple[str, Tool]] = {
    "odd_cvat": ("voc_segmentation", "cvat"),
    "odd_camvid": ("camvid", "camvid"),
    "odd_coco": ("coco", "coco"),
    "odd_studio": ("label-studio", "label-studio"),
}
Found = dict[str, NDArray[np.generic]]


def give(masks: Path, output: Path, tool: Tool, classes: tuple[str, ...] = (), stride: int = 1) -> Path:
    give_to_tool(LabellingSettings(masks, output, tool, classes=classes, stride=stride))
    return unpacked(output)


def unpacked(output: Path) -> Path:
    if output.suffix != ".zip":
        return output
    with zipfile.ZipFile(output) as archive:
        assert archive.testzip() is None
        archive.extractall(output.with_suffix(""))
    return output.with_suffix("")


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_masks(tmp_path_factory.mktemp("masks") / "masks.zip")


@pytest.fixture(scope="module")
def found(masks: Path, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What the libraries found in all exports; one interpreter, as they take long to import."""
    if not TOOLS_PYTHON.exists():
        pytest.skip(NO_TOOLS)
    folder = tmp_path_factory.mktemp("exports")
    odd_masks = write_masks(folder / "odd.zip", classes=ODD_CLASSES)
    exports = []
    for name, (form, tool, suffix, few) in EXPORTS.items():
        exports.append(f"{name}={form}:{give(masks, folder / (name + suffix), tool, FEW if few else ())}")
    exports += [f"{name}={form}:{give(odd_masks, folder / name, tool)}" for name, (form, tool) in ODD.items()]
    script = ROOT / "tests/tool_readers/read_exports.py"
    result = subprocess.run([TOOLS_PYTHON, script, folder / "found.npz", *exports], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    with np.load(folder / "found.npz") as content:
        return dict(content)


def found_names(found: Found, export: str, index: int) -> NDArray[np.str_]:
    """The class that the tool sees at each pixel, empty where none."""
    classes = [*found[f"{export}/classes"].tolist(), ""]  # -1 is none
    mask = found[f"{export}/{frame_name(index)}"]
    seen = np.array(classes)[mask.astype(int)]
    return seen if mask.size else np.full(MASKS[index].shape, "")


@pytest.mark.parametrize("export", EXPORTS)
def test_the_tool_reads_the_same_class_at_each_pixel(found: Found, export: str) -> None:
    frames = {name.partition("/")[2] for name in found if name.startswith(f"{export}/")} - {"classes"}
    assert frames == {frame_name(index) for index in MASKS}, "named as in the video, by their number in it"
    few = EXPORTS[export][3]
    for index, mask in MASKS.items():
        np.testing.assert_array_equal(found_names(found, export, index), names_in(mask, FEW if few else None))


@pytest.mark.parametrize("export", EXPORTS)
def test_the_tool_knows_the_classes_that_were_given_and_at_most_a_background_besides(found: Found, export: str) -> None:
    given = FEW if EXPORTS[export][3] else tuple(item.name for item in CLASSES)
    assert [name for name in found[f"{export}/classes"].tolist() if name != "background"] == list(given)


@pytest.mark.parametrize("export", ODD)
def test_a_class_called_background_and_names_with_odd_signs_come_back(found: Found, export: str) -> None:
    names = [item.name for item in ODD_CLASSES]
    if export == "odd_camvid":
        names[1] = "lane_mark's_<&>_ölig"
    for index, mask in MASKS.items():
        seen = found_names(found, export, index)
        for class_id, name in enumerate(names):
            if name != "background" or export != "odd_camvid":  # which cannot tell it from what has no label
                np.testing.assert_array_equal(seen == name, mask == class_id)


def coco_names(coco: COCO, image: int, shape: tuple[int, int]) -> NDArray[np.str_]:
    mask = np.full(shape, "", dtype="<U32")
    for annotation in coco.loadAnns(coco.getAnnIds(imgIds=[image])):
        pixels = coco.annToMask(annotation).astype(bool)
        assert not (mask[pixels] != "").any()
        assert annotation["area"] == pixels.sum()
        rows, columns = np.nonzero(pixels)
        left, top = columns.min(), rows.min()
        assert annotation["bbox"] == [left, top, columns.max() - left + 1, rows.max() - top + 1]
        mask[pixels] = coco.cats[annotation["category_id"]]["name"]
    return mask


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools, with NumPy 2
def test_pycocotools_reads_the_same_class_at_each_pixel(
    masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coco = COCO(give(masks, tmp_path / "coco.zip", "coco") / "annotations" / "instances_default.json")
    assert "Done" in capsys.readouterr().out
    assert {image["id"]: image["file_name"] for image in coco.imgs.values()} == {
        index: f"{frame_name(index)}.jpg" for index in MASKS
    }
    for index, mask in MASKS.items():
        np.testing.assert_array_equal(coco_names(coco, index, mask.shape), names_in(mask))


def fiftyone_labels(folder: Path) -> dict[str, NDArray[np.uint8]]:
    """As the documentation says: `labels/` has a one-channel PNG for each picture of `data/`, of the same name."""
    return {path.stem: cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (folder / "labels").iterdir()}


def color_names(folder: Path) -> Callable[[int], NDArray[np.str_]]:
    rows = (folder / "legend.csv").read_text().splitlines()[1:]
    names = {tuple(map(int, row.split(",")[1:])): row.split(",")[0] for row in rows}
    assert len(names) == len(rows), "a colour tells its class"

    def read(index: int) -> NDArray[np.str_]:
        rgb = cv2.imread(str(folder / f"{frame_name(index)}.png"))[..., ::-1]
        return np.array([[names[tuple(pixel.tolist())] for pixel in row] for row in rgb])

    return read


@pytest.mark.parametrize("suffix", ["", ".zip"])
def test_fiftyone_finds_the_same_class_at_each_pixel(masks: Path, tmp_path: Path, suffix: str) -> None:
    folder = give(masks, tmp_path / f"fiftyone{suffix}", "fiftyone")
    targets = {int(value): name for value, name in json.loads((folder / "mask_targets.json").read_text()).items()}
    labels = fiftyone_labels(folder)
    assert set(labels) == {frame_name(index) for index in MASKS}
    for index, mask in MASKS.items():
        pixels = labels[frame_name(index)]
        assert pixels.ndim == 2
        np.testing.assert_array_equal(np.vectorize(lambda label: targets.get(label, ""))(pixels), names_in(mask))


@pytest.mark.parametrize("suffix", ["", ".zip"])
def test_colors_tell_the_class_of_each_pixel(masks: Path, tmp_path: Path, suffix: str) -> None:
    read = color_names(give(masks, tmp_path / f"color{suffix}", "color"))
    for index in (0, 3, 7, 12, 1000):
        np.testing.assert_array_equal(read(index), names_in(MASKS[index]))
