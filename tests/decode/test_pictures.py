"""Pictures with palettes and of kinds of their own: segmented, or told why not."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from roadmask.stream.archive.archive import open_masks
from tests.support.color_model import COLORS
from tests.support.run_command import run

SIZE = (48, 64)
COUNT = 3


def paletted(path: Path, codec: str, *, count: int = COUNT, **muxer: str) -> Path:
    """Of two of the model's colours: the left half is of class 0, the right one of class 1."""
    palette = np.zeros((256, 4), np.uint8)  # BGRA
    palette[:2, :3] = [color[::-1] for color in list(COLORS.values())[:2]]
    palette[:, 3] = 255
    with av.open(path, "w", format=muxer.pop("format", None), container_options=muxer) as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "pal8"
        for number in range(count):
            picture = av.VideoFrame(SIZE[1], SIZE[0], "pal8")
            indices, colors = picture.planes
            rows = np.frombuffer(indices, np.uint8).reshape(SIZE[0], indices.line_size)
            rows[:, : SIZE[1]] = np.arange(SIZE[1]) >= SIZE[1] // 2
            colors.update(palette.tobytes())
            picture.pts, picture.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("name", "codec", "muxer"),
    [
        *[(f"clip.{suffix}", "png", {}) for suffix in ("mov", "avi", "nut")],
        ("clip.gif", "gif", {}),
        ("clip.apng", "apng", {}),
        *[
            (f"still.{suffix}", codec, {"format": "image2", "update": "1"})
            for suffix, codec in (("png", "png"), ("bmp", "bmp"), ("tif", "tiff"))
        ],
    ],
)
def test_pictures_with_a_palette_are_segmented_in_every_container_and_alone(
    name: str, codec: str, muxer: dict[str, str], model: Path, tmp_path: Path
) -> None:
    count = 1 if muxer else COUNT
    source = paletted(tmp_path / name, codec, count=count, **muxer)
    assert run(source, "-o", tmp_path / "seen.mp4", "--masks", tmp_path / "masks", "--no-smooth", model=model) == 0
    with open_masks(tmp_path / "masks") as masks:
        assert len(masks) == count
        mask = masks[count - 1]
    assert mask.shape == SIZE
    assert (mask[:, :28] == 0).all()
    assert (mask[:, 36:] == 1).all()


def test_numbered_tiffs_are_a_sequence(model: Path, tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number:03d}.tif"), np.full((*SIZE, 3), 40 * number, np.uint8))
    assert run(tmp_path / "%03d.tif", "--masks", tmp_path / "masks.zip", model=model) == 0
    with open_masks(tmp_path / "masks.zip") as masks:
        assert [record.index for record in masks.records] == [0, 1, 2]


def test_an_animated_png_is_read_and_an_animated_webp_where_ffmpeg_can(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    animation = cv2.Animation()
    animation.frames = [np.full((*SIZE, 3), 60 * number, np.uint8) for number in range(COUNT)]
    animation.durations = np.array([40] * COUNT)
    for name in ("clip.png", "clip.webp"):
        assert cv2.imwriteanimation(str(tmp_path / name), animation)
    assert run(tmp_path / "clip.png", "--masks", tmp_path / "masks.zip", model=model) == 0
    with open_masks(tmp_path / "masks.zip") as masks:
        assert len(masks) == COUNT
    capsys.readouterr()
    can = "webp_anim" in av.codecs_available  # from FFmpeg 9 on
    assert run(tmp_path / "clip.webp", "--masks", tmp_path / "other.zip", model=model) == (0 if can else 1)
    assert ("clip.webp: an animated WebP, which takes PyAV 19; make a video" in capsys.readouterr().err) != can
    assert (tmp_path / "other.zip").exists() == can
    if can:
        with open_masks(tmp_path / "other.zip") as masks:
            assert [float(record.time) for record in masks.records] == [0, 0.04, 0.08]
