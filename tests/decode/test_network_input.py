"""The network's input: the colours that the file means, in their places."""

from __future__ import annotations

import av
import numpy as np
import pytest
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from roadmask.stream.decode.pixels import color_range, network_input
from tests.support.own_process import ROOT

SIZE = (32, 48)


MATRICES = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114)}  # red and blue weights of BT.709 and BT.601


COLORS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (128, 64, 200), (20, 200, 90), (255,) * 3, (0,) * 3]


def flat_picture(
    color: tuple[int, ...], weights: tuple[float, float], size: tuple[int, int], *, full: bool
) -> av.VideoFrame:
    red, green, blue = (value / 255 for value in color)
    red_weight, blue_weight = weights
    luma = red_weight * red + (1 - red_weight - blue_weight) * green + blue_weight * blue
    chroma = ((blue - luma) / (2 - 2 * blue_weight), (red - luma) / (2 - 2 * red_weight))
    scale, base = (255, 0) if full else (219, 16)
    values = [base + scale * luma, *(128 + (255 if full else 224) * value for value in chroma)]
    picture = av.VideoFrame(size[1], size[0], "yuv420p")
    for plane, value in zip(picture.planes, values, strict=True):
        plane.update(bytes([min(round(value), 255)]) * plane.buffer_size)
    return picture


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("tag", [1, 5, 6])
@pytest.mark.parametrize("color", COLORS)
def test_colours_follow_the_tags_within_two_levels(color: tuple[int, ...], tag: int, *, full: bool) -> None:
    picture = flat_picture(color, MATRICES[tag], (96, 128), full=full)
    picture.colorspace, picture.color_range = tag, 2 if full else 1
    seen = network_input(picture, SIZE, VideoReformatter()).astype(int)
    assert np.abs(seen - color).max() <= 2
    assert (picture.colorspace, picture.color_range) == (tag, 2 if full else 1)


@pytest.mark.parametrize(("height", "tag"), [(576, 6), (720, 1)])
def test_untagged_pictures_are_bt601_below_720_lines_and_bt709_from_there(height: int, tag: int) -> None:
    picture = flat_picture((20, 200, 90), MATRICES[tag], (height, 960), full=False)
    assert np.abs(network_input(picture, SIZE, VideoReformatter()).astype(int) - (20, 200, 90)).max() <= 2


@pytest.mark.parametrize("pixel_format", ["yuv420p", "nv12", "yuv422p10le", "gray", "rgb24"])
@pytest.mark.parametrize("full", [False, True])
def test_the_input_is_the_packed_rgb_that_swscale_makes(pixel_format: str, *, full: bool) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 160, 3), np.uint8)
    picture = av.VideoFrame.from_ndarray(noise, format="rgb24").reformat(360, 180, pixel_format)
    picture.color_range = 2 if full else 1
    seen = network_input(picture, SIZE, VideoReformatter())
    flags = Interpolation.BILINEAR | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND
    packed = picture.reformat(
        SIZE[1], SIZE[0], "rgb24", src_colorspace=5, src_color_range=color_range(picture), dst_color_range=2,
        interpolation=flags,
    )  # fmt: skip
    np.testing.assert_array_equal(seen, packed.to_ndarray())
    assert seen.flags.c_contiguous
    assert seen.flags.owndata


def edge_picture(size: tuple[int, int], column: int) -> av.VideoFrame:
    """Green left of `column`, magenta from it on: an edge in all three planes."""
    height, width = size
    pixels: NDArray[np.uint8] = np.full((height, width, 3), (0, 200, 0), np.uint8)
    pixels[:, column:] = (200, 0, 200)
    return av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p", interpolation="AREA")


@pytest.mark.parametrize("ratio", [1, 2, 3, 4])
def test_a_coloured_edge_stays_in_its_place(ratio: int) -> None:
    picture = edge_picture((64 * ratio, 96 * ratio), 48 * ratio)
    small = network_input(picture, (64, 96), VideoReformatter()).astype(float)
    for channel, (left, right) in enumerate([(0, 200), (200, 0), (0, 200)]):
        share = np.clip((small[:, :, channel] - left) / (right - left), 0, 1)  # of magenta
        # The area right of the edge is half of the picture: a shift of a quarter pixel would show.
        assert abs(share.sum(axis=1) - 48).max() < 0.25


def test_pixels_are_converted_in_one_place_which_owns_the_number_of_threads() -> None:
    # With several, swscale writes over the ends of other threads' rows at some widths.
    code = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "stream").rglob("*.py")}
    assert [name for name, text in code.items() if ".reformat(" in text] == ["pixels.py"]
    assert "threads=1" in code["pixels.py"]
