"""`roadmask warmup`: what a device does once for a model and a size of video, done before it is waited for."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import numpy as np
import typer

from ..network.model import Model
from ..system.talk import printable
from . import options as of


def warmup(
    model: of.ModelFile = None,
    device: of.Device = "auto",
    video_size: Annotated[
        str, typer.Option(metavar="WxH", help="Of the videos; what counts is their shape.")
    ] = "1920x1080",
    size: of.Size = "auto",
    batch: of.Batch = "auto",  # type: ignore[assignment]
) -> None:
    """Make a device ready for a model, and say how long that took.

    TensorRT builds an engine for each model, size and batch: minutes, once. Others compile for seconds, a CPU does
    not. What was compiled is kept for later runs, which must ask for the same batch and size.

    \b
    roadmask warmup --device tensorrt
    roadmask warmup --device tensorrt:1 --model street-fp16.onnx --video-size 1280x960 --batch 16
    """  # noqa: D301 - Typer needs the character itself, to leave the lines after it as they are
    height, width = of.video_size(video_size)
    started = time.perf_counter()
    network = Model.load(model, device=device, size=size)
    height, width = network.spec.input_size(height, width)
    batch = batch or network.default_batch
    network.prepare(batch, (height, width))
    opened = time.perf_counter()
    pictures = np.zeros((batch, height, width, 3), np.uint8)
    network.scores(pictures)
    first = time.perf_counter()
    network.scores(pictures)
    second = time.perf_counter() - first
    folder = network.compiled_folder(batch, (height, width))
    sys.stdout.write(
        f"{printable(network.path.stem)} on {network.device}, network {width}x{height}, batch {batch}\n"
        f"opened in {opened - started:.1f} s, first batch in {first - opened:.2f} s, next in {second:.3f} s\n"
        f"compiled files: {folder or 'none; this device needs none'}\n"
    )
