"""A table of the classes' colours and names, in the corner of a picture where it hides least."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import av
import cv2
import numpy as np
from av.video.reformatter import Colorspace
from numpy.typing import NDArray

from ..decode.pixels import Plane, planes_of, rgb_to_yuv
from ..spec import PixelClass

Corner = Literal["top-left", "top-right", "bottom-left", "bottom-right"]
LegendPlace = Literal["off", "auto", "top-left", "top-right", "bottom-left", "bottom-right"]
LEGEND_PLACES: tuple[LegendPlace, ...] = get_args(LegendPlace)
CORNERS: tuple[Corner, ...] = get_args(Corner)

_LINES = 30  # of text that a picture's shorter side has room for, as a rule
_LEAST_LINE, _SMALLEST_LINE = 13, 8  # pixels: below the first, letters are hard to read; below the other, they are none
_MOST_HEIGHT, _MOST_WIDTH = 0.5, 0.65  # of the picture, if all the names fit
_FONT, _LETTERS = cv2.FONT_HERSHEY_SIMPLEX, 21  # the height of its capitals at scale 1
_PLATE, _TEXT, _RIM = (22, 24, 28, 200), (244, 244, 244, 255), (120, 124, 130, 255)  # RGB and opacity
_NOISE = 1.0  # levels from pixel to pixel: less is no detail
_ROAD = 4  # times more is hidden at the bottom, where the road and who is on it are, than by as much detail at the top


class Legend:
    """Drawn once, and mixed into each frame.

    Args:
        classes: to show; none, and nothing is drawn.
        corner: in which it stands.
        frame_size: (height, width), even, of the frames.
        colorspace: of the frames, as `full_range`.
        full_range: see `colorspace`.
    """

    def __init__(
        self,
        classes: Sequence[PixelClass],
        corner: Corner,
        frame_size: tuple[int, int],
        colorspace: Colorspace,
        *,
        full_range: bool,
    ) -> None:
        self.frame_size = frame_size
        picture = legend_picture(classes, *frame_size)
        self._place = _place(corner, picture.shape[:2], frame_size)
        opacity = picture[..., 3]
        yuv = rgb_to_yuv(picture[..., :3], colorspace, full_range=full_range)
        half = (picture.shape[1] // 2, picture.shape[0] // 2)
        small_opacity = np.asarray(cv2.resize(opacity, half, interpolation=cv2.INTER_AREA), np.uint8)
        chroma = np.asarray(cv2.resize(yuv[..., 1:], half, interpolation=cv2.INTER_AREA), np.uint8)
        planes = (yuv[..., 0], opacity), (chroma[..., 0], small_opacity), (chroma[..., 1], small_opacity)
        self._planes = [(_times(plane, share), np.asarray(255 - share, np.uint8)) for plane, share in planes]

    def draw(self, frame: av.VideoFrame) -> None:
        top, left = self._place
        for index, (plane, (patch, rest)) in enumerate(zip(planes_of(frame), self._planes, strict=True)):
            at = (top, left) if index == 0 else (top // 2, left // 2)
            under = plane[at[0] : at[0] + patch.shape[0], at[1] : at[1] + patch.shape[1]]
            cv2.add(_times(under, rest), patch, dst=under)


def draw_legend(picture: NDArray[np.uint8], classes: Sequence[PixelClass], place: LegendPlace, *, bgr: bool) -> None:
    """Into (height, width, 3) RGB or BGR, where there is to be one."""
    if place == "off" or not classes or min(picture.shape[:2]) < 2:
        return
    luma = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY if bgr else cv2.COLOR_RGB2GRAY), np.uint8)
    corner = quietest_corner(luma, classes) if place == "auto" else place
    table = legend_picture(classes, *luma.shape)
    top, left = _place(corner, table.shape, luma.shape)
    under = picture[top : top + table.shape[0], left : left + table.shape[1]]
    share = table[..., 3:].astype(np.float32) / 255
    under[:] = np.rint(under * (1 - share) + (table[..., 2::-1] if bgr else table[..., :3]) * share)


def quietest_corner(luma: Plane, classes: Sequence[PixelClass]) -> Corner:
    """In which a legend would hide the least detail of this picture; the first of those that are alike."""
    height, width = luma.shape
    size = legend_picture(classes, height, width).shape[:2]

    def hidden(corner: Corner) -> float:
        top, left = _place(corner, size, luma.shape)
        under = luma[top : top + size[0], left : left + size[1]].astype(np.int16)
        detail = sum(float(np.abs(np.diff(under, axis=axis)).mean()) for axis in (0, 1) if under.shape[axis] > 1)
        return max(detail, _NOISE) * (_ROAD if corner.startswith("bottom") else 1)

    return min(CORNERS, key=hidden)


def legend_picture(classes: Sequence[PixelClass], frame_height: int, frame_width: int) -> NDArray[np.uint8]:
    """(even height, even width, 4) RGB and opacity: a swatch and a name a class, at most as large as the frame."""
    line, rows, columns = _layout(classes, frame_height, frame_width)
    shown = list(classes[: rows * columns])
    if left_out := len(classes) - len(shown):
        shown[-1:] = [PixelClass(f"and {left_out + 1} more", _PLATE[:3])]
    finer = max(min(96 // line, 4), 1)  # drawn larger, and made small: OpenCV's own small letters are ragged
    scaled = line * finer
    cell, pad = _cell(shown, scaled), scaled // 4
    height, width = rows * scaled + 2 * pad, columns * cell + pad
    picture = np.empty((height, width, 4), np.uint8)
    picture[:] = (*_PLATE[:3], 0)
    _round_plate(picture, pad)
    for place, item in enumerate(shown):
        top, left = pad + place % rows * scaled, pad + place // rows * cell
        _draw_swatch(picture, item, (left + scaled // 6, top + scaled // 6), (scaled, scaled * 2 // 3))
        scale, thickness = _pen(scaled)
        origin = (left + scaled * 3 // 2, top + scaled // 2 + round(scale * _LETTERS / 2))
        cv2.putText(picture, item.name, origin, _FONT, scale, _TEXT, thickness, cv2.LINE_AA)
    size = (max(width // finer // 2 * 2, 2), max(height // finer // 2 * 2, 2))
    small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    return small[: max(frame_height // 2 * 2, 2), : max(frame_width // 2 * 2, 2)]


def _layout(classes: Sequence[PixelClass], height: int, width: int) -> tuple[int, int, int]:
    """The height of a line, how many there are, and in how many columns: all of the classes if that is possible."""
    count = max(len(classes), 1)
    usual = max(min(height, width) // _LINES, _LEAST_LINE)
    for most_height, most_width in ((_MOST_HEIGHT * height, _MOST_WIDTH * width), (height, width)):
        for line in range(usual, _SMALLEST_LINE - 1, -1):
            rows = min(max(int((most_height - line // 2) // line), 1), count)
            columns = -(-count // rows)
            if columns * _cell(classes, line) + line // 4 <= most_width:
                return line, -(-count // columns), columns
    line = _SMALLEST_LINE
    return line, max((height - line // 2) // line, 1), max((width - line // 4) // _cell(classes, line), 1)


def _cell(classes: Sequence[PixelClass], line: int) -> int:
    """The width of a column."""
    scale, thickness = _pen(line)
    return line * 2 + max((cv2.getTextSize(item.name, _FONT, scale, thickness)[0][0] for item in classes), default=0)


def _pen(line: int) -> tuple[float, int]:
    """Scale and thickness of letters that stand well in such a line."""
    return 0.66 * line / _LETTERS, max(round(line / 12), 1)


def _draw_swatch(picture: NDArray[np.uint8], item: PixelClass, corner: tuple[int, int], size: tuple[int, int]) -> None:
    """With a rim, for dark ones; `corner` and `size` are in x and y."""
    (left, top), (width, height), rim = corner, size, max(size[1] // 9, 1)
    cv2.rectangle(picture, corner, (left + width, top + height), _RIM, cv2.FILLED)
    inner = (left + rim, top + rim), (left + width - rim, top + height - rim)
    cv2.rectangle(picture, *inner, (*item.color, 255), cv2.FILLED)


def _round_plate(picture: NDArray[np.uint8], radius: int) -> None:
    height, width = picture.shape[:2]
    for corners in (((radius, 0), (width - radius - 1, height)), ((0, radius), (width, height - radius - 1))):
        cv2.rectangle(picture, *corners, _PLATE, cv2.FILLED)
    for x in (radius, width - radius - 1):
        for y in (radius, height - radius - 1):
            cv2.circle(picture, (x, y), radius, _PLATE, cv2.FILLED)


def _place(corner: Corner, size: tuple[int, ...], frame_size: tuple[int, ...]) -> tuple[int, int]:
    """Top and left, even: a little away from the picture's edge, where there is room."""
    margin = min(frame_size) // 60
    top, left = (
        (max(min(margin, whole - own), 0) if first else max(whole - own - margin, 0)) // 2 * 2
        for own, whole, first in zip(
            size, frame_size, (corner.startswith("top"), corner.endswith("left")), strict=False
        )
    )
    return top, left


def _times(values: NDArray[np.uint8], share: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.multiply(values, share, scale=1 / 255), np.uint8)
