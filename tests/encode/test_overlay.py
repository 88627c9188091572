"""Blending in YUV planes, held against the same blend in RGB and against FFmpeg's own colour conversion."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.reformatter import Colorspace
from numpy.typing import NDArray

from roadmask.stream.decode.pixels import planes_of, rgb_to_yuv
from roadmask.stream.encode.legend import legend_picture
from roadmask.stream.encode.overlay import Overlay, Style, color_mask, edges, line_width
from roadmask.stream.errors import RoadmaskError
from roadmask.stream.frames import Frame, SegmentedFrame
from roadmask.stream.spec import PixelClass, select_classes
from tests.support.clips import video_info

CLASSES = (
    PixelClass("Road", (128, 64, 128)),
    PixelClass("Car", (0, 0, 142)),
    PixelClass("Sky", (70, 130, 180)),
)
BT601, BT709 = 5, 1


def segmented(
    picture: NDArray[np.uint8], mask: NDArray[np.uint8], colorspace: int = BT601, pixel_format: str = "yuv420p"
) -> SegmentedFrame:
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
        format=pixel_format, dst_colorspace=colorspace, dst_color_range=1
    )
    frame.colorspace, frame.color_range = colorspace, 1
    frame.pts, frame.time_base = 7, Fraction(1, 25)
    small = np.zeros((32, 32, 3), np.uint8)
    return SegmentedFrame(Frame(3, 7, Fraction(1, 25), frame, small, video_info()), mask)


def rgb(frame: av.VideoFrame) -> NDArray[np.int64]:
    return frame.reformat(format="rgb24", src_colorspace=int(frame.colorspace)).to_ndarray().astype(np.int64)


def gray(height: int, width: int, value: int = 120) -> NDArray[np.uint8]:
    return np.full((height, width, 3), value, np.uint8)


@pytest.mark.parametrize("colorspace", [BT601, BT709])
def test_a_class_gets_the_mix_of_picture_and_its_colour(colorspace: int) -> None:
    mask = np.zeros((32, 48), np.uint8)
    mask[:, 24:] = 2
    drawn = rgb(Overlay(CLASSES, alpha=0.25).render(segmented(gray(32, 48), mask, colorspace)))
    for columns, item in ((slice(2, 20), CLASSES[0]), (slice(28, 46), CLASSES[2])):
        expected = 0.75 * 120 + 0.25 * np.array(item.color)
        assert np.abs(drawn[4:28, columns] - expected).max() <= 3  # rounding of 8 bit YUV


def test_alpha_0_leaves_every_plane_as_it_was_and_alpha_1_leaves_the_colours_alone() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    mask = np.random.default_rng(1).integers(0, 3, (32, 48), np.uint8)
    result = segmented(picture, mask)
    for drawn, source in zip(
        planes_of(Overlay(CLASSES, alpha=0).render(result)), planes_of(result.frame.picture), strict=True
    ):
        np.testing.assert_array_equal(drawn, source)
    luma = planes_of(Overlay(CLASSES, alpha=1).render(result))[0]
    colors = np.array([item.color for item in CLASSES], np.uint8)
    np.testing.assert_array_equal(luma, rgb_to_yuv(colors, Colorspace.ITU601, full_range=False)[:, 0][mask])


def test_a_class_that_is_not_drawn_keeps_its_pixels() -> None:
    mask = np.zeros((32, 48), np.uint8)
    mask[:, 24:] = 1
    result = segmented(gray(32, 48), mask)
    drawn = Overlay(CLASSES, drawn=select_classes(CLASSES, only=["car"])).render(result)
    for plane, source in zip(planes_of(drawn), planes_of(result.frame.picture), strict=True):
        half = plane.shape[1] // 2
        np.testing.assert_array_equal(plane[:, :half], source[:, :half])
        assert (plane[:, half:] != source[:, half:]).all()


@pytest.mark.parametrize("size", [(32, 48), (31, 47)])
def test_with_some_classes_drawn_each_pixel_is_the_fully_drawn_one_or_the_source(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    result = segmented(rng.integers(0, 256, (*size, 3), np.uint8), rng.integers(0, 3, size, np.uint8))
    full = planes_of(Overlay(CLASSES, alpha=0.3).render(result))
    some = planes_of(Overlay(CLASSES, alpha=0.3, drawn=(True, False, True)).render(result))
    masks = [result.mask, result.mask[::2, ::2], result.mask[::2, ::2]]
    for drawn, all_drawn, source, mask in zip(some, full, planes_of(result.frame.picture), masks, strict=True):
        height, width = mask.shape
        np.testing.assert_array_equal(drawn[:height, :width], np.where(mask == 1, source, all_drawn[:height, :width]))


def test_a_frame_drawn_before_stays_as_it_was() -> None:
    overlay = Overlay(CLASSES, alpha=1)
    first = overlay.render(segmented(gray(32, 48), np.zeros((32, 48), np.uint8)))
    before = [plane.copy() for plane in planes_of(first)]
    for size in ((32, 48), (16, 20)):
        overlay.render(segmented(gray(*size), np.ones(size, np.uint8)))
    for plane, was in zip(planes_of(first), before, strict=True):
        np.testing.assert_array_equal(plane, was)


def test_the_colour_edge_is_where_the_mask_edge_is() -> None:
    for edge in range(8, 40, 2):
        mask = np.zeros((32, 48), np.uint8)
        mask[:, edge:] = 1
        for plane in planes_of(Overlay(CLASSES, alpha=1).render(segmented(gray(32, 48), mask))):
            steps = np.flatnonzero(np.diff(plane[5].astype(int)))
            assert steps.tolist() == [edge * plane.shape[1] // 48 - 1]


def ring(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a pixel beside, above or below is of another class."""
    padded = np.pad(mask, 1, mode="edge")
    beside = [padded[1:-1, :-2], padded[1:-1, 2:], padded[:-2, 1:-1], padded[2:, 1:-1]]
    return np.any([mask != other for other in beside], axis=0)


