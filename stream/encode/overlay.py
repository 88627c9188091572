"""Colour a mask and blend it into a picture, in the picture's own YUV planes.

No full-size RGB exists on the way: the class colours are converted once to the picture's colour space, looked up by
class index, and mixed into each plane.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray

from ..decode.pixels import Plane, color_range, converted, matrix, planar_rgb, planes_of, rgb_to_yuv
from ..errors import RoadmaskError
from ..frames import SegmentedFrame
from ..spec import PixelClass
from .legend import LEGEND_PLACES, Legend, LegendPlace, draw_legend, quietest_corner

Style = Literal["fill", "outline", "fill+outline"]
STYLES: tuple[Style, ...] = get_args(Style)
_RGB_MATRIX, _UNSPECIFIED_MATRIX = 0, 2  # ITU-T H.273


def color_mask(mask: NDArray[np.uint8], classes: Sequence[PixelClass]) -> NDArray[np.uint8]:
    """(height, width, 3) RGB picture of a mask; indices that are no class become black.

    >>> import numpy as np
    >>> from roadmask import PixelClass, color_mask
    >>> classes = [PixelClass("Sky", (128, 128, 128)), PixelClass("Road", (128, 64, 128))]
    >>> color_mask(np.array([[0, 1]], np.uint8), classes)
    array([[[128, 128, 128],
            [128,  64, 128]]], dtype=uint8)
    """
    table = np.zeros((256, 3), np.uint8)
    table[: len(classes)] = [item.color for item in classes]
    return np.asarray(table[mask], np.uint8)


def mixed(
    picture: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    classes: Sequence[PixelClass],
    *,
    alpha: float = 0.5,
    style: Style = "fill",
    drawn: Sequence[bool] | None = None,
    bgr: bool = False,
) -> NDArray[np.uint8]:
    """What `Overlay` draws, of (height, width, 3) RGB or BGR: a new picture of the same order of colours."""
    table = np.zeros((256, 1, 3), np.uint8)
    table[: len(classes), 0] = [item.color[::-1] if bgr else item.color for item in classes]
    colors = cv2.LUT(cv2.merge([mask] * 3), table)
    share = alpha if style != "outline" else 0
    blended = cv2.addWeighted(picture, 1 - share, colors, share, 0)
    if style != "fill":
        cv2.copyTo(colors, edges(mask, line_width(*mask.shape)), blended)
    hidden = np.full(256, 255, np.uint8)
    hidden[: len(classes)] = 0 if drawn is None else np.where(drawn, 0, 255)
    if hidden[mask.max(initial=0)] or (drawn and not all(drawn)):
        cv2.copyTo(picture, cv2.LUT(mask, hidden), blended)
    return np.asarray(blended, np.uint8)


class Overlay:
    """Draws masks over frames: one instance a video, for one thread.

    Args:
        classes: of the masks; they are drawn in their own colours, so give them `load_palette("clear").colored(...)`.
        alpha: share of the class colour where a class is filled, 0 (picture alone) to 1 (colour alone).
        style: fill classes, or draw lines inside their edges, or both.
        drawn: of each class, whether it is coloured; `None` for all.
        legend: where to draw a table of the drawn classes: in a corner, "auto" for the one in which the first picture
            has least to see, or "off".

    >>> from roadmask import Model, Overlay, load_palette, segment_video
    >>> model = Model.load("camvid-lite0-int8")
    >>> overlay = Overlay(load_palette("clear").colored(model.spec.classes), alpha=0.4, legend="auto")
    >>> for result in segment_video("drive.mp4", model=model):
    ...     picture = overlay.render(result)
    >>> picture.format.name, picture.width, picture.height, picture.to_ndarray(format="rgb24").shape
    ('yuv420p', 128, 96, (96, 128, 3))
    """

    def __init__(
        self,
        classes: Sequence[PixelClass],
        *,
        alpha: float = 0.5,
        style: Style = "fill",
        drawn: Sequence[bool] | None = None,
        legend: LegendPlace = "off",
    ) -> None:
        if not 0 <= alpha <= 1:
            raise RoadmaskError(f"alpha {alpha:g} is not between 0 and 1")
        for value, known in ((style, STYLES), (legend, LEGEND_PLACES)):
            if value not in known:
                raise RoadmaskError(f"{value!r} is none of {', '.join(known)}")
        self._classes = tuple(classes)
        self._alpha = alpha if style != "outline" else 0
        self._is_lined = style != "fill"
        self._drawn = tuple(drawn) if drawn is not None else (True,) * len(self._classes)
        self._legend_place = legend
        self._legend_classes = [item for item, shown in zip(self._classes, self._drawn, strict=True) if shown]
        self._legend: Legend | None = None
        self._tables: dict[tuple[Colorspace, bool], NDArray[np.uint8]] = {}
        self._hidden: NDArray[np.uint8] = np.full(256, 255, np.uint8)
        self._hidden[: len(self._classes)] = np.where(self._drawn, 0, 255)
        self._room = np.empty((1, 0, 0), np.uint8)  # working memory that serves all planes of all frames

    def render(self, result: SegmentedFrame) -> av.VideoFrame:
        """A new yuv420p frame with the picture's times; odd sides grow by one row or column, never shrink."""
        source = as_yuv420p(result.frame.picture)
        colorspace, full_range = matrix(source), color_range(source) == ColorRange.JPEG
        height, width = result.mask.shape
        frame = av.VideoFrame(width + width % 2, height + height % 2, "yuv420p")
        tables = self._color_tables(colorspace, full_range)
        mask = result.mask
        if self._room.shape[1:] != mask.shape:
            self._room = np.empty((3 if self._is_lined else 1, *mask.shape), np.uint8)
        lines = edges(mask, line_width(height, width), self._room[1:]) if self._is_lined else None
        hides = result.ignores or not all(self._drawn)
        for index, (target, plane) in enumerate(zip(planes_of(frame), planes_of(source), strict=True)):
            if index == 1:  # chroma has half the rows and columns
                mask, lines = _halved(mask), None if lines is None else _halved(lines)
            self._blend(plane, mask, lines, tables[index], target, hides=hides)
        if self._legend_place != "off":
            self._draw_legend(frame, source, colorspace, full_range=full_range)
        frame.pts, frame.time_base = result.frame.pts, result.frame.time_base
        copy_colors(source, frame)
        return frame

    def picture(self, result: SegmentedFrame) -> NDArray[np.uint8]:
        """(height, width, 3) BGR: the same of a picture by itself, whose colours are as fine as its pixels."""
        height, width = result.mask.shape
        green, blue, red = planes_of(planar_rgb(result.frame.picture, "gbrp", VideoReformatter()))
        picture = np.asarray(cv2.merge([blue, green, red])[:height, :width], np.uint8)
        style: Style = "fill+outline" if self._is_lined else "fill"
        drawn = mixed(picture, result.mask, self._classes, alpha=self._alpha, style=style, drawn=self._drawn, bgr=True)
        draw_legend(drawn, self._legend_classes, self._legend_place, bgr=True)
        return drawn

    def _blend(
        self, plane: Plane, mask: Plane, lines: Plane | None, table: NDArray[np.uint8], target: Plane, *, hides: bool
    ) -> None:
        """Mix the colours of `table` at `mask` into `plane`; `target` may be one row or column larger."""
        height, width = plane.shape
        inner = target[:height, :width]
        looked_up = self._room[0].reshape(-1)[: mask.size].reshape(mask.shape)
        cv2.LUT(mask, table, dst=looked_up)
        if self._alpha:
            cv2.addWeighted(plane, 1 - self._alpha, looked_up, self._alpha, 0, dst=inner)
        else:
            np.copyto(inner, plane)
        if lines is not None:
            cv2.copyTo(looked_up, lines, inner)
        if hides:
            cv2.LUT(mask, self._hidden, dst=looked_up)
            cv2.copyTo(plane, looked_up, inner)
        if target.shape[0] > height:
            target[height] = target[height - 1]
        if target.shape[1] > width:
            target[:, width] = target[:, width - 1]

    def _color_tables(self, colorspace: Colorspace, full_range: bool) -> NDArray[np.uint8]:
        """(3, 256) Y, Cb and Cr of each class index."""
        key = (colorspace, full_range)
        if key not in self._tables:
            colors = np.zeros((256, 3), np.uint8)
            colors[: len(self._classes)] = [item.color for item in self._classes]
            self._tables[key] = rgb_to_yuv(colors, colorspace, full_range=full_range).T.copy()
        return self._tables[key]

    def place_legend(self, picture: av.VideoFrame) -> None:
        """Let this picture decide where a legend hides least, in place of the first that is drawn.

        For a run that goes on in the middle: its legend then stands where it stood.
        """
        if self._legend_place == "auto":
            self._legend_place = quietest_corner(planes_of(as_yuv420p(picture))[0], self._legend_classes)

    def _draw_legend(
        self, frame: av.VideoFrame, source: av.VideoFrame, colorspace: Colorspace, *, full_range: bool
    ) -> None:
        self.place_legend(source)
        if self._legend_place == "off" or self._legend_place == "auto" or not self._legend_classes:
            return
        size = (frame.height, frame.width)
        if self._legend is None or self._legend.frame_size != size:
            self._legend = Legend(self._legend_classes, self._legend_place, size, colorspace, full_range=full_range)
        self._legend.draw(frame)


