"""Colour a mask and blend it into a picture, in the picture's own YUV planes.

No full-size RGB exists on the way: the class colours are converted once to the picture's colour space, looked up by
class index, and mixed into each plane.
"""

from __future__ import annotations

from collections.abc import Sequence

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from ..decode.pixels import Plane, color_range, converted, matrix, planes_of, rgb_to_yuv
from ..errors import RoadmaskError
from ..frames import SegmentedFrame
from ..spec import PixelClass

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


class Overlay:
    """Draws masks over frames: one instance a video, for one thread.

    Args:
        classes: of the masks.
        alpha: share of the class colour in the mix, 0 (picture alone) to 1 (colour alone).
        drawn: of each class, whether it is coloured; `None` for all.
        legend: draw a table of the drawn classes in the upper left corner.

    >>> from roadmask import Model, Overlay, segment_video
    >>> model = Model.load("camvid-lite0-int8")
    >>> overlay = Overlay(model.spec.classes, alpha=0.4, legend=True)
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
        drawn: Sequence[bool] | None = None,
        legend: bool = False,
    ) -> None:
        if not 0 <= alpha <= 1:
            raise RoadmaskError(f"alpha {alpha:g} is not between 0 and 1")
        self._classes = tuple(classes)
        self._alpha = alpha
        self._drawn = tuple(drawn) if drawn is not None else (True,) * len(self._classes)
        self._has_legend = legend
        self._legend: _Legend | None = None
        self._tables: dict[tuple[Colorspace, bool], NDArray[np.uint8]] = {}
        self._hidden: NDArray[np.uint8] = np.full(256, 255, np.uint8)
        self._hidden[: len(self._classes)] = np.where(self._drawn, 0, 255)
        self._room = np.empty(0, np.uint8)  # working memory that serves all planes of all frames

    def render(self, result: SegmentedFrame) -> av.VideoFrame:
        """A new yuv420p frame with the picture's times; odd sides grow by one row or column, never shrink."""
        source = _as_yuv420p(result.frame.picture)
        colorspace, full_range = matrix(source), color_range(source) == ColorRange.JPEG
        height, width = result.mask.shape
        frame = av.VideoFrame(width + width % 2, height + height % 2, "yuv420p")
        tables = self._color_tables(colorspace, full_range)
        mask = result.mask
        if self._room.size != mask.size:
            self._room = np.empty(mask.size, np.uint8)
        for index, (target, plane) in enumerate(zip(planes_of(frame), planes_of(source), strict=True)):
            if index == 1:  # chroma has half the rows and columns
                mask = _halved(mask)
            self._blend(plane, mask, tables[index], target, hides=result.ignores or not all(self._drawn))
        if self._has_legend:
            self._draw_legend(frame, colorspace, full_range)
        frame.pts, frame.time_base = result.frame.pts, result.frame.time_base
        _copy_colors(source, frame)
        return frame

    def _blend(self, plane: Plane, mask: Plane, table: NDArray[np.uint8], target: Plane, *, hides: bool) -> None:
        """Mix the colours of `table` at `mask` into `plane`; `target` may be one row or column larger."""
        height, width = plane.shape
        inner = target[:height, :width]
        looked_up = self._room[: mask.size].reshape(mask.shape)
        cv2.LUT(mask, table, dst=looked_up)
        cv2.addWeighted(plane, 1 - self._alpha, looked_up, self._alpha, 0, dst=inner)
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

    def _draw_legend(self, frame: av.VideoFrame, colorspace: Colorspace, full_range: bool) -> None:
        if self._legend is None or self._legend.frame_size != (frame.height, frame.width):
            drawn = [item for item, is_drawn in zip(self._classes, self._drawn, strict=True) if is_drawn]
            self._legend = _Legend(drawn, (frame.height, frame.width), colorspace, full_range)
        self._legend.draw(frame)


class _Legend:
    """A table of colours and names, drawn once and copied into each frame."""

    def __init__(
        self, classes: Sequence[PixelClass], frame_size: tuple[int, int], colorspace: Colorspace, full_range: bool
    ) -> None:
        self.frame_size = frame_size
        picture = legend_picture(classes, *frame_size)
        yuv = rgb_to_yuv(picture, colorspace, full_range=full_range)
        height, width = picture.shape[:2]
        chroma = cv2.resize(yuv[..., 1:], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        self._planes = (yuv[..., 0], chroma[..., 0], chroma[..., 1])

    def draw(self, frame: av.VideoFrame) -> None:
        for plane, patch in zip(planes_of(frame), self._planes, strict=True):
            height, width = patch.shape
            corner = plane[:height, :width]
            cv2.addWeighted(corner, 0.15, patch, 0.85, 0, dst=corner)


def legend_picture(classes: Sequence[PixelClass], frame_height: int, frame_width: int) -> NDArray[np.uint8]:
    """(even height, even width, 3) RGB: a swatch and a name a class, at most as large as the frame."""
    line = min(max(frame_height // 27, 12), max(frame_height // max(len(classes), 1), 4))
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, line / 36
    widths = [cv2.getTextSize(item.name, font, scale, 1)[0][0] for item in classes] or [0]
    width = min(line * 2 + max(widths), frame_width) // 2 * 2
    height = min(line * len(classes) + line // 2, frame_height) // 2 * 2
    picture = np.full((max(height, 2), max(width, 2), 3), 24, np.uint8)
    for row, item in enumerate(classes):
        top = line // 4 + row * line
        picture[top + line // 6 : top + line * 5 // 6, line // 3 : line * 4 // 3] = item.color
        origin = (line * 5 // 3, top + line * 3 // 4)
        cv2.putText(picture, item.name, origin, font, scale, (240, 240, 240), 1, cv2.LINE_AA)
    return picture


def _halved(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Every other row and column."""
    if mask.shape[1] % 2:
        return np.ascontiguousarray(mask[::2, ::2])
    # The lower bytes of pairs: to pick bytes one by one takes NumPy three times as long.
    return np.ascontiguousarray(mask).view("<u2")[::2].astype(np.uint8)


def _copy_colors(source: av.VideoFrame, target: av.VideoFrame) -> None:
    """What the code values mean: as declared by `source`."""
    target.colorspace = _UNSPECIFIED_MATRIX if source.colorspace == _RGB_MATRIX else source.colorspace
    target.color_range = source.color_range
    target.color_primaries, target.color_trc = source.color_primaries, source.color_trc


def _as_yuv420p(picture: av.VideoFrame) -> av.VideoFrame:
    """The picture itself where it is 8 bit 4:2:0 already, which nearly all video is. RGB becomes BT.709."""
    if picture.format.name in ("yuv420p", "yuvj420p"):
        return picture
    if not picture.format.is_rgb:
        return converted(picture, "yuv420p")
    result = converted(picture, "yuv420p", to=(Colorspace.ITU709, ColorRange.MPEG))
    _copy_colors(picture, result)
    result.colorspace, result.color_range = Colorspace.ITU709, ColorRange.MPEG  # which players need not guess
    return result