@pytest.mark.parametrize("size", [(32, 48), (31, 47)])
def test_lines_are_in_their_class_s_colour_inside_its_edge_and_elsewhere_is_the_picture_or_the_fill(
    size: tuple[int, int],
) -> None:
    mask = np.zeros(size, np.uint8)
    mask[9:21, 10:31] = 1
    mask[12:14] = 2
    result = segmented(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8), mask)
    height, width = size
    colors = planes_of(Overlay(CLASSES, alpha=1).render(result))[0][:height, :width]
    fill = planes_of(Overlay(CLASSES).render(result))[0][:height, :width]
    source = planes_of(result.frame.picture)[0]
    lined = planes_of(Overlay(CLASSES, style="outline").render(result))[0][:height, :width]
    both = planes_of(Overlay(CLASSES, style="fill+outline").render(result))[0][:height, :width]
    np.testing.assert_array_equal(lined, np.where(ring(mask), colors, source))
    np.testing.assert_array_equal(both, np.where(ring(mask), colors, fill))


@pytest.mark.parametrize("style", ["outline", "fill+outline"])
def test_a_class_that_is_not_drawn_has_no_lines(style: Style) -> None:
    mask = np.zeros((32, 48), np.uint8)
    mask[8:24, 10:30] = 1
    result = segmented(gray(32, 48), mask)
    drawn = planes_of(Overlay(CLASSES, style=style, drawn=(False, True, True)).render(result))[0]
    source = planes_of(result.frame.picture)[0]
    np.testing.assert_array_equal(drawn[mask == 0], source[mask == 0])
    assert (drawn[ring(mask) & (mask == 1)] != source[ring(mask) & (mask == 1)]).all()