def line_width(height: int, width: int) -> int:
    """Pixels, on either side of an edge, of lines that are seen at any size of the picture."""
    side = min(height, width)
    # Video has half the rows and columns of colour: of lines of one pixel every second bit would be left.
    return max(round(side / 400), 2 if side >= 180 else 1)


def edges(mask: Plane, width: int, room: Plane | None = None) -> Plane:
    """Not 0 at the pixels of a mask that have another class `width` pixels above, below, on the left or right.

    `room` is (2, height, width) of working memory, in which the result is; without, new memory is taken.
    """
    found, apart = np.empty((2, *mask.shape), np.uint8) if room is None else room
    found.fill(0)
    for before, after in ((np.s_[:-width], np.s_[width:]), (np.s_[:, :-width], np.s_[:, width:])):
        # OpenCV's, as NumPy's take three times as long where rows do not begin where its registers want them.
        differ = cv2.bitwise_xor(mask[before], mask[after], dst=apart[before])
        cv2.bitwise_or(found[before], differ, dst=found[before])
        cv2.bitwise_or(found[after], differ, dst=found[after])
    return np.asarray(found, np.uint8)


def _halved(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Every other row and column."""
    if mask.shape[1] % 2:
        return np.ascontiguousarray(mask[::2, ::2])
    # The lower bytes of pairs: to pick bytes one by one takes NumPy three times as long.
    return np.ascontiguousarray(mask).view("<u2")[::2].astype(np.uint8)


def copy_colors(source: av.VideoFrame, target: av.VideoFrame) -> None:
    """What the code values mean: as declared by `source`."""
    target.colorspace = _UNSPECIFIED_MATRIX if source.colorspace == _RGB_MATRIX else source.colorspace
    target.color_range = source.color_range
    target.color_primaries, target.color_trc = source.color_primaries, source.color_trc


def as_yuv420p(picture: av.VideoFrame) -> av.VideoFrame:
    """The picture itself where it is 8 bit 4:2:0 already, which nearly all video is. RGB becomes BT.709."""
    if picture.format.name in ("yuv420p", "yuvj420p"):
        return picture
    if not picture.format.is_rgb:
        return converted(picture, "yuv420p")
    result = converted(picture, "yuv420p", to=(Colorspace.ITU709, ColorRange.MPEG))
    copy_colors(picture, result)
    result.colorspace, result.color_range = Colorspace.ITU709, ColorRange.MPEG  # which players need not guess
    return result
