"""Made `roadmask_1_0_0.tar.xz`: a few files of each kind that roadmask 1.0.0 wrote, by its own code.

Called in a checkout of 1.0.0 (commit 6d49d60): python .../make_1_0_0.py .../roadmask_1_0_0.tar.xz
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

# The checkout of 1.0.0, whose packages are called as they were.
sys.path.insert(0, sys.argv[2] if sys.argv[1] == "--half" else str(Path.cwd()))

import av
import numpy as np
import stream.stages as stages
import torch
from stream.segment import process_video
from stream.segment_settings import SegmentSettings
from tests.color_model import COLORS, write_color_model

from stream.cli import main
from stream.network.model import Model
from training import checkpoint
from training.unet import UNet, UNetSettings

HEIGHT, WIDTH, FRAMES, KEPT = 24, 32, 6, 4
NAMES, CLASS_COLORS = ("Sky", "Road"), ((128, 128, 128), (128, 64, 128))


def make(folder: Path) -> None:
    os.chdir(folder)
    write_video(Path("drive.mp4"))
    write_color_model(Path("model.onnx"))
    run("--masks", "masks.mkv")
    for name in ("masks.zip", "masks.npz", "masks.zarr", "masks"):
        assert main(["convert", "masks.mkv", "-o", name, "-q"]) == 0
    run("-o", "results/", "--summary", "results/summary.json")
    run("--stats", "shares.csv")
    run("--stats", "shares.parquet")
    Path("half").mkdir()
    killed = subprocess.run([sys.executable, __file__, "--half", sys.path[0]], check=False)
    assert killed.returncode == -signal.SIGKILL
    checkpoint.save(patterned(), Path("best.pt"))


def run(*options: str) -> None:
    assert main(["run", "drive.mp4", "--model", "model.onnx", "--device", "cpu", "-q", *options]) == 0


def write_video(path: Path) -> None:
    """Road on the left and sky on the right, and a car that drives along."""
    with av.open(path, "w") as container:
        track = container.add_stream("libx264", rate=25, width=WIDTH, height=HEIGHT, pix_fmt="yuv420p")
        for number in range(FRAMES):
            picture = np.empty((HEIGHT, WIDTH, 3), np.uint8)
            picture[:, : WIDTH // 2], picture[:, WIDTH // 2 :] = COLORS["Road"], COLORS["Sky"]
            picture[12:20, 4 * number : 4 * number + 8] = COLORS["Car"]
            container.mux(track.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(track.encode())


def half() -> None:
    """Killed once `KEPT` frames are on disk, with what is needed to go on."""
    stages.EVERY_S = 0.0
    numbers = count(1)

    def kill(*_: Any) -> None:
        if next(numbers) == KEPT:
            os.kill(os.getpid(), signal.SIGKILL)

    settings = SegmentSettings(Path("drive.mp4"), masks=Path("half/masks.zip"), stats=Path("half/shares.csv"))
    process_video(settings, Model.load(Path("model.onnx")), on_frame=kill)


def patterned() -> checkpoint.Checkpoint:
    """Weights that nobody has trained, and that take no room in an archive."""
    network = UNet(UNetSettings(len(NAMES), decoder_channels=(8, 8, 8, 8), dropout=0.0))
    weights = network.state_dict()
    for value in weights.values():
        if value.ndim == 4:
            number = torch.arange(value.numel()).reshape(value.shape)
            value.copy_((number % 7 - 3) / (2 * value[0].numel() ** 0.5))
    return checkpoint.Checkpoint(
        network=network.settings,
        weights=weights,
        class_names=NAMES,
        class_colors=CLASS_COLORS,
        input_mean=127.0,
        input_std=128.0,
        input_height=64,
        input_width=96,
        stride=32,
        settings={"data": "drives", "epochs": 1},
        provenance={"data": "drives, 8 pictures", "license_note": "mine"},
        scores={"miou": 0.25},
        progress=None,
    )


if __name__ == "__main__":
    if sys.argv[1] == "--half":
        half()
    else:
        target = Path(sys.argv[1]).resolve()
        with TemporaryDirectory() as name, tarfile.open(target, "w:xz") as archive:
            make(Path(name))
            archive.add(name, ".")