def test_lines_are_as_wide_as_the_picture_s_size_asks_for_in_every_plane() -> None:
    for height, width in ((144, 1), (360, 2), (720, 2), (1080, 3), (2160, 5)):
        assert line_width(height, height * 16 // 9) == width
        mask = np.zeros((height, 64), np.uint8)
        mask[:, 32:] = 1
        np.testing.assert_array_equal(np.flatnonzero(edges(mask, width)[5]), np.arange(32 - width, 32 + width))
    mask = np.zeros((1080, 1080), np.uint8)
    mask[:, 540:] = 2
    result = segmented(gray(1080, 1080), mask)
    drawn = planes_of(Overlay(CLASSES, style="outline").render(result))
    for plane, source, wide in zip(drawn, planes_of(result.frame.picture), (6, 3, 3), strict=True):
        assert abs(int((plane[5] != source[5]).sum()) - wide) <= 1


@pytest.mark.parametrize("size", [(240, 320), (540, 960), (720, 1280)])
def test_lines_have_their_colours_all_along_wherever_they_lie(size: tuple[int, int]) -> None:
    rows, columns = np.indices(size)
    for axis, mask in enumerate((rows > 100 + columns // 9, columns > 100 + rows // 9)):
        result = segmented(gray(*size), mask.astype(np.uint8))
        lined, filled = (
            planes_of(overlay.render(result))
            for overlay in (Overlay(CLASSES, style="outline"), Overlay(CLASSES, alpha=1))
        )
        for plane, of_classes in zip(lined, filled, strict=True):
            for color in np.unique(of_classes):
                assert (plane == color).any(axis=axis).all(), "in each column, or row"


def test_a_mask_of_one_class_and_one_smaller_than_a_line_have_no_lines() -> None:
    for mask in (np.ones((32, 48), np.uint8), np.array([[0]], np.uint8), np.array([[0, 1]], np.uint8)):
        assert edges(mask, 2).shape == mask.shape
        assert not edges(mask, 2).any()


def test_a_style_that_is_none_is_refused() -> None:
    with pytest.raises(RoadmaskError, match="'dotted' is none of fill, outline, fill\\+outline"):
        Overlay(CLASSES, style="dotted")  # type: ignore[arg-type]


def test_the_decoders_picture_is_not_drawn_on() -> None:
    result = segmented(gray(32, 48), np.ones((32, 48), np.uint8))
    before = [plane.copy() for plane in planes_of(result.frame.picture)]
    Overlay(CLASSES, legend="auto").render(result)
    for plane, was in zip(planes_of(result.frame.picture), before, strict=True):
        np.testing.assert_array_equal(plane, was)


def test_odd_sides_grow_by_a_repeated_row_and_column() -> None:
    result = segmented(gray(31, 47), np.zeros((31, 47), np.uint8))
    drawn = Overlay(CLASSES).render(result)
    assert (drawn.width, drawn.height) == (48, 32)
    luma = planes_of(drawn)[0]
    np.testing.assert_array_equal(luma[31], luma[30])
    np.testing.assert_array_equal(luma[:, 47], luma[:, 46])


@pytest.mark.parametrize("pixel_format", ["yuv444p", "yuv420p10le", "gray", "rgb24"])
def test_pictures_of_other_formats_are_blended_in_420(pixel_format: str) -> None:
    result = segmented(gray(32, 48), np.ones((32, 48), np.uint8), pixel_format=pixel_format)
    drawn = Overlay(CLASSES).render(result)
    assert drawn.format.name == "yuv420p"
    assert np.abs(rgb(drawn)[8:24, 8:40] - (60 + 0.5 * np.array(CLASSES[1].color))).max() <= 4


def test_frame_times_and_colour_tags_are_carried_over() -> None:
    drawn = Overlay(CLASSES).render(segmented(gray(32, 48), np.zeros((32, 48), np.uint8), BT709))
    assert (drawn.pts, drawn.time_base, int(drawn.colorspace)) == (7, Fraction(1, 25), BT709)


def test_the_legend_shows_each_drawn_class_in_its_colour_and_fits_small_frames() -> None:
    legend = legend_picture(CLASSES, 540, 960)
    for item in CLASSES:
        assert (legend[..., :3] == item.color).all(axis=2).any()
    for height, width in ((16, 16), (64, 30), (540, 960)):
        picture = legend_picture(CLASSES, height, width)
        assert picture.shape[0] <= height
        assert picture.shape[1] <= width
        result = segmented(gray(height, width), np.zeros((height, width), np.uint8))
        Overlay(CLASSES, legend="auto").render(result)


@pytest.mark.parametrize("colorspace", [Colorspace.ITU601, Colorspace.ITU709, Colorspace.BT2020])
def test_class_colours_convert_as_ffmpeg_converts_them(colorspace: Colorspace) -> None:
    colors = np.random.default_rng(0).integers(0, 256, (20, 3), np.uint8)
    for color, ours in zip(colors, rgb_to_yuv(colors, colorspace, full_range=False), strict=True):
        frame = av.VideoFrame.from_ndarray(np.broadcast_to(color, (16, 16, 3)).copy(), format="rgb24")
        theirs = frame.reformat(format="yuv420p", dst_colorspace=colorspace, dst_color_range=1)
        assert np.abs(np.array([plane[4, 4] for plane in planes_of(theirs)], int) - ours).max() <= 1


def test_colours_of_a_mask_are_those_of_its_classes_and_black_elsewhere() -> None:
    colored = color_mask(np.array([[0, 1], [2, 255]], np.uint8), CLASSES)
    assert colored.tolist() == [[[128, 64, 128], [0, 0, 142]], [[70, 130, 180], [0, 0, 0]]]


def test_an_unknown_class_is_refused_with_the_known_ones() -> None:
    with pytest.raises(RoadmaskError, match="class 'rode' is not known here; there are Road, Car, Sky"):
        select_classes(CLASSES, only=["rode"])
    assert select_classes(CLASSES, only=["ROAD", "car"], exclude=["car"]) == (True, False, False)
