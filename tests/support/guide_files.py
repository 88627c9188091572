"""What the commands in README and guides name: small files of every kind, in one folder; and what was made of them.

Each model gives every pixel the class of the nearest colour.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import av
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from roadmask import Model, SegmentSettings, process_video
from roadmask.stream.cli import main
from tests.support.clips import TICK, cfr, make_clip
from tests.support.color_model import spec, write_color_model
from tests.support.datasets import ID_COLORS, draw_ids, save_pair, save_png

MADE = ".made"  # below which is what `roadmask run` makes: other commands begin with it
CLASSES = Model.load("camvid-lite0-int8", device="cpu").spec.classes
COLORS = {item.name: item.color for item in CLASSES}
SIZE = (96, 128)


def write_guide_files(folder: Path) -> Path:
    _write_videos(folder)
    _write_pictures(folder)
    _write_models(folder)
    _write_data_sets(folder)
    _write_made(folder)
    return folder


def street() -> NDArray[np.uint8]:
    """Sky above, road below, a car on it, and somebody beside it."""
    picture = np.empty((*SIZE, 3), np.uint8)
    picture[:48], picture[48:] = COLORS["Sky"], COLORS["Road"]
    picture[60:90, 40:70], picture[50:80, 90:100] = COLORS["Car"], COLORS["Pedestrian"]
    return picture


def _write_videos(folder: Path) -> None:
    """Of a few frames, some of them after the first minute, where commands `--start`."""
    pts = [*cfr(6), *cfr(6, first=61 * TICK.denominator)]
    drive = make_clip(folder / "drive.mp4", pts, size=SIZE, picture=street())
    for name in ("night", "parked", "huge", "renamed", "dashcam/a_F", "dashcam/b_R", "dashcam/drive"):
        path = folder / f"{name}.mp4"
        path.parent.mkdir(exist_ok=True)
        shutil.copy(drive, path)
    (folder / "broken.mp4").write_bytes(drive.read_bytes()[:-10])
    (folder / "trip").mkdir()
    make_clip(folder / "trip" / "c.mov", cfr(3), size=SIZE)
    (folder / "files.txt").write_text("drive.mp4\n# a comment\ntrip/\n", encoding="utf-8")
    with av.open(folder / "two_cameras.mkv", "w") as container:
        for _ in range(2):
            stream = container.add_stream("mpeg4", rate=25, width=SIZE[1], height=SIZE[0])
            assert isinstance(stream, av.VideoStream)
            stream.pix_fmt = "yuv420p"
        for _ in range(3):
            for stream in container.streams.video:
                container.mux(stream.encode(av.VideoFrame(SIZE[1], SIZE[0], "yuv420p")))
        for stream in container.streams.video:
            container.mux(stream.encode(None))


def _write_pictures(folder: Path) -> None:
    for name in ("photo.jpg", "photos/a.jpg", "photos/b.png", *(f"frames/{number:05d}.png" for number in range(1, 11))):
        save_png(folder / name, street())
    bonnet = np.zeros(SIZE, np.uint8)
    bonnet[80:] = 255
    for name in ("bonnet", "front", "rear"):
        save_png(folder / f"{name}.png", bonnet)


def _write_models(folder: Path) -> None:
    described = spec(classes=[{"name": name, "color": list(color)} for name, color in COLORS.items()])
    for name in ("mine", "streets", "street", "model"):
        write_color_model(folder / f"{name}.onnx", classes=COLORS, metadata=described)
    for name in ("deeplab", "segformer", "old"):
        _write_foreign(folder / f"{name}.onnx")
    names = "\n".join(COLORS)
    for name in ("cityscapes", "names"):
        (folder / f"{name}.txt").write_text(f"{names}\n", encoding="utf-8")
    of_hugging_face = {"id2label": {str(number): name for number, name in enumerate(COLORS)}}
    (folder / "config.json").write_text(json.dumps(of_hugging_face), encoding="utf-8")


def _write_foreign(path: Path) -> None:
    """float32 pictures (1, 3, height, width) in, the scores of some classes out."""
    weights = np.random.default_rng(0).normal(size=(len(COLORS), 3, 1, 1)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["pictures", "weights"], ["scores"])],
        "foreign",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, [1, 3, 64, 96])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, len(COLORS), 64, 96])],
        [numpy_helper.from_array(weights, "weights")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))


def _write_data_sets(folder: Path) -> None:
    for root, drives in (("mydata", "AB"), ("camvid", ("0006R0", "0001TP")), ("mine", "AB"), ("labels", "AB")):
        names = [f"{drives[index % 2]}_{index:04}" for index in range(6)]
        for index, name in enumerate(names):
            save_pair(folder / root / f"images/{name}.png", folder / root / f"labels/{name}.png", draw_ids(index))
        (folder / root / "codes.txt").write_text("Sky\nVoid\nRoad\nCar\n", encoding="utf-8")
        (folder / root / "valid.txt").write_text(f"{names[0]}.png\n{names[1]}.png\n", encoding="utf-8")
    for index, name in enumerate(("A_0000", "B_0001", "A_0002", "B_0003")):
        save_png(folder / f"mydata/frames/{name}.png", ID_COLORS[draw_ids(index)])
        save_png(folder / f"mydata/truth/{name}.png", np.array([0, 255, 1, 0], np.uint8)[draw_ids(index)])
    (folder / "mine.txt").write_text("0006R0_0000.png\n", encoding="utf-8")
    (folder / "mine" / "codes.txt").write_text("Sky\nArchway\nRoad\nTruck_Bus\n", encoding="utf-8")
    for index, part in enumerate(("train", "val", "test")):
        save_pair(folder / f"segnet/{part}/a.png", folder / f"segnet/{part}annot/a.png", draw_ids(index))
    train_ids = np.array([10, 255, 0, 13], np.uint8)  # of sky, void, road and car
    for index, part in enumerate(("train", "val")):
        picture = folder / f"cityscapes/leftImg8bit/{part}/ulm/ulm_1_leftImg8bit.png"
        label = folder / f"cityscapes/gtFine/{part}/ulm/ulm_1_gtFine_labelTrainIds.png"
        save_png(picture, ID_COLORS[draw_ids(index)])
        save_png(label, train_ids[draw_ids(index)])


def _write_made(folder: Path) -> None:
    made = folder / MADE
    (made / "results").mkdir(parents=True)
    masks = made / "results" / "drive_masks"
    settings = SegmentSettings(folder / "drive.mp4", masks=masks, stats=made / "shares.parquet")
    process_video(settings, Model.load(folder / "mine.onnx", device="cpu"))
    for name in ("masks.zip", "masks.mkv", "masks.partial.zip"):
        assert main(["convert", str(made / "results" / "drive_masks"), "-o", str(made / name), "--quiet"]) == 0
    (folder / "mine.json").write_text('{"Car": "#0060ff"}', encoding="utf-8")
    names = ["vehicle" if name == "Car" else name for name in COLORS]
    labels = [{"name": name, "color": "#0060ff", "type": "mask", "attributes": []} for name in names]
    (made / "task.json").write_text(json.dumps(labels), encoding="utf-8")
